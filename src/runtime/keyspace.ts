import type { Sid } from "../core/session.js";
import { isSynthetic } from "../core/synthetic.js";
import { RESERVED } from "../stores/redis/key-names.js";

/**
 * Which of memcached's keys are sessions: those that begin with the legacy prefix; their sid is the rest. A key that
 * would become one of sessionferry's own in Redis, or that looks planted by a check, is none and stays in memcached.
 */
export function keyspaceOf(prefixes: { readonly legacy: string; readonly redis: string }): (key: string) => Sid | null {
  const { legacy, redis } = prefixes;
  const overlaps = RESERVED.some((reserved) => reserved.startsWith(redis));
  return (key) => {
    if (!key.startsWith(legacy) || key.length === legacy.length) return null;
    const sid = key.slice(legacy.length);
    if (overlaps && RESERVED.some((reserved) => (redis + sid).startsWith(reserved))) return null;
    return isSynthetic(sid) ? null : sid;
  };
}
