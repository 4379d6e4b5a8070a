import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type CheckCounts, type CheckResult, PLANTED_KINDS, type PlantedKind } from "../../src/core/check-result.js";
import type { Position } from "../../src/core/phase.js";
import type { Session, Sid } from "../../src/core/session.js";
import { isSynthetic } from "../../src/core/synthetic.js";
import { runBackfill } from "../../src/jobs/backfill.js";
import { type CheckOptions, type CheckProgress, runCheck } from "../../src/jobs/check.js";
import { findCheck } from "../../src/jobs/check-archive.js";
import type { LegacyStore } from "../../src/ports/legacy-store.js";
import { LegacyUnreachable } from "../../src/ports/legacy-store.js";
import { type RecordView, RedisLost, type RedisRecords } from "../../src/ports/redis-records.js";
import { readStanding } from "../../src/workflow/evidence.js";
import { LIMITS } from "../support/check-results.js";
import { newSid, type Rig, rigAt, sessionOf } from "../support/rig.js";

const DUAL: Position = { phase: "dual-write", percent: 100 };
const FIRST: Position = { phase: "redis-first", percent: 100 };
const FULL: Position = { phase: "full-redis", percent: 100 };

const options = (over: Partial<CheckOptions> = {}): CheckOptions => ({
  sample: null,
  batch: 50,
  concurrency: 4,
  limits: LIMITS,
  by: "test",
  ...over,
});
/** The counts that are not 0. */
const found = ({ counts }: { counts: CheckCounts }) =>
  Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));

/** A migration whose sessions lie in both stores. */
async function filledRig(position: Position, sessions: number, how: { lossy?: boolean } = {}) {
  const rig = await rigAt(position, how);
  const sids = await rig.seedLegacy(sessions);
  await runBackfill(rig, { batch: 100, concurrency: 4, rate: 0, by: "test" });
  return { rig, sids };
}

/** A store of which some methods behave otherwise. */
function withChanges<T extends object>(store: T, changes: Partial<T>): T {
  return new Proxy(store, {
    get(target, name) {
      const changed = changes[name as keyof T];
      if (changed !== undefined) return changed;
      const own = Reflect.get(target, name, target) as unknown;
      return typeof own === "function" ? own.bind(target) : own;
    },
  });
}

async function listed(pages: AsyncIterable<Sid[]>): Promise<Sid[]> {
  const sids: Sid[] = [];
  for await (const page of pages) sids.push(...page);
  return sids;
}
const plantsInLegacy = async (rig: Rig) =>
  (await listed(rig.legacy.list({ pageSize: 1_000 }))).filter(isSynthetic).length;
const leftOfPlants = async (rig: Rig) =>
  (await plantsInLegacy(rig)) + (await listed(rig.records.listRecords({ pageSize: 1_000 }))).filter(isSynthetic).length;

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
        const expected: Record<string, number> = {
          equal: count("none"),
          mismatched: count("mismatched"),
          expiry: count("expiry"),
          [byRedis ? "leftover" : "copied"]: count("missing"),
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

describe("what a check cannot see makes it worthless", () => {
  /** Makes one planted fault invisible: the check then looks, but does not see. */
  const blindTo: Record<
    PlantedKind,
    (rig: Rig, fault: string) => Partial<{ legacy: LegacyStore; records: RedisRecords }>
  > = {
    missing: (rig) => ({ legacy: hideFromListing(rig, (inL, inR) => inL && !inR) }),
    destroyed: (rig) => ({ records: hideFromRedis(rig) }),
    mismatched: (rig) => ({
      records: lieAbout(rig, (view, own) => ({ ...view, session: { ...view.session!, value: own.value } })),
    }),
    early: (rig) => ({
      records: lieAbout(rig, (view, own) =>
        view.session!.expiresAt < own.expiresAt
          ? { ...view, session: { ...view.session!, expiresAt: own.expiresAt } }
          : view,
      ),
    }),
    late: (rig) => ({
      records: lieAbout(rig, (view, own) =>
        view.session!.expiresAt > own.expiresAt
          ? { ...view, session: { ...view.session!, expiresAt: own.expiresAt } }
          : view,
      ),
    }),
  };
  function hideFromListing(rig: Rig, hidden: (inL: boolean, inR: boolean) => boolean): LegacyStore {
    return withChanges<LegacyStore>(rig.legacy, {
      async *list(how) {
        for await (const page of rig.legacy.list(how)) {
          yield page.filter((sid) => !(isSynthetic(sid) && hidden(true, rig.records.snapshot(sid).v !== null)));
        }
      },
    });
  }
  function hideFromRedis(rig: Rig): RedisRecords {
    return withChanges<RedisRecords>(rig.records, {
      async *listRecords(how) {
        for await (const page of rig.records.listRecords(how)) {
          yield page.filter((sid) => !isSynthetic(sid) || rig.legacy.peek(sid) !== null);
        }
      },
    });
  }
  function lieAbout(rig: Rig, lie: (view: RecordView, own: Session) => RecordView): RedisRecords {
    return withChanges<RedisRecords>(rig.records, {
      view: async (sids) => {
        const views = await rig.records.view(sids);
        return views.map((view, i) => {
          const own = rig.legacy.peek(sids[i]!);
          return isSynthetic(sids[i]!) && own !== null && view.session !== null ? lie(view, own) : view;
        });
      },
    });
  }
  test.each(PLANTED_KINDS)("a check that would not see a planted fault says so: %s", async (kind) => {
    const { rig } = await filledRig(DUAL, 30);
    const result = await runCheck({ ...rig, ...blindTo[kind](rig, kind) }, options());
    expect(result.planted).toEqual({ planted: 5, found: 4, missed: [kind] });
    expect(result).toMatchObject({ clean: true, evidence: false });
    expect(result.whyNot.join()).toContain(`missed planted faults: ${kind}`);
    expect((await readStanding(rig.control)).full).toBeNull();
    expect(await leftOfPlants(rig)).toBe(0);
  });

  test("a listing that leaves out a half is found by the count", async () => {
    const { rig } = await filledRig(DUAL, 400);
    const half = withChanges<LegacyStore>(rig.legacy, {
      async *list(how) {
        let n = 0;
        for await (const page of rig.legacy.list(how)) yield page.filter((sid) => isSynthetic(sid) || n++ % 2 === 0);
      },
    });
    const result = await runCheck({ ...rig, legacy: half }, options());
    expect(result.evidence).toBe(false);
    expect(result.whyNot.join()).toMatch(/saw 2\d\d of the 400/);
  });

  test("plain clients that see something else are believed", async () => {
    const { rig } = await filledRig(DUAL, 30);
    const witnesses = { ...rig.witnesses, redis: { get: async () => Buffer.from("{}") } };
    const result = await runCheck({ ...rig, witnesses }, options());
    expect(result).toMatchObject({ clean: true, evidence: false, witness: { read: 30, agreed: 0, disagreed: 30 } });
    const failing = { ...rig.witnesses, legacy: { get: () => Promise.reject(new Error("no such table")) } };
    const silent = await runCheck({ ...rig, witnesses: failing }, options());
    expect(silent).toMatchObject({ evidence: false, witness: { agreed: 0, disagreed: 0, unsettled: 30 } });
    const none = await runCheck({ ...rig, witnesses: null }, options());
    expect(none).toMatchObject({ evidence: false, witness: null });
  });

  test("empty stores prove nothing", async () => {
    const rig = await rigAt(DUAL);
    const result = await runCheck(rig, options());
    expect(result).toMatchObject({ clean: true, evidence: false, planted: { found: 5 } });
    expect(result.whyNot).toContain("Nothing was compared.");
  });

  test("another generation, or another L, at the end", async () => {
    const { rig } = await filledRig(DUAL, 30);
    let identities = 0;
    const restarted = withChanges<LegacyStore>(rig.legacy, { identity: async () => `start ${identities++}` });
    expect((await runCheck({ ...rig, legacy: restarted }, options())).whyNot.join()).toContain("replaced or restarted");
    const rearming = withChanges<LegacyStore>(rig.legacy, {
      identity: async () => {
        const record = await rig.control.read();
        if (record.generation === "generation-1") {
          await rig.control.compareAndSet(record.revision, { ...record, generation: "generation-2" });
        }
        return "memory";
      },
    });
    expect((await runCheck({ ...rig, legacy: rearming }, options())).whyNot.join()).toContain("armed anew");
  });
});

describe("planted sessions", () => {
  test("live on through a long check and are found at its end", async () => {
    const { rig } = await filledRig(DUAL, 60);
    let pages = 0;
    // Ten minutes pass before L is listed and again before R is.
    const slow = withChanges<LegacyStore>(rig.legacy, {
      async *list(how) {
        if (pages++ === 0) await rig.clock.sleep(600_000);
        yield* rig.legacy.list(how);
      },
    });
    const result = await runCheck({ ...rig, legacy: slow }, options());
    expect(result.planted.found).toBe(5);
    expect(await leftOfPlants(rig)).toBe(0);
  });

  test("die by themselves where they could not be removed", async () => {
    const { rig } = await filledRig(DUAL, 10);
    const stuck = withChanges<LegacyStore>(rig.legacy, {
      destroy: () => Promise.reject(new LegacyUnreachable("away")),
    });
    await runCheck({ ...rig, legacy: stuck }, options());
    expect(await plantsInLegacy(rig)).toBe(4);
    rig.clock.advance(120_001);
    expect(await plantsInLegacy(rig)).toBe(0);
  });

  test("of another check are neither counted nor touched", async () => {
    const { rig } = await filledRig(DUAL, 300);
    const results = await Promise.all([1, 2, 3].map(() => runCheck(rig, options())));
    for (const result of results) {
      expect(found(result)).toEqual({ equal: 300 });
      expect(result).toMatchObject({ evidence: true, coverage: { listed: 300 } });
    }
    expect(await leftOfPlants(rig)).toBe(0);
  });

  test("are not copied by a backfill that runs meanwhile", async () => {
    const { rig } = await filledRig(DUAL, 100);
    const backfill = runBackfill(rig, { batch: 5, concurrency: 1, rate: 100, by: "test" });
    const result = await runCheck(rig, options({ rate: 100 }));
    await backfill;
    expect(result).toMatchObject({ evidence: true, planted: { found: 5 } });
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

describe("repair", () => {
  const repaired = async (rig: Rig, over: Partial<CheckOptions> = {}): Promise<CheckResult> => {
    const result = await runCheck(rig, options({ repair: { towardLegacy: false }, ...over }));
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
    const second = await repaired(rig, { repair: { towardLegacy: true } });
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
    await expect(repaired(rig, { repair: { towardLegacy: true } })).rejects.toMatchObject({ code: "GUARD_REFUSED" });
    expect((await runCheck(rig, options())).clean).toBe(true);
  });

  test("where R is the authority its values go to L", async () => {
    const { rig, sids } = await filledRig(FIRST, 20);
    await spoil(rig, sids);
    const result = await repaired(rig);
    expect(found(result)).toEqual({ equal: 16, mismatched: 1, expiry: 1, behind: 1, leftover: 1 });
    for (const sid of sids.slice(0, 4)) {
      expect(rig.legacy.peek(sid)?.value).toEqual(rig.records.snapshot(sid).v?.value);
      expect(rig.records.snapshot(sid).v).not.toBeNull();
    }
    expect(await runCheck(rig, options())).toMatchObject({ clean: true, evidence: true });
  });

  test("a leftover of full-redis goes from L, unless R evicts by itself", async () => {
    const { rig, sids } = await filledRig(FULL, 20);
    await rig.records.mark([sids[0]!]);
    const facts = { ...(await rig.records.facts()), evictedKeys: 1 };
    const evicting = withChanges<RedisRecords>(rig.records, { facts: async () => facts });
    expect((await repaired({ ...rig, records: evicting as Rig["records"] })).repaired).toEqual({
      leftover: { done: 0, failed: 1 },
    });
    expect(rig.legacy.peek(sids[0]!)).not.toBeNull();
    expect((await repaired(rig)).repaired).toEqual({ leftover: { done: 1, failed: 0 } });
    expect(rig.legacy.peek(sids[0]!)).toBeNull();
    expect((await rig.records.dirtyState()).count).toBe(0);
    await rig.records.mark([sids[1]!]);
    expect((await repaired(rig, { repair: { towardLegacy: true } })).repaired).toEqual({
      leftover: { done: 1, failed: 0 },
    });
    expect(rig.records.snapshot(sids[1]!).v?.value).toEqual(rig.legacy.peek(sids[1]!)?.value);
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

test("a run that may only look plants and copies nothing", async () => {
  const { rig, sids } = await filledRig(DUAL, 50);
  await rig.records.mark(sids.slice(0, 5));
  const result = await runCheck(rig, options({ readOnly: true }));
  expect(found(result)).toEqual({ equal: 45, missing: 5 });
  expect(result.evidence).toBe(false);
  expect(rig.records.snapshot(sids[0]!).v).toBeNull();
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
