import { isLocated } from "./place.js";
import type { Sid } from "./session.js";

/** Number of buckets that sids are hashed into; a percentage of a ramp covers percent * 100 of them. */
export const BUCKETS = 10_000;

/**
 * The bucket of a sid, 0 to 9,999. It depends on the sid alone (32-bit FNV-1a with a final avalanche over the UTF-16
 * units), so every node and every job puts a session into the same cohort, whatever the migration or the build. Of a
 * located sid the rest alone counts: a session stays in its cohort wherever its client looks for it.
 */
export function bucketOf(sid: Sid): number {
  let hash = 0x811c9dc5;
  for (let i = isLocated(sid) ? 1 : 0; i < sid.length; i++) {
    hash = Math.imul(hash ^ sid.charCodeAt(i), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) % BUCKETS;
}

/** A half-open range of buckets, `[from, to)`. */
export type BucketRange = readonly [from: number, to: number];

export const ALL_BUCKETS: BucketRange = [0, BUCKETS];

/** The buckets below `percent` (1 to 100). */
export function bucketsBelow(percent: number): number {
  return Math.round((percent * BUCKETS) / 100);
}

export function inRange(bucket: number, range: BucketRange): boolean {
  return bucket >= range[0] && bucket < range[1];
}
