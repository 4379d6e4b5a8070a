import type { Duplex } from "node:stream";

/** A connection to L itself that speaks memcached's text protocol, fenced like every other (rule 11). */
export interface RelayConnection {
  readonly socket: Duplex;
  /** Of one that ended with commands unanswered: resolves once none of them can take effect any more; never rejects. */
  settled(): Promise<void>;
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
  /** Rejects as the legacy store does. */
  connect(): Promise<RelayConnection>;
}
