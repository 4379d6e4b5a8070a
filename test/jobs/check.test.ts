import { describe, expect, test, vi } from "vitest";
import type { CheckResult } from "../../src/core/check-result.js";
import { isSynthetic } from "../../src/core/synthetic.js";
import { type CheckProgress, runCheck } from "../../src/jobs/check.js";
import { findCheck } from "../../src/jobs/check-archive.js";
import { type LegacyStore, LegacyUnreachable } from "../../src/ports/legacy-store.js";
import { RedisLost, type RedisRecords } from "../../src/ports/redis-records.js";
import { readStanding } from "../../src/workflow/evidence.js";
import { newSid, rigAt, sessionOf } from "../support/rig.js";
import { DUAL, FIRST, FULL, filledRig, found, leftOfPlants, options, withChanges } from "./check-support.js";

describe("a full check of stores that agree", () => {
  test("is clean, is evidence, and tells how well it looked", async () => {
    const { rig, sids } = await filledRig(DUAL, 700);
    const result = await runCheck(rig, options());
    expect(found(result)).toEqual({ equal: 700 });
    expect(result).toMatchObject({
      mode: "full",
      clean: true,
      evidence: true,
      whyNot: [],
      coverage: { counted: 700, listed: 700, share: 1 },
      planted: { planted: 5, found: 5, missed: [] },
      witness: { read: 200, agreed: 200, disagreed: 0 },
      authority: { L: 700, R: 0 },
      coveredBelow: 10_000,
      repaired: null,
      aborted: false,
    });
    expect(await findCheck(rig.control)).toEqual(result);
    expect((await readStanding(rig.control)).full?.id).toBe(result.id);
    expect(await leftOfPlants(rig)).toBe(0);
    expect(sids.every((sid) => rig.legacy.peek(sid) !== null && rig.records.snapshot(sid).v !== null)).toBe(true);
  });

  test.each([FIRST, FULL])("also where Redis is the authority: %o", async (position) => {
    const { rig } = await filledRig(position, 200);
    const result = await runCheck(rig, options());
    expect(found(result)).toEqual({ equal: 200 });
    expect(result).toMatchObject({ evidence: true, planted: { found: 5 }, authority: { L: 0, R: 200 } });
    expect(await leftOfPlants(rig)).toBe(0);
  });

  test("also over memcached, and in the middle of a ramp", async () => {
    const { rig } = await filledRig({ phase: "redis-first", percent: 40 }, 300, { lossy: true });
    const result = await runCheck(rig, options());
    expect(found(result)).toEqual({ equal: 300 });
    expect(result).toMatchObject({ evidence: true, lossy: true, planted: { found: 5 } });
    expect(result.authority.L).toBeGreaterThan(0);
    expect(result.authority.R).toBeGreaterThan(0);
  });

  test("at 1 % of dual-write: the rest is not yet compared", async () => {
    const { rig } = await filledRig({ phase: "dual-write", percent: 1 }, 2_000);
    const result = await runCheck(rig, options());
    expect(result.counts.equal + result.counts["not-yet"]).toBe(2_000);
    expect(result).toMatchObject({ evidence: true, coveredBelow: 100, planted: { found: 5 } });
  });

  test("is refused where nothing is compared", async () => {
    const rig = await rigAt({ phase: "legacy", percent: 100 });
    await expect(runCheck(rig, options())).rejects.toMatchObject({ code: "GUARD_REFUSED" });
  });

  test("stores no session id anywhere", async () => {
    const { rig, sids } = await filledRig(DUAL, 60);
    for (const sid of sids) await rig.putRecord(sid, sessionOf(99, rig.clock.now() + 9_000));
    const result = await runCheck(rig, options());
    expect(result.counts.mismatched).toBe(60);
    expect(result.examples.mismatched).toHaveLength(10);
    const text = JSON.stringify([
      await rig.control.listDocuments("check", 10),
      await rig.control.listDocuments("evidence", 10),
      await rig.control.ledger(100),
    ]);
    expect(sids.filter((sid) => text.includes(sid))).toEqual([]);
    expect(result.examples.mismatched?.[0]).toEqual({
      digest: expect.stringMatching(/^[0-9a-f]{16}$/),
      paths: ["cookie.expires", "user"],
    });
  });
});

describe("a sample", () => {
  test("looks at so many of each side, finds what is planted, and keeps evidence fresh but makes none", async () => {
    const { rig } = await filledRig(DUAL, 2_000);
    const result = await runCheck(rig, options({ sample: 100 }));
    expect(result.mode).toBe("sample");
    expect(result.counts.equal).toBeGreaterThanOrEqual(100);
    expect(result.counts.equal).toBeLessThanOrEqual(200);
    expect(result).toMatchObject({ evidence: true, planted: { found: 5 }, coverage: { listed: 2_000, share: 1 } });
    const standing = await readStanding(rig.control);
    expect(standing.full).toBeNull();
    expect(standing.fresh?.id).toBe(result.id);
  });
  test("finds a fault that is common", async () => {
    const { rig, sids } = await filledRig(DUAL, 500);
    for (const sid of sids.slice(0, 250)) await rig.legacy.destroy(sid);
    const result = await runCheck(rig, options({ sample: 60 }));
    expect(result.clean).toBe(false);
    expect(result.counts.resurrected).toBeGreaterThan(5);
  });
});

describe("ending early", () => {
  test("an aborted run removes what it planted and is no evidence", async () => {
    const { rig } = await filledRig(DUAL, 3_000);
    const abort = new AbortController();
    let looks = 0;
    const records = withChanges<RedisRecords>(rig.records, {
      view: async (sids) => {
        if (++looks === 20) abort.abort();
        return rig.records.view(sids);
      },
    });
    const result = await runCheck({ ...rig, records }, options({ signal: abort.signal }));
    expect(result).toMatchObject({ aborted: true, evidence: false, witness: null });
    expect(result.counts.equal).toBeLessThan(3_000);
    expect(await leftOfPlants(rig)).toBe(0);
  });

  test("a store that stays away ends it with its error, and nothing is left behind", async () => {
    const { rig } = await filledRig(DUAL, 3_000);
    let looks = 0;
    const lost = withChanges<RedisRecords>(rig.records, {
      view: async (sids) => {
        if (++looks > 20) throw new RedisLost("emptied");
        return rig.records.view(sids);
      },
    });
    await expect(runCheck({ ...rig, records: lost }, options())).rejects.toMatchObject({ code: "REDIS_LOST" });
    expect(await leftOfPlants(rig)).toBe(0);
    expect(await findCheck(rig.control)).toBeNull();
  });

  test("an outage in the middle is waited for, and nothing is counted twice", async () => {
    const { rig, sids } = await filledRig(DUAL, 1_000);
    await rig.records.mark(sids.slice(0, 300));
    for (const sid of sids.slice(300, 320)) await rig.legacy.destroy(sid);
    const away = new Set([3, 4, 17, 18, 19]);
    let calls = 0;
    const flaky = withChanges<LegacyStore>(rig.legacy, {
      getMany: async (some) => {
        if (away.has(++calls)) throw new LegacyUnreachable("away");
        return rig.legacy.getMany(some);
      },
    });
    const result = await runCheck({ ...rig, legacy: flaky }, options());
    expect(found(result)).toEqual({ equal: 680, copied: 300, resurrected: 20 });
  });
});

test("a store that fails while faults are planted costs the run none of them", async () => {
  const { rig } = await filledRig(DUAL, 50);
  let sets = 0;
  const set = rig.legacy.set.bind(rig.legacy);
  vi.spyOn(rig.legacy, "set").mockImplementation(async (...args) => {
    if (++sets === 2) throw new LegacyUnreachable("away");
    return set(...args);
  });
  const result = await runCheck(rig, options());
  expect(result.planted).toEqual({ planted: 5, found: 5, missed: [] });
  expect(result.evidence).toBe(true);
});

test("a run that may only look plants and copies nothing", async () => {
  const { rig, sids } = await filledRig(DUAL, 50);
  await rig.records.mark(sids.slice(0, 5));
  const result = await runCheck(rig, options({ readOnly: true }));
  expect(found(result)).toEqual({ equal: 45, missing: 5 });
  expect(result.evidence).toBe(false);
  expect(rig.records.snapshot(sids[0]!).v).toBeNull();
  // Nor does it contradict what another one has seen.
  expect((await readStanding(rig.control)).contradicted).toBeNull();
  expect(await findCheck(rig.control)).toBeNull();
  expect((await rig.control.ledger(10)).map(({ action }) => action)).not.toContain("check");
});

test("progress grows to its total", async () => {
  const { rig } = await filledRig(DUAL, 1_500);
  const told: CheckProgress[] = [];
  await runCheck(rig, options({ onProgress: (progress) => told.push(progress) }));
  expect(told.length).toBeGreaterThan(5);
  expect(told.map(({ done }) => done)).toEqual([...told.map(({ done }) => done)].sort((a, b) => a - b));
  expect(told.at(-1)).toMatchObject({ equal: 1_500, differences: 0 });
  expect(told.at(-1)!.done).toBeGreaterThanOrEqual(3_000);
});

test("only the last results are kept, and those that evidence rests on", async () => {
  const { rig } = await filledRig(DUAL, 5);
  const full = await runCheck(rig, options());
  for (let i = 0; i < 60; i++) {
    rig.clock.advance(1_000);
    await runCheck(rig, options({ sample: 2 }));
  }
  const kept = await rig.control.listDocuments<CheckResult>("check", 100);
  expect(kept.length).toBeLessThanOrEqual(52);
  expect(await findCheck(rig.control, full.id)).toEqual(full);
  expect((await findCheck(rig.control))?.mode).toBe("sample");
});

test("a session id that no application makes", () => {
  expect(isSynthetic(newSid())).toBe(false);
});
