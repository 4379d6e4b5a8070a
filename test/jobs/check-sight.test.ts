import { describe, expect, test } from "vitest";
import { PLANTED_KINDS, type PlantedKind } from "../../src/core/check-result.js";
import type { Session } from "../../src/core/session.js";
import { isSynthetic } from "../../src/core/synthetic.js";
import { runBackfill } from "../../src/jobs/backfill.js";
import { runCheck } from "../../src/jobs/check.js";
import { type LegacyStore, LegacyUnreachable } from "../../src/ports/legacy-store.js";
import type { RecordView, RedisRecords } from "../../src/ports/redis-records.js";
import { readStanding } from "../../src/workflow/evidence.js";
import { type Rig, rigAt } from "../support/rig.js";
import { DUAL, filledRig, found, leftOfPlants, options, plantsInLegacy, withChanges } from "./check-support.js";

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

  test("names that the legacy store lists and does not hold count for nothing", async () => {
    const { rig } = await filledRig(DUAL, 400);
    const gone = (sid: string) => `${sid}-gone`;
    const half = withChanges<LegacyStore>(rig.legacy, {
      async *list(how) {
        let n = 0;
        for await (const page of rig.legacy.list(how)) {
          const live = page.filter((sid) => isSynthetic(sid) || n++ % 2 === 0);
          yield how.unverified ? [...live, ...live.map(gone)] : live;
        }
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
    const dropping = async (sid: string) => {
      await rig.records.mark([sid]);
      return null;
    };
    // As a close with none does it: the next read copies it.
    const dropped = await runCheck({ ...rig, witnesses: { ...rig.witnesses, redis: { get: dropping } } }, options());
    expect(dropped).toMatchObject({ witness: { agreed: 0, disagreed: 0, unsettled: 30 } });
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
