import type { SecureContextOptions } from "node:tls";
import type { Sid } from "../../core/session.js";
import type { ItemStore, Items } from "../../ports/items.js";
import type { Relay } from "../../ports/relay.js";

/** Where the door listens: `host:port`, `[v6]:port`, or a path for a unix socket (it holds a slash). */
export interface Listener {
  readonly listen: string;
  /** With it the listener speaks TLS and nothing else. */
  readonly tls?: SecureContextOptions;
  /** Of a listener that stands for one server of several: where its clients' keys lead, in place of the door's own. */
  readonly ways?: Ways;
}

/** Where keys lead. */
export type Ways = Pick<DoorOptions, "bypass" | "keyspace" | "admin" | "relay">;

/** All sizes in bytes, all times in milliseconds. */
export interface DoorLimits {
  /** Connections at once, over all listeners; one more is told so and closed. Default 1024, memcached's own. */
  readonly connections: number;
  /** The longest value, as memcached's `-I` less what an item's header takes. Default 1 MiB. */
  readonly itemSize: number;
  /** Bytes of unfinished commands, waiting commands and replies not taken yet, over all connections. Default 256 MiB. */
  readonly memory: number;
  /** A connection that sends nothing for so long is closed. Default 0, which is never, as memcached has it. */
  readonly idle: number;
  /** A command that was begun must be there whole, and replies must be taken, in this time. Default 60 s. */
  readonly stall: number;
}

export interface SaslAccount {
  readonly user: string;
  readonly password: string;
}

/** What is asked of memcached itself, or of nobody. */
export interface Admin {
  /** The version alone: `1.6.18`. */
  version(): Promise<string>;
  /**
   * @param which empty, or `settings`, `items`, `slabs`, `sizes`, `conns`, `cachedump 1 0`.
   * @returns the lines as memcached's text protocol has them, with the last: `END`, or that of an error.
   */
  stats(which: string): Promise<string>;
}

/** What happened, for metrics and logs. Never carries a key or a value. */
export type DoorEvent =
  | { readonly type: "door-connection"; readonly state: "opened" | "closed" }
  | { readonly type: "door-refusal"; readonly reason: "connections" | "authentication" }
  /** A client that was cut off: it was idle or stalled, sent what is no memcached command, or hung up in the middle. */
  | { readonly type: "door-cut"; readonly reason: "idle" | "stalled" | "malformed" | "memory" | "drain" }
  /** A command that was answered with a server error. */
  | { readonly type: "door-failure"; readonly verb: string; readonly error: unknown };

export interface DoorHooks {
  event(event: DoorEvent): void;
}

export interface DoorOptions {
  /** Sessions: the ferry, or a store alone. */
  readonly items: Items;
  /**
   * Everything that is no session, in every phase; null where there is no memcached any more. Its sids are whole keys,
   * told byte by byte, one character for each.
   */
  readonly bypass: ItemStore | null;
  /** The sid of a key that belongs to a session, else null. A key that is no UTF-8 is never asked about. */
  readonly keyspace: (key: string) => Sid | null;
  readonly listeners: readonly Listener[];
  readonly limits?: Partial<DoorLimits>;
  /** Clients must authenticate as one of these (SASL PLAIN; in text as memcached's `-Y` has it). Default: nobody must. */
  readonly sasl?: readonly SaslAccount[] | null;
  /** `flush_all` ends everybody's session: refused unless allowed. Default false. */
  readonly allowFlush?: boolean;
  /**
   * False: no CAS numbers are given out, as memcached's `-C` has it. For binary clients, of which each read asks for
   * one, whether they want it or not: without it their reads are as cheap as those of text clients. Default true.
   */
  readonly tokens?: boolean;
  /** Default null: version and stats are the door's own. */
  readonly admin?: Admin | null;
  readonly hooks?: DoorHooks;
  /** The way to memcached itself for text clients while every route says so. Default null: none. */
  readonly relay?: Relay | null;
}

/** Counted from the start, for metrics. */
export interface DoorCounters {
  readonly connectionsOpened: number;
  readonly connectionsRefused: number;
  readonly connectionsCut: number;
  readonly commands: number;
  readonly failures: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

export interface Door {
  /** As they can be connected to, in the order of the listeners: `127.0.0.1:11211`, or the path. */
  readonly addresses: readonly string[];
  /** Clients connected now. */
  readonly connections: number;
  readonly counters: DoorCounters;
  /**
   * Takes no more connections and no more commands; what was read whole is carried out and answered, then each client
   * is hung up on. Resolves when the last is gone, at the latest after `deadline` milliseconds, when it cuts them off.
   */
  drain(deadline: number): Promise<void>;
  /** At once: nothing more is answered. */
  close(): Promise<void>;
}
