import type { Session, Sid } from "../core/session.js";

/** What a door puts on a session that says nothing itself: from the presets and the configuration. */
export interface SessionDefaults {
  /** memcached's flags of the legacy format, so that the old application still understands what we write. */
  readonly flags: number;
  /** Milliseconds that a session lives which tells no expiry of its own. */
  readonly lifetime: number;
  /** Milliseconds: a touch that would move the expiry later by less than this is skipped. 0 skips none. */
  readonly touchEvery: number;
}

export interface GetOptions {
  /**
   * False where nobody will look at the session's expiry: a read that is answered by Redis then asks for the value
   * alone, and `expiresAt` may be NaN. True unless told otherwise.
   */
  readonly expiry?: boolean;
}

export interface ListOptions {
  readonly pageSize: number;
  readonly signal?: AbortSignal;
  /**
   * Also what a store keeps though nobody reads it there now, who may once a step is taken: for whoever destroys all that
   * he is told. Rejects where one of the stores cannot be asked.
   */
  readonly everywhere?: boolean;
}

/**
 * The ferry's verbs, all that a door sees. Each rejects with an error of the catalogue (`FerryError`) within the
 * configured deadline; a rejected write may or may not have been carried out, as with any store whose reply is lost.
 */
export interface Sessions {
  /** Absent where nothing is configured (a store in memory): the doors have defaults of their own. */
  readonly defaults?: SessionDefaults;
  get(sid: Sid, options?: GetOptions): Promise<Session | null>;
  set(sid: Sid, session: Session): Promise<void>;
  /** Moves the expiry; false when there is no live session of that id. */
  touch(sid: Sid, expiresAt: number): Promise<boolean>;
  destroy(sid: Sid): Promise<void>;
  /** Every live sid, a page at a time, from whichever store a read would find it in; each at least once. */
  list(options: ListOptions): AsyncIterable<Sid[]>;
}
