import type { Session, Sid } from "../core/session.js";

/**
 * The ferry's verbs, all that a door sees. Each rejects with an error of the catalogue (`FerryError`) within the
 * configured deadline; a rejected write may or may not have been carried out, as with any store whose reply is lost.
 */
export interface Sessions {
  get(sid: Sid): Promise<Session | null>;
  set(sid: Sid, session: Session): Promise<void>;
  /** Moves the expiry; false when there is no live session of that id. */
  touch(sid: Sid, expiresAt: number): Promise<boolean>;
  destroy(sid: Sid): Promise<void>;
  /** Every live sid, a page at a time, from the authority of its bucket; each at least once. */
  list(options: { pageSize: number; signal?: AbortSignal }): AsyncIterable<Sid[]>;
}
