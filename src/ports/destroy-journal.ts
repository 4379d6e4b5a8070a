import type { Sid } from "../core/session.js";

/**
 * Remembers, for one session lifetime, keyed digests of the sessions that were logged out. Only with it can a session
 * that memcached lost by itself be told from one that somebody logged out behind our back.
 */
export interface DestroyJournal {
  /** In the order of the sids: whether a destroy of it is remembered. */
  remembers(sids: readonly Sid[]): Promise<boolean[]>;
}

export const NO_JOURNAL: DestroyJournal = { remembers: async (sids) => sids.map(() => false) };
