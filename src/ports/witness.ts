import type { Sid } from "../core/session.js";

/**
 * Reads L as the application does, through a client that shares no code with our stores: what both a copier and its
 * checker get wrong in the same way, a stranger sees.
 */
export interface LegacyWitness {
  /** The session's bytes, or null where that client would find none. */
  get(sid: Sid): Promise<Buffer | null>;
  close(): Promise<void>;
}

/** Reads R as an application of the target format does: a bare GET, through a connection and code of its own. */
export interface RedisWitness {
  /** The session's bytes, or null where that client would find none. */
  get(sid: Sid): Promise<Buffer | null>;
  close(): Promise<void>;
}
