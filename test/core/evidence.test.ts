import { describe, expect, test } from "vitest";
import { emptyCounts, findingsOf, objectionsTo, percent } from "../../src/core/check-result.js";
import {
  duration,
  type EvidenceQuestion,
  NO_CHECKS,
  type Standing,
  summarize,
  weigh,
} from "../../src/core/evidence.js";
import { aResult, LIMITS } from "../support/check-results.js";

const question = (over: Partial<EvidenceQuestion> = {}): EvidenceQuestion => ({
  generation: "g1",
  legacyIdentity: "l1",
  redisRun: "r1",
  below: 10_000,
  now: 10_000,
  freshness: 5_000,
  limits: LIMITS,
  ...over,
});
const standing = (over: Partial<Standing> = {}): Standing => ({
  ...summarize(NO_CHECKS, aResult({ startedAt: 1_000, endedAt: 9_000 })),
  voided: null,
  ...over,
});

describe("what a run says", () => {
  test("a clean full run with everything proven is evidence", () => {
    const result = aResult();
    expect(result.whyNot).toEqual([]);
    expect(findingsOf(result.counts, false, LIMITS)).toEqual([]);
  });
  test.each([
    ["aborted", { aborted: true }, "broken off"],
    ["repairing", { repaired: {} }, "repairs"],
    ["nothing compared", { counts: emptyCounts() }, "Nothing was compared"],
    ["low coverage", { coverage: { counted: 100, listed: 90, share: 0.9 } }, "90 of the 100"],
    ["an empty count", { coverage: { counted: 0, listed: 0, share: 0 } }, "0 of the 0"],
    ["too many busy", { counts: { ...emptyCounts(), equal: 100, busy: 1 } }, "being written throughout"],
    [
      "a missed fault",
      { planted: { planted: 5, found: 4, missed: ["early" as const] } },
      "missed planted faults: early",
    ],
    ["nothing planted", { planted: { planted: 0, found: 0, missed: [] } }, "Only 0 faults"],
    ["no witness", { witness: null }, "No plain clients"],
    [
      "a witness who disagrees",
      { witness: { read: 9, agreed: 8, disagreed: 1, unsettled: 0 } },
      "disagree about 1 of 9",
    ],
    ["a witness who saw nothing", { witness: { read: 9, agreed: 0, disagreed: 0, unsettled: 9 } }, "could not confirm"],
    [
      "nothing but copies, which nobody has read",
      {
        counts: { ...emptyCounts(), copied: 100 },
        witness: { read: 0, agreed: 0, disagreed: 0, unsettled: 0 },
      },
      "could not confirm",
    ],
    ["R armed anew", { generation: { before: "g1", after: "g2" } }, "armed anew"],
    ["L replaced", { legacyIdentity: { before: "l1", after: "l2" } }, "replaced or restarted"],
    ["R restarted", { redisRun: { before: "r1", after: "r2" } }, "Redis restarted"],
  ])("no evidence: %s", (_, over, reason) => {
    expect(objectionsTo(aResult(over), LIMITS).join(" ")).toContain(reason);
  });
  test("classes count towards the limit of the harm they do", () => {
    const found = (over: object, lossy = false) => findingsOf({ ...emptyCounts(), ...over }, lossy, LIMITS);
    expect(found({ missing: 1, behind: 2 })).toEqual(["1 missing and 2 behind (at most 0 allowed)."]);
    expect(found({ behind: 2 }, true)).toEqual([]);
    expect(found({ leftover: 1 })).toEqual(["1 leftover (at most 0 allowed)."]);
    expect(found({ resurrected: 1, mismatched: 1, expiry: 1 })).toHaveLength(3);
    expect(found({ extra: 9, copied: 9, busy: 9, skipped: 9 })).toEqual([]);
  });
  test("a share below 100 % never reads as 100 %", () => {
    expect(percent(0.999_999)).toBe("99.99 %");
    expect(percent(0.57)).toBe("57 %");
    expect(percent(1)).toBe("100 %");
  });
});

describe("what stands", () => {
  test("a clean full run stands and is fresh", () => {
    expect(weigh(standing(), question())).toMatchObject({ noFull: null, notFresh: null });
  });
  test("without any run nothing stands", () => {
    const answer = weigh({ ...NO_CHECKS, voided: null }, question());
    expect(answer.noFull).toContain("no clean full check");
    expect(answer.notFresh).toContain("no clean check");
  });
  test("a full check has no age, but something must be fresh", () => {
    const later = question({ now: 100_000 });
    expect(weigh(standing(), later)).toMatchObject({ noFull: null, notFresh: expect.stringContaining("1 m 31 s ago") });
    const sampled = summarize(standing(), aResult({ mode: "sample", startedAt: 98_000, endedAt: 99_000 }));
    expect(weigh({ ...sampled, voided: null }, later)).toMatchObject({ noFull: null, notFresh: null });
  });
  test.each([
    ["a voiding event since it began", { voided: { at: 1_000, why: "a node was lost" } }, {}, "a node was lost"],
    ["R armed anew", {}, { generation: "g2" }, "armed anew"],
    ["records dropped since", {}, { copiesSince: 1_001 }, "dropped"],
    ["L replaced", {}, { legacyIdentity: "l2" }, "replaced"],
    ["L silent", {}, { legacyIdentity: null }, "cannot be asked"],
    ["R restarted", {}, { redisRun: "r2" }, "Redis restarted"],
    ["R silent", {}, { redisRun: null }, "Redis cannot be asked"],
    ["stricter limits", {}, { limits: { ...LIMITS, maxExpiry: -1 } }, "expiry"],
    ["R not the authority then", {}, { underRedis: true }, "still the authority"],
  ])("ended by %s", (_, has, asks, reason) => {
    const answer = weigh(standing(has), question(asks));
    if (reason !== "expiry") expect(answer.noFull).toContain(reason);
    else expect(answer.noFull).not.toBeNull();
  });
  test("not by a voiding event before it began", () => {
    expect(weigh(standing({ voided: { at: 999, why: "a node was lost" } }), question()).noFull).toBeNull();
  });
  test("buckets that it did not see are not covered", () => {
    const early = summarize(NO_CHECKS, aResult({ coveredBelow: 1_000, startedAt: 1_000, endedAt: 9_000 }));
    expect(weigh({ ...early, voided: null }, question({ below: 1_000 })).noFull).toBeNull();
    expect(weigh({ ...early, voided: null }, question({ below: 5_000 })).noFull).toContain("first 10 %");
  });
  test("a run that found faults ends what began before its end, also a sample or a repair", () => {
    const faults = aResult({
      id: "bad",
      mode: "sample",
      startedAt: 9_100,
      endedAt: 9_200,
      counts: { ...emptyCounts(), equal: 5, mismatched: 1 },
      repaired: {},
    });
    const contradicted = summarize(standing(), faults);
    expect(weigh({ ...contradicted, voided: null }, question()).noFull).toContain("check bad found faults");
    const mended = summarize(contradicted, aResult({ id: "good", startedAt: 9_300, endedAt: 9_400 }));
    expect(weigh({ ...mended, voided: null }, question())).toMatchObject({ noFull: null, notFresh: null });
  });
  test("a run that ends late does not replace one that began later", () => {
    const newer = summarize(NO_CHECKS, aResult({ id: "newer", startedAt: 5_000, endedAt: 6_000 }));
    expect(summarize(newer, aResult({ id: "older", startedAt: 1_000, endedAt: 9_000 })).full?.id).toBe("newer");
  });
  test("lengths of time", () => {
    expect([0, 999, 1000, 61_000, 3_600_000, 90_061_000].map(duration)).toEqual([
      "0 ms",
      "999 ms",
      "1 s",
      "1 m 1 s",
      "1 h",
      "1 d 1 h",
    ]);
  });
});
