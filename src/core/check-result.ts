import type { CheckClass, DifferenceClass } from "./compare.js";
import type { Config } from "./config.js";
import type { Position } from "./phase.js";
import { isStillThere } from "./runs.js";

export const PLANTED_KINDS = ["missing", "mismatched", "early", "late", "destroyed"] as const;
/** The five faults that every check plants: see `src/jobs/plant.ts`. */
export type PlantedKind = (typeof PLANTED_KINDS)[number];

export type CheckCounts = Readonly<Record<CheckClass, number>>;

/** One session of a class, as far as people may see it. */
export interface CheckExample {
  /** A keyed digest of the session id; the same session has the same digest in every run. */
  readonly digest: string;
  /** Where the values differ, data replaced by `*`. */
  readonly paths?: readonly string[];
  /** Milliseconds by which Redis outlives the legacy store, negative where it dies earlier; null: one never ends. */
  readonly laterBy?: number | null;
}

/** Something that was true when the run began, and what it was when it ended. */
export interface Span<T> {
  readonly before: T;
  readonly after: T;
}

export interface WitnessTally {
  /** Sessions that both plain clients were asked for. */
  readonly read: number;
  readonly agreed: number;
  readonly disagreed: number;
  /** Written or gone while they were read: they prove nothing. */
  readonly unsettled: number;
}

/** What one check found; stored as document kind `check` under its id. Times are the control store's, in milliseconds. */
export interface CheckResult {
  /** Sorts by time. */
  readonly id: string;
  readonly mode: "full" | "sample";
  /** How many sessions of each side a sample was to look at. */
  readonly sample: number | null;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly revision: Span<number>;
  readonly generation: Span<string>;
  readonly legacyIdentity: Span<string>;
  /** R's server or servers, by the id that each of them draws when it starts; absent in runs of older builds. */
  readonly redisRun?: Span<string>;
  readonly position: Span<Position>;
  /** The buckets `[0, coveredBelow)` were compared; those above were in legacy at one end of the run. */
  readonly coveredBelow: number;
  /** True where L may lose sessions by itself. */
  readonly lossy: boolean;
  readonly counts: CheckCounts;
  /** Sessions compared, by who was their authority. */
  readonly authority: { readonly L: number; readonly R: number };
  /**
   * `counted` is the legacy store's own count, `listed` what this run met there, `share` the second by the first
   * (at most 1; 0 where nothing was counted).
   */
  readonly coverage: { readonly counted: number; readonly listed: number; readonly share: number };
  readonly planted: { readonly planted: number; readonly found: number; readonly missed: readonly PlantedKind[] };
  /** Old copies on other servers of a pool, with digests of some; null where there are none, absent before they were told. */
  readonly duplicates?: { readonly count: number; readonly digests: readonly string[] } | null;
  /** Null where no plain clients were given. */
  readonly witness: WitnessTally | null;
  readonly examples: Readonly<Partial<Record<DifferenceClass | "busy", readonly CheckExample[]>>>;
  /** Null unless the run was asked to repair; by class what was repaired, and what could not be. */
  readonly repaired: Readonly<
    Partial<Record<DifferenceClass, { readonly done: number; readonly failed: number }>>
  > | null;
  readonly aborted: boolean;
  /** No class beyond the gates of the configuration. */
  readonly clean: boolean;
  /** What is beyond the gates, a sentence each. */
  readonly findings: readonly string[];
  /** Whether the run counts as evidence for a transition, if it is clean. */
  readonly evidence: boolean;
  /** Why it is no evidence, a sentence each. */
  readonly whyNot: readonly string[];
}

export type CheckLimits = Pick<
  Config["gates"],
  "maxMissing" | "maxMismatched" | "maxExpiry" | "maxResurrected" | "minCoverage" | "maxUnverified"
>;

export function emptyCounts(): Record<CheckClass, number> {
  return {
    equal: 0,
    copied: 0,
    missing: 0,
    extra: 0,
    resurrected: 0,
    behind: 0,
    leftover: 0,
    mismatched: 0,
    expiry: 0,
    busy: 0,
    skipped: 0,
    "not-yet": 0,
  };
}

/** Sessions about which a run found something out: all but those skipped, not checked yet, or busy throughout. */
export function comparedOf(counts: CheckCounts): number {
  const { skipped: _skipped, "not-yet": _notYet, busy: _busy, ...rest } = counts;
  return Object.values(rest).reduce((sum, count) => sum + count, 0);
}

/**
 * What is beyond the gates. `behind` counts as missing (the other store lacks it), unless L is known to lose sessions
 * by itself; `leftover` counts as resurrected (a rollback would bring it back). `extra` and `copied` are no faults: R
 * keeps what memcached lost, and a copy by rule 3 is what any read would have done.
 */
export function findingsOf(counts: CheckCounts, lossy: boolean, limits: CheckLimits): string[] {
  const rows = [
    { limit: limits.maxMissing, classes: lossy ? (["missing"] as const) : (["missing", "behind"] as const) },
    { limit: limits.maxMismatched, classes: ["mismatched"] as const },
    { limit: limits.maxExpiry, classes: ["expiry"] as const },
    { limit: limits.maxResurrected, classes: ["resurrected", "leftover"] as const },
  ];
  return rows.flatMap(({ limit, classes }) => {
    const found = classes.reduce((sum, name) => sum + counts[name], 0);
    if (found <= limit) return [];
    const names = classes.filter((name) => counts[name] > 0).map((name) => `${counts[name]} ${name}`);
    return [`${names.join(" and ")} (at most ${limit} allowed).`];
  });
}

/** Why a run is no evidence, whatever it found. Empty: it is. */
export function objectionsTo(
  result: Omit<CheckResult, "clean" | "findings" | "evidence" | "whyNot">,
  limits: CheckLimits,
): string[] {
  const { counts, coverage, planted, witness } = result;
  const compared = comparedOf(counts);
  const objections: string[] = [];
  if (result.aborted) objections.push("The run was broken off before its end.");
  if (result.repaired !== null) objections.push("A run that repairs is no evidence: check again without --repair.");
  if (compared === 0) objections.push("Nothing was compared.");
  if (coverage.share < limits.minCoverage) {
    objections.push(
      `It saw ${coverage.listed} of the ${coverage.counted} sessions that the legacy store counts ` +
        `(${percent(coverage.share)}; at least ${percent(limits.minCoverage)} are asked).`,
    );
  }
  const unverified = compared + counts.busy === 0 ? 0 : counts.busy / (compared + counts.busy);
  if (unverified > limits.maxUnverified) {
    objections.push(
      `${counts.busy} sessions were being written throughout (${percent(unverified)}; at most ` +
        `${percent(limits.maxUnverified)} may stay unverified).`,
    );
  }
  if (planted.planted < PLANTED_KINDS.length) objections.push(`Only ${planted.planted} faults could be planted.`);
  if (planted.missed.length > 0) objections.push(`It missed planted faults: ${planted.missed.join(", ")}.`);
  if (witness === null) objections.push("No plain clients were there to read a sample a second time.");
  else if (witness.disagreed > 0) {
    objections.push(`The plain clients disagree about ${witness.disagreed} of ${witness.read} sessions.`);
  } else if (witness.agreed === 0 && compared > 0) {
    const why = counts.equal === 0 ? ": none was equal before this run copied it. Check again" : "";
    objections.push(`The plain clients could not confirm a single session${why}.`);
  }
  if (result.generation.before !== result.generation.after) objections.push("Redis was armed anew during the run.");
  if (result.legacyIdentity.before !== result.legacyIdentity.after) {
    objections.push("The legacy store was replaced or restarted during the run.");
  }
  if (result.redisRun && !isStillThere(result.redisRun.before, result.redisRun.after)) {
    objections.push("Redis restarted, or another server took over, during the run.");
  }
  return objections;
}

export function percent(share: number): string {
  // Never rounded up to 100 %: a share just below must not look complete. (0.57 is a little less than 57 hundredths.)
  return `${Math.floor(share * 100_00 + 1e-6) / 100} %`;
}
