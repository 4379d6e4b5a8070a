/** One session as every store holds it: opaque bytes, memcached's 32-bit flags, one absolute expiry. */
export interface Session {
  readonly value: Buffer;
  /** 0 wherever the store has no flags. */
  readonly flags: number;
  /** Milliseconds since the epoch, computed once at the edge; `NEVER` for a session without an end. */
  readonly expiresAt: number;
}

/** A session id: a credential. It may reach a store and nothing else; everything people read gets its digest. */
export type Sid = string;

export const NEVER = Number.POSITIVE_INFINITY;

export function isLive(session: Session | null, now: number): session is Session {
  return session !== null && session.expiresAt > now;
}
