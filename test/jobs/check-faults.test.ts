import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { CheckResult } from "../../src/core/check-result.js";
import type { Session, Sid } from "../../src/core/session.js";
import { type CheckOptions, runCheck } from "../../src/jobs/check.js";
import type { LegacyStore } from "../../src/ports/legacy-store.js";
import type { RedisRecords } from "../../src/ports/redis-records.js";
import { readStanding } from "../../src/workflow/evidence.js";
import { type Rig, rigAt, sessionOf } from "../support/rig.js";
import { DUAL, FIRST, FULL, filledRig, found, leftOfPlants, options, withChanges } from "./check-support.js";

describe("every fault is found, at every place in both listings", () => {
  const other = (session: Session): Session => ({ ...session, value: Buffer.from('{"other":1}') });
  const faults = {
    missing: async (rig: Rig, sid: Sid) => void (await rig.records.mark([sid])),
    gone: async (rig: Rig, sid: Sid) => void (await rig.legacy.destroy(sid)),
    mismatched: async (rig: Rig, sid: Sid) => rig.putRecord(sid, other(rig.legacy.peek(sid)!)),
    expiry: async (rig: Rig, sid: Sid) =>
      rig.putRecord(sid, { ...rig.legacy.peek(sid)!, expiresAt: rig.clock.now() + 9_000 }),
  };
  test("property: the counts are those of the faults made", async () => {
    const cases = fc.record({
      lossy: fc.boolean(),
      position: fc.constantFrom(DUAL, { phase: "read-through", percent: 100 } as const, FIRST, FULL),
      made: fc.array(fc.constantFrom("none", "missing", "gone", "mismatched", "expiry"), {
        minLength: 1,
        maxLength: 120,
      }),
      batch: fc.integer({ min: 1, max: 40 }),
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ lossy, position, made, batch }) => {
        const { rig, sids } = await filledRig(position, made.length, { lossy });
        for (const [i, fault] of made.entries())
          if (fault !== "none") await faults[fault as keyof typeof faults](rig, sids[i]!);
        const result = await runCheck(rig, options({ batch, concurrency: 3 }));
        const count = (name: string) => made.filter((fault) => fault === name).length;
        const byRedis = position.phase === "redis-first" || position.phase === "full-redis";
        const alone = position.phase === "full-redis";
        const expected: Record<string, number> = {
          equal: count("none"),
          mismatched: count("mismatched"),
          expiry: count("expiry"),
          [alone ? "leftover" : "copied"]: count("missing"),
          [byRedis ? "behind" : lossy ? "extra" : "resurrected"]: count("gone"),
        };
        expect(found(result)).toEqual(Object.fromEntries(Object.entries(expected).filter(([, n]) => n > 0)));
        expect(result.planted.found).toBe(5);
        expect(await leftOfPlants(rig)).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  test("what R merely lacked lies there now", async () => {
    const { rig, sids } = await filledRig(DUAL, 100);
    await rig.records.mark(sids.slice(0, 40));
    expect(found(await runCheck(rig, options()))).toEqual({ equal: 60, copied: 40 });
    expect(found(await runCheck(rig, options()))).toEqual({ equal: 100 });
  });

  test("also in redis-first, where R is read through: it is no leftover", async () => {
    const { rig, sids } = await filledRig(FIRST, 100);
    await rig.records.mark(sids.slice(0, 40));
    expect(await runCheck(rig, options({ readOnly: true }))).toMatchObject({ counts: { equal: 60, leftover: 40 } });
    expect(await runCheck(rig, options())).toMatchObject({ counts: { equal: 60, copied: 40 }, clean: true });
    expect(found(await runCheck(rig, options()))).toEqual({ equal: 100 });
  });

  test("a copy that is refused to the end leaves the session missing", async () => {
    const { rig, sids } = await filledRig(DUAL, 3);
    await rig.records.mark([sids[0]!]);
    const refusing = withChanges<Rig["ferry"]>(rig.ferry, { copy: async (some) => some.map(() => "refused") });
    const result = await runCheck({ ...rig, copier: refusing }, options());
    expect(found(result)).toEqual({ equal: 2, missing: 1 });
    expect(result).toMatchObject({ clean: false, findings: ["1 missing (at most 0 allowed)."] });
    expect((await readStanding(rig.control)).contradicted?.id).toBe(result.id);
  });

  test("only the sessions of dual-write and above are anybody's fault", async () => {
    const rig = await rigAt({ phase: "dual-write", percent: 50 });
    const sids = await rig.seedLegacy(200);
    const result = await runCheck(rig, options());
    const eligible = sids.filter((sid) => rig.ferry.placement(sid).phase === "dual-write").length;
    expect(found(result)).toEqual({ copied: eligible, "not-yet": 200 - eligible });
  });
});

describe("no false alarms", () => {
  test("sessions written all the time are busy at worst, never different", async () => {
    const { rig, sids } = await filledRig(DUAL, 60);
    const hot = sids.slice(0, 20);
    let writing = true;
    const writers = hot.map(async (sid, i) => {
      for (let n = 0; writing; n++) {
        await rig.ferry.set(sid, sessionOf(1_000 * i + n, rig.clock.now() + 3_600_000));
        await rig.clock.sleep(n % 7);
      }
    });
    // Reads of L that take time, so that writes come between the two views of R.
    const slow = withChanges<LegacyStore>(rig.legacy, {
      getMany: async (some) => {
        await rig.clock.sleep(5);
        const sessions = await rig.legacy.getMany(some);
        await rig.clock.sleep(5);
        return sessions;
      },
    });
    const result = await runCheck({ ...rig, legacy: slow }, options());
    writing = false;
    await Promise.all(writers);
    expect(result.counts.equal + result.counts.busy).toBe(60);
    expect(result.clean).toBe(true);
  });

  test("a write that came and went between two views of R is no fault: one look is never believed", async () => {
    const { rig, sids } = await filledRig(DUAL, 60);
    const seen = new Set<Sid>();
    const other = sessionOf(99, rig.clock.now() + 3_600_000);
    const fleeting = withChanges<LegacyStore>(rig.legacy, {
      getMany: async (some) => {
        const sessions = await rig.legacy.getMany(some);
        // The first read of a session meets another value, which is gone again before R is viewed once more.
        return sessions.map((session, i) => {
          const first = sids.includes(some[i]!) && !seen.has(some[i]!);
          seen.add(some[i]!);
          return first ? other : session;
        });
      },
    });
    expect(found(await runCheck({ ...rig, legacy: fleeting }, options()))).toEqual({ equal: 60 });
  });

  test("a record that R lists twice is counted once", async () => {
    const { rig, sids } = await filledRig(DUAL, 60);
    for (const sid of sids.slice(0, 9)) await rig.legacy.destroy(sid);
    const twice = withChanges<RedisRecords>(rig.records, {
      async *listRecords(how) {
        yield* rig.records.listRecords(how);
        yield* rig.records.listRecords(how);
      },
    });
    expect(found(await runCheck({ ...rig, records: twice }, options()))).toEqual({ equal: 51, resurrected: 9 });
  });

  test("a session under an intent that never ends is busy", async () => {
    const { rig, sids } = await filledRig(DUAL, 400);
    await rig.records.open(sids[0]!, "w".repeat(18), "L", null, "d".repeat(18));
    const result = await runCheck(rig, options());
    expect(found(result)).toEqual({ equal: 399, busy: 1 });
    expect(result.evidence).toBe(true);
  });

  test("a session that expires or is logged out meanwhile is skipped", async () => {
    const { rig, sids } = await filledRig(DUAL, 40);
    // Dies a little earlier in R than in L: seen in one of them only.
    for (const sid of sids.slice(0, 5)) {
      await rig.ferry.touch(sid, rig.clock.now() + 400);
      await rig.records.mark([sid]);
    }
    const destroying = withChanges<RedisRecords>(rig.records, {
      view: async (some) => {
        const views = await rig.records.view(some);
        if (some.includes(sids[6]!)) await rig.ferry.destroy(sids[6]!);
        return views;
      },
    });
    const result = await runCheck({ ...rig, records: destroying }, options());
    expect(result.clean).toBe(true);
    expect(found(result)).toEqual({ equal: 34, skipped: 6 });
  });
});

describe("repair", () => {
  const repaired = async (rig: Rig, over: Partial<CheckOptions> = {}): Promise<CheckResult> => {
    const result = await runCheck(rig, options({ repair: { toward: null }, ...over }));
    expect(result.evidence).toBe(false);
    return result;
  };
  const spoil = async (rig: Rig, sids: Sid[]) => {
    const soon = rig.clock.now() + 600_000;
    await rig.putRecord(sids[0]!, sessionOf(77, soon));
    await rig.putRecord(sids[1]!, { ...rig.legacy.peek(sids[1]!)!, expiresAt: soon });
    await rig.legacy.destroy(sids[2]!);
    await rig.records.mark([sids[3]!]);
  };

  test("where L is the authority R is brought back to it; what L deleted only when asked", async () => {
    const { rig, sids } = await filledRig(DUAL, 20);
    await spoil(rig, sids);
    const first = await repaired(rig);
    expect(found(first)).toEqual({ equal: 16, mismatched: 1, expiry: 1, resurrected: 1, copied: 1 });
    expect(first.repaired).toEqual({
      mismatched: { done: 1, failed: 0 },
      expiry: { done: 1, failed: 0 },
      resurrected: { done: 0, failed: 1 },
    });
    expect(rig.records.snapshot(sids[2]!).v).not.toBeNull();
    const second = await repaired(rig, { repair: { toward: "legacy" } });
    expect(second.repaired).toEqual({ resurrected: { done: 1, failed: 0 } });
    expect(rig.records.snapshot(sids[2]!).v).toBeNull();
    const proof = await runCheck(rig, options());
    expect(proof).toMatchObject({ clean: true, evidence: true });
    expect((await readStanding(rig.control)).full?.id).toBe(proof.id);
  });

  test("what memcached lost is never taken from R", async () => {
    const { rig, sids } = await filledRig(DUAL, 20, { lossy: true });
    await spoil(rig, sids);
    const result = await repaired(rig);
    expect(found(result)).toEqual({ equal: 16, mismatched: 1, expiry: 1, extra: 1, copied: 1 });
    expect(rig.records.snapshot(sids[2]!).v).not.toBeNull();
    await expect(repaired(rig, { repair: { toward: "legacy" } })).rejects.toMatchObject({ code: "GUARD_REFUSED" });
    expect((await runCheck(rig, options())).clean).toBe(true);
  });

  test("where R is the authority its values go to L", async () => {
    const { rig, sids } = await filledRig(FIRST, 20);
    await spoil(rig, sids);
    const result = await repaired(rig);
    expect(found(result)).toEqual({ equal: 16, mismatched: 1, expiry: 1, behind: 1, copied: 1 });
    for (const sid of sids.slice(0, 4)) {
      expect(rig.legacy.peek(sid)?.value).toEqual(rig.records.snapshot(sid).v?.value);
      expect(rig.records.snapshot(sid).v).not.toBeNull();
    }
    expect(await runCheck(rig, options())).toMatchObject({ clean: true, evidence: true });
  });

  test("a leftover that a client writes anew before it is destroyed stays", async () => {
    const { rig, sids } = await filledRig(FULL, 20);
    await rig.records.mark([sids[0]!]);
    const anew = sessionOf(77, rig.clock.now() + 600_000);
    const legacy = withChanges<Rig["legacy"]>(rig.legacy, {
      tokens: async (some) => {
        const tokens = await rig.legacy.tokens(some);
        if (some.includes(sids[0]!)) await rig.ferry.set(sids[0]!, anew);
        return tokens;
      },
    });
    const believed = { repair: { toward: "redis" } } as const;
    expect((await repaired({ ...rig, legacy }, believed)).repaired).toEqual({ leftover: { done: 0, failed: 1 } });
    expect(rig.records.snapshot(sids[0]!).v?.value).toEqual(anew.value);
    await rig.ferry.drain([sids[0]!]);
    expect(rig.legacy.peek(sids[0]!)?.value).toEqual(anew.value);
  });

  test("a leftover of full-redis goes from L only where Redis is to be believed, unless it evicts by itself", async () => {
    const { rig, sids } = await filledRig(FULL, 20);
    await rig.records.mark([sids[0]!]);
    const facts = { ...(await rig.records.facts()), evictedKeys: 1 };
    const evicting = withChanges<RedisRecords>(rig.records, { facts: async () => facts });
    const believed = { repair: { toward: "redis" } } as const;
    // Redis may have restarted, and this may be the last copy.
    for (const left of [
      await repaired(rig),
      await repaired({ ...rig, records: evicting as Rig["records"] }, believed),
    ]) {
      expect(left.repaired).toEqual({ leftover: { done: 0, failed: 1 } });
    }
    expect(rig.legacy.peek(sids[0]!)).not.toBeNull();
    expect((await repaired(rig, believed)).repaired).toEqual({ leftover: { done: 1, failed: 0 } });
    expect(rig.legacy.peek(sids[0]!)).toBeNull();
    expect((await rig.records.dirtyState()).count).toBe(0);
    await rig.records.mark([sids[1]!]);
    expect((await repaired(rig, { repair: { toward: "legacy" } })).repaired).toEqual({
      leftover: { done: 1, failed: 0 },
    });
    expect(rig.records.snapshot(sids[1]!).v?.value).toEqual(rig.legacy.peek(sids[1]!)?.value);
  });
});
