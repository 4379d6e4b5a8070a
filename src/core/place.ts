import type { Sid } from "./session.js";

/**
 * Several memcached servers whose client keeps its rule to itself: then a session is known by where the client asked for
 * it as well as by its id. Inside of a process its sid is *located*: one character for the server (its place among the
 * servers' addresses, sorted, so that the order in which somebody names them does not matter), then the id itself, the
 * *rest*.
 *
 * The character is one for private use, of which `MOST_SERVERS` are set aside: no key that a client sends may begin with
 * one. Where a sid is not located, such a character is one like others.
 */
const FIRST = 0xe000;
export const MOST_SERVERS = 256;

/** Whether a sid, or a text that may become one, begins as a located one does. */
export function isLocated(sid: Sid): boolean {
  const code = sid.charCodeAt(0);
  return code >= FIRST && code < FIRST + MOST_SERVERS;
}

/** The character that stands for a server. */
export function placeMark(server: number): string {
  if (!Number.isInteger(server) || server < 0 || server >= MOST_SERVERS) throw new RangeError("no such server");
  return String.fromCharCode(FIRST + server);
}

export function located(server: number, rest: Sid): Sid {
  return placeMark(server) + rest;
}

/** The server's number; null for a sid that is not located. */
export function serverOf(sid: Sid): number | null {
  return isLocated(sid) ? sid.charCodeAt(0) - FIRST : null;
}

/** What the application knows it by, and what Redis keeps it under. */
export function restOf(sid: Sid): Sid {
  return isLocated(sid) ? sid.slice(1) : sid;
}
