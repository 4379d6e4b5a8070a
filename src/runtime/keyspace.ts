import { isLocated, located } from "../core/place.js";
import type { Sid } from "../core/session.js";
import { isSynthetic } from "../core/synthetic.js";
import { reservedBehind } from "../stores/redis/key-names.js";

export interface KeyspaceOptions {
  /** What stands before a session id in either store. */
  readonly legacy: string;
  readonly redis: string;
  /** Of a pool whose client's rule is not known: the number of the server for which the client asks. */
  readonly server?: number;
}

/**
 * Which of memcached's keys are sessions: those that begin with the legacy prefix; their sid is the rest, located where
 * the keys of one server are meant. A key that would become one of sessionferry's own in Redis, that looks planted by a
 * check, or that begins as located sids do is none and stays in memcached.
 */
export function keyspaceOf({ legacy, redis, server }: KeyspaceOptions): (key: string) => Sid | null {
  const isReserved = reservedBehind(redis);
  return (key) => {
    if (!key.startsWith(legacy) || key.length === legacy.length) return null;
    const sid = key.slice(legacy.length);
    if (isReserved(sid) || isSynthetic(sid)) return null;
    if (server === undefined) return sid;
    return isLocated(sid) ? null : located(server, sid);
  };
}
