import { NEVER } from "../../core/session.js";

/**
 * memcached's exptime becomes one absolute expiry here, and nowhere else: 0 is never, up to thirty days are counted from
 * now, anything more is a date. The text protocol reads 32 bits with a sign, in which a negative number is over at
 * once; the binary one reads them without.
 */
const THIRTY_DAYS = 2_592_000;
/** Over before it begins. */
export const PAST = 0;

/** @param exptime seconds, an integer of 32 bits with or without a sign. */
export function expiryOf(exptime: number, now: number): number {
  if (exptime === 0) return NEVER;
  if (exptime < 0) return PAST;
  return exptime <= THIRTY_DAYS ? now + exptime * 1000 : exptime * 1000;
}

/** The seconds left, as the meta flag `t` tells them; -1 for ever. */
export function secondsLeft(expiresAt: number, now: number): number {
  return expiresAt === NEVER ? -1 : Math.max(0, Math.ceil((expiresAt - now) / 1000));
}
