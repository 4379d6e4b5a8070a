import { type CheckResult, emptyCounts, findingsOf, objectionsTo } from "../../src/core/check-result.js";

/** The gates of the default configuration, as far as checks look at them. */
export const LIMITS = {
  maxMissing: 0,
  maxMismatched: 0,
  maxExpiry: 0,
  maxResurrected: 0,
  minCoverage: 0.99,
  maxUnverified: 0.005,
  ttlTolerance: 1_000,
};

/** A clean full check that is evidence, but for what is given. */
export function aResult(
  over: Partial<Omit<CheckResult, "clean" | "findings" | "evidence" | "whyNot">> = {},
): CheckResult {
  const position = { phase: "dual-write", percent: 100 } as const;
  const facts = {
    id: "20250131-080000-000-abcd",
    mode: "full" as const,
    sample: null,
    startedAt: 1_000,
    endedAt: 2_000,
    revision: { before: 7, after: 7 },
    generation: { before: "g1", after: "g1" },
    legacyIdentity: { before: "l1", after: "l1" },
    redisRun: { before: "r1", after: "r1" },
    position: { before: position, after: position },
    coveredBelow: 10_000,
    lossy: false,
    counts: { ...emptyCounts(), equal: 100 },
    authority: { L: 100, R: 0 },
    coverage: { counted: 100, listed: 100, share: 1 },
    planted: { planted: 5, found: 5, missed: [] },
    witness: { read: 100, agreed: 100, disagreed: 0, unsettled: 0 },
    examples: {},
    repaired: null,
    aborted: false,
    ...over,
  };
  const findings = findingsOf(facts.counts, facts.lossy, LIMITS);
  const whyNot = objectionsTo(facts, LIMITS);
  return { ...facts, clean: findings.length === 0, findings, evidence: whyNot.length === 0, whyNot };
}
