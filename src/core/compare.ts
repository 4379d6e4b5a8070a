import { compareValues } from "./json-diff.js";
import { type Placement, rankOf } from "./phase.js";
import type { Session } from "./session.js";

/**
 * What a check says about one session. The table of classes, by the authority of the session's bucket:
 *
 * |                              | L is authority                                   | R is authority |
 * | ---------------------------- | ------------------------------------------------ | -------------- |
 * | absent in the other          | `missing` (`copied` once rule 3 has brought it)  | `behind`       |
 * | only in the other            | SQL: `resurrected`; memcached: `extra`, or       | `leftover` (in redis-first `copied`, |
 * |                              | `resurrected` where the journal of destroys says so | too: R is read through) |
 * | values differ                | `mismatched`                                     | `mismatched`   |
 * | expiries differ              | `expiry`                                         | `expiry`       |
 * | marked or changing all along | `busy`                                           | `busy`         |
 *
 * `skipped`: expired or destroyed while looked at, or cannot move. `not-yet`: its bucket is below dual-write.
 */
export const CHECK_CLASSES = [
  "equal",
  "copied",
  "missing",
  "extra",
  "resurrected",
  "behind",
  "leftover",
  "mismatched",
  "expiry",
  "busy",
  "skipped",
  "not-yet",
] as const;
export type CheckClass = (typeof CHECK_CLASSES)[number];

export const DIFFERENCE_CLASSES = [
  "missing",
  "extra",
  "resurrected",
  "behind",
  "leftover",
  "mismatched",
  "expiry",
] as const satisfies readonly CheckClass[];
export type DifferenceClass = (typeof DIFFERENCE_CLASSES)[number];

/** Which store is right where they differ. */
export type Authority = "L" | "R";

/** What one look sees of R: the shape of a record's view, as far as comparing needs it. */
export interface RecordFace {
  readonly session: Session | null;
  readonly mark: "none" | "intents" | "dirty" | "lease";
  readonly state: string;
}

/** One look: R, then L, then (where anything differs) R again. */
export interface Look {
  readonly legacy: Session | null;
  readonly before: RecordFace;
  /** Undefined as long as R was not looked at again; then a difference stays unproven. */
  readonly after?: RecordFace;
  /** When it ended, milliseconds since the epoch. */
  readonly now: number;
}

export interface CompareRules {
  readonly authority: Authority;
  /** L may lose sessions by itself (memcached). */
  readonly lossy: boolean;
  /** Milliseconds by which two expiries may differ; see `expiryTolerance`. */
  readonly tolerance: number;
  /** Whether both stores keep flags, without which memcached's own clients cannot read a value. */
  readonly flags: boolean;
  /** True where the journal of destroys remembers that this session was logged out. */
  readonly destroyed: boolean;
}

export interface Difference {
  readonly kind: "difference";
  readonly class: DifferenceClass;
  /** For `mismatched`: where the values differ, safe to show. */
  readonly paths: readonly string[];
  /** For `expiry`: milliseconds by which R outlives L; negative where it dies earlier. */
  readonly later: number;
}

/**
 * `equal`, `gone` (in neither store, or about to expire) and `difference` are what two stores showed that stood still.
 * `unsettled`: R was marked, or changed around the read of L, so nothing follows from it; `unproven`: R must be looked
 * at again.
 */
export type Sight = { readonly kind: "equal" | "gone" | "unsettled" | "unproven" } | Difference;

/** Where two values are the same, and their flags are not. */
const FLAGS = "(flags)";

/** Expiries may differ by the configured tolerance, and by what the coarser store cannot express. */
export function expiryTolerance(configured: number, granularity: number): number {
  return configured + granularity;
}

/** Null for buckets that are not checked yet: below dual-write R is nobody's copy. */
export function authorityOf(placement: Placement): Authority | null {
  if (rankOf(placement.phase) < rankOf("dual-write")) return null;
  const { write } = placement.routes;
  return write === "R" || write === "alone" ? "R" : "L";
}

/**
 * Classes what one look has seen.
 *
 * The rule against false alarms: where neither `I` nor `d` stands, R's value equals L's *at that moment*. So a
 * difference seen between R and a later read of L means something only if R's record is still the same, and still
 * unmarked, after that read; else a write came between and the look is worth nothing. A lease is no mark: it says
 * only that somebody is about to fill an absent record. Whoever calls asks for two such looks before believing it.
 */
export function classify(look: Look, rules: CompareRules): Sight {
  if (isMarked(look.before)) return { kind: "unsettled" };
  const seen = compare(look.legacy, look.before.session, look.now, rules);
  if (seen.kind !== "difference") return seen;
  if (look.after === undefined) return { kind: "unproven" };
  return stood(look.before, look.after) ? seen : { kind: "unsettled" };
}

function compare(legacy: Session | null, redis: Session | null, now: number, rules: CompareRules): Sight {
  const soon = now + rules.tolerance;
  if (legacy === null || redis === null) {
    const left = legacy ?? redis;
    // Present in one store only, and dying: within the tolerance that is the same as dead in both.
    if (left === null || left.expiresAt <= soon) return { kind: "gone" };
    return difference(oneSided(legacy !== null, rules));
  }
  const values = compareValues(legacy.value, redis.value);
  if (!values.equal) return { ...difference("mismatched"), paths: values.paths };
  if (rules.flags && legacy.flags !== redis.flags) return { ...difference("mismatched"), paths: [FLAGS] };
  if (legacy.expiresAt === redis.expiresAt) return { kind: "equal" };
  const later = redis.expiresAt - legacy.expiresAt;
  return Math.abs(later) <= rules.tolerance ? { kind: "equal" } : { ...difference("expiry"), later };
}

function oneSided(inLegacy: boolean, rules: CompareRules): DifferenceClass {
  if (rules.authority === "R") return inLegacy ? "leftover" : "behind";
  if (inLegacy) return "missing";
  return rules.lossy && !rules.destroyed ? "extra" : "resurrected";
}

function difference(name: DifferenceClass): Difference {
  return { kind: "difference", class: name, paths: [], later: 0 };
}

function isMarked(face: RecordFace): boolean {
  return face.mark === "intents" || face.mark === "dirty";
}

/** Servers that tell a life rather than a moment may tell the same expiry a little differently each time. */
const EXPIRY_JITTER = 5;

/** True where R's record did not move between two looks at it. */
export function stood(before: RecordFace, after: RecordFace): boolean {
  if (isMarked(before) || isMarked(after)) return false;
  const [a, b] = [before.session, after.session];
  if (a === null || b === null) return a === b;
  const sameExpiry = a.expiresAt === b.expiresAt || Math.abs(a.expiresAt - b.expiresAt) <= EXPIRY_JITTER;
  return sameExpiry && a.flags === b.flags && a.value.equals(b.value);
}
