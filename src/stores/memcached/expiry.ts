import { NEVER } from "../../core/session.js";

/**
 * memcached counts whole seconds by a clock of its own that ticks once a second: an item set to N seconds dies after
 * N-1 to N of them, and one that says t seconds are left has t-1 to t.
 *
 * So a wanted life is rounded up, which puts the death within a second of the wish on either side, and a remaining life
 * is read as the middle, t - 0.5, which is within half a second of the truth. A life is given and taken as a span, by
 * this process' clock: the server's date does not matter. Only spans of more than 30 days must be sent as a date.
 */
const THIRTY_DAYS = 2_592_000;
/** exptime is a signed 32-bit number: nothing is later than January 2038, short of never. */
const LATEST = 2_147_483_647;

/** The exptime for the flag `T`; -1 ends an item at once. */
export function toExptime(expiresAt: number, now: number): number {
  if (expiresAt === NEVER) return 0;
  const seconds = Math.ceil((expiresAt - now) / 1000);
  if (seconds <= 0) return -1;
  if (seconds <= THIRTY_DAYS) return seconds;
  return Math.min(Math.ceil(expiresAt / 1000), LATEST);
}

/**
 * From the return flag `t`. `now` is when the server said it, not when somebody looks: this process may have been
 * stopped between the two, for seconds.
 */
export function fromRemaining(t: string, now: number): number {
  const seconds = Number(t);
  return seconds < 0 ? NEVER : now + seconds * 1000 - 500;
}
