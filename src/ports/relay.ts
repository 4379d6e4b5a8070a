import type { Duplex } from "node:stream";

/** A connection to L itself that speaks memcached's text protocol, fenced like every other (rule 11). */
export interface RelayConnection {
  readonly socket: Duplex;
  /** Of one that ended with commands unanswered: resolves once none of them can take effect any more; never rejects. */
  settled(): Promise<void>;
}

/** What became of commands that were sent together. */
export interface Relayed {
  readonly commands: number;
  /** Of these, answered with a server's error, or not answered at all. */
  readonly errors: number;
  /** From when they were sent until the last was answered; null where the client did not take what came before. */
  readonly milliseconds: number | null;
}

/**
 * The way to L as it is, for commands about which nothing is to be decided: while every route of a node says L alone,
 * and has for so long that no placeholder of a drain is left in L.
 */
export interface Relay {
  /** Whether `begin` would let a command pass now; where not, no connection is made for it. */
  readonly open: boolean;
  /**
   * Counts commands that are about to be sent, as the ferry counts an operation (rule 8); null where they must not be.
   * What it returns is called exactly once, when L can do nothing more with any of them.
   */
  begin(): (() => void) | null;
  /** Commands of one `begin` were answered, or their connection broke off: the node counts them among its requests. */
  count(relayed: Relayed): void;
  /** Rejects as the legacy store does. */
  connect(): Promise<RelayConnection>;
}
