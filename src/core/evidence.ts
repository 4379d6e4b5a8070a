import { type CheckCounts, type CheckLimits, type CheckResult, findingsOf } from "./check-result.js";
import { isStillThere } from "./runs.js";

export const EVIDENCE_KIND = "evidence";
export const RUNS_ID = "runs";

/** A check that counts, as far as later decisions need it. */
export interface EvidenceRun {
  readonly id: string;
  readonly mode: "full" | "sample";
  readonly startedAt: number;
  readonly endedAt: number;
  readonly generation: string;
  readonly legacyIdentity: string;
  /** Absent in runs of older builds. */
  readonly redisRun?: string;
  readonly coveredBelow: number;
  readonly lossy: boolean;
  readonly counts: CheckCounts;
  readonly authority: { readonly L: number; readonly R: number };
}

/** What all checks so far say: document kind `EVIDENCE_KIND`, id `RUNS_ID`, written by checks alone. */
export interface ChecksSummary {
  /** The last full check that is evidence and was clean. */
  readonly full: EvidenceRun | null;
  /** The last check of either mode that is evidence and was clean. */
  readonly fresh: EvidenceRun | null;
  /** The last run that found more than the gates allow, whether evidence or not. */
  readonly contradicted: { readonly id: string; readonly endedAt: number; readonly findings: readonly string[] } | null;
}

/** All evidence of a migration. */
export interface Standing extends ChecksSummary {
  /** The last event that makes everything seen before it worthless; milliseconds by the control store's clock. */
  readonly voided: { readonly at: number; readonly why: string } | null;
}

export const NO_CHECKS: ChecksSummary = { full: null, fresh: null, contradicted: null };
export const NO_EVIDENCE: Standing = { ...NO_CHECKS, voided: null };

/** The summary after one more run. Runs may end in any order: an older one never replaces a newer one. */
export function summarize(summary: ChecksSummary, result: CheckResult): ChecksSummary {
  const { id, endedAt, findings } = result;
  if (!result.clean) {
    const newer = summary.contradicted === null || summary.contradicted.endedAt <= endedAt;
    return newer ? { ...summary, contradicted: { id, endedAt, findings } } : summary;
  }
  if (!result.evidence) return summary;
  const run: EvidenceRun = {
    id,
    mode: result.mode,
    startedAt: result.startedAt,
    endedAt,
    generation: result.generation.after,
    legacyIdentity: result.legacyIdentity.after,
    ...(result.redisRun && { redisRun: result.redisRun.after }),
    coveredBelow: result.coveredBelow,
    lossy: result.lossy,
    counts: result.counts,
    authority: result.authority,
  };
  const newer = (old: EvidenceRun | null) => (old === null || old.startedAt <= run.startedAt ? run : old);
  return {
    ...summary,
    full: run.mode === "full" ? newer(summary.full) : summary.full,
    fresh: newer(summary.fresh),
  };
}

export interface EvidenceQuestion {
  /** Of the control record, now. */
  readonly generation: string;
  /** L's identity now; null where it could not be asked. */
  readonly legacyIdentity: string | null;
  /** R's servers now; null where they could not be asked. */
  readonly redisRun: string | null;
  /** The buckets below this are the ones to be moved. */
  readonly below: number;
  /** Since when R has kept the copies of these buckets without a break; null or absent: for ever, as far as is known. */
  readonly copiesSince?: number | null;
  /** True: the full check must have been made with R as the authority of every session. */
  readonly underRedis?: boolean;
  /** Milliseconds since the epoch by the control store's clock. */
  readonly now: number;
  readonly freshness: number;
  readonly limits: CheckLimits;
}

export interface EvidenceAnswer {
  /** Null: a full check stands. Else why none does, in a sentence. */
  readonly noFull: string | null;
  /** Null: something clean is fresh enough. Else why not, in a sentence. */
  readonly notFresh: string | null;
  readonly full: EvidenceRun | null;
  readonly fresh: EvidenceRun | null;
}

/**
 * What the evidence is worth now. The rules, each with the code that keeps it:
 *
 * | a full check stands if it                                             | and a run keeps it fresh if it |
 * | --------------------------------------------------------------------- | ------------------------------ |
 * | was clean, by the limits of today's configuration                     | the same                       |
 * | began after the last voiding event                                    | the same                       |
 * | began after R's records of these buckets may last have been dropped   | the same                       |
 * | began after the end of the last run, of any mode, that found faults   | the same                       |
 * | saw this generation and run of R and this identity of L               | the same                       |
 * | compared every bucket that is to be moved                             | the same                       |
 * | for `complete`: had R as the authority of everything it compared      | the same                       |
 * | (has no age)                                                          | ended within `freshness`       |
 */
export function weigh(standing: Standing, question: EvidenceQuestion): EvidenceAnswer {
  const { full, fresh } = standing;
  const noFull = full === null ? "there is no clean full check" : objection(full, standing, question);
  const stale = fresh === null ? "there is no clean check" : objection(fresh, standing, question);
  const age = fresh === null ? 0 : question.now - fresh.endedAt;
  const notFresh = stale ?? (age > question.freshness ? `the last clean check ended ${duration(age)} ago` : null);
  return { noFull, notFresh, full, fresh };
}

function objection(run: EvidenceRun, standing: Standing, question: EvidenceQuestion): string | null {
  const { voided, contradicted } = standing;
  if (voided !== null && run.startedAt <= voided.at) return `it was voided: ${voided.why}`;
  if (run.startedAt < (question.copiesSince ?? 0)) return "Redis' records may have been dropped and made anew since";
  if (contradicted !== null && run.startedAt <= contradicted.endedAt) {
    return `check ${contradicted.id} found faults after it began: ${contradicted.findings.join(" ")}`;
  }
  if (run.generation !== question.generation) return "Redis was armed anew since";
  if (question.legacyIdentity === null) return "the legacy store cannot be asked whether it still is the same";
  if (run.legacyIdentity !== question.legacyIdentity) {
    return "the legacy store was replaced or restarted since";
  }
  if (question.redisRun === null) return "Redis cannot be asked whether it still is the same";
  if (run.redisRun === undefined || !isStillThere(run.redisRun, question.redisRun)) {
    return "Redis restarted, or another server took over, since";
  }
  if (run.coveredBelow < question.below) {
    return `it compared the first ${run.coveredBelow / 100} % of the buckets, ${question.below / 100} % are to move`;
  }
  if (question.underRedis && run.authority.L > 0) return "it was made while the legacy store was still the authority";
  return findingsOf(run.counts, run.lossy, question.limits)[0] ?? null;
}

/** A length of time as people say it: the two largest units. */
export function duration(milliseconds: number): string {
  const units: [string, number][] = [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1000],
  ];
  let rest = Math.max(0, milliseconds);
  const parts: string[] = [];
  for (const [unit, size] of units) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(`${count} ${unit}`);
    if (parts.length === 2) break;
  }
  return parts.length > 0 ? parts.join(" ") : `${Math.round(milliseconds)} ms`;
}
