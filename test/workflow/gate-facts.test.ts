import { describe, expect, test } from "vitest";
import { noteDirty } from "../../src/ferry/drainer.js";
import { runBackfill } from "../../src/jobs/backfill.js";
import { runCheck } from "../../src/jobs/check.js";
import type { LedgerEntry } from "../../src/ports/control-store.js";
import { evidenceFor, readStanding, voidEvidence } from "../../src/workflow/evidence.js";
import { type GateSources, judge } from "../../src/workflow/gate-facts.js";
import { copiesSince, heldSince, ledgerSince } from "../../src/workflow/ledger.js";
import { LIMITS } from "../support/check-results.js";
import { newSid, type Rig, rigAt, sessionOf } from "../support/rig.js";

const DUAL = { phase: "dual-write", percent: 100 } as const;
const gates: GateSources["config"]["gates"] = {
  ...LIMITS,
  freshness: 900_000,
  maxErrorRate: 0.001,
  maxP95: 5,
  maxRedisMemory: 0.8,
  maxDirtyAge: 10_000,
  minStay: {},
};
const sources = (rig: Rig): GateSources => ({ ...rig, config: { gates, accept: [] } });
const refusals = async (rig: Rig, percent = 10) =>
  (await judge(sources(rig), { phase: "read-through", percent })).filter(({ ok }) => !ok).map(({ gate }) => gate);
const check = (rig: Rig, sample: number | null = null) =>
  runCheck(rig, { sample, batch: 50, concurrency: 4, limits: LIMITS, by: "test" });
const backfill = (rig: Rig) => runBackfill(rig, { batch: 50, concurrency: 4, rate: 0, by: "test" });

describe("the way to read-through", () => {
  test("opens by a backfill and a check, and closes again by what voids them", async () => {
    const rig = await rigAt(DUAL);
    await rig.seedLegacy(100);
    expect(await refusals(rig)).toEqual(["backfill", "evidence", "freshness"]);
    await backfill(rig);
    expect(await refusals(rig)).toEqual(["evidence", "freshness"]);
    await check(rig);
    expect(await refusals(rig)).toEqual([]);

    rig.clock.advance(901_000);
    expect(await refusals(rig)).toEqual(["freshness"]);
    await check(rig, 20);
    expect(await refusals(rig)).toEqual([]);

    await voidEvidence(rig.control, "node abcd was lost and may have held a gap", "test");
    expect(await refusals(rig)).toEqual(["evidence", "freshness"]);
    rig.clock.advance(1);
    await check(rig, 20);
    expect(await refusals(rig)).toEqual(["evidence"]);
    await check(rig);
    expect(await refusals(rig)).toEqual([]);

    await rig.moveTo(DUAL, "generation-2");
    expect(await refusals(rig)).toEqual(["backfill", "evidence", "freshness"]);
  });

  test("a check made at 10 % does not open it for the rest", async () => {
    const rig = await rigAt({ phase: "dual-write", percent: 10 });
    await rig.seedLegacy(300);
    await backfill(rig);
    await check(rig);
    await rig.moveTo(DUAL);
    expect(await refusals(rig, 10)).toEqual([]);
    expect(await refusals(rig, 50)).toEqual(["backfill", "evidence", "freshness"]);
  });

  test("a store that cannot be asked closes it", async () => {
    const rig = await rigAt(DUAL);
    await rig.seedLegacy(50);
    await backfill(rig);
    await check(rig);
    const away = { ...sources(rig), legacy: { identity: () => Promise.reject(new Error("away")) } };
    const found = (await judge(away, { phase: "read-through", percent: 10 })).filter(({ ok }) => !ok);
    expect(found.map(({ gate }) => gate)).toEqual(["evidence", "freshness"]);
  });
});

test("what the legacy store does not take closes the way on, as long as anything is dirty", async () => {
  const rig = await rigAt({ phase: "redis-first", percent: 100 });
  const refusal = { code: "VALUE_TOO_LARGE", count: 2, since: 0, sessions: ["d1", "d2"] };
  await noteDirty(rig.records, rig.control, async () => [refusal]);
  const found = async () => {
    const gates = await judge(sources(rig), { phase: "full-redis", percent: 100 });
    return gates.find(({ gate }) => gate === "dirty-refused");
  };
  expect(await found()).toMatchObject({ ok: true });
  const sid = newSid();
  await rig.ferry.set(sid, sessionOf(1, rig.clock.now() + 1_000_000));
  await noteDirty(rig.records, rig.control, async () => [refusal]);
  expect(await found()).toMatchObject({
    ok: false,
    forceable: true,
    measured: "it does not take 2 with VALUE_TOO_LARGE",
  });
  await rig.ferry.drain([sid]);
  expect(await found()).toMatchObject({ ok: true });
});

test("evidence is asked for as a whole", async () => {
  const rig = await rigAt(DUAL);
  await rig.seedLegacy(20);
  const question = { legacyIdentity: "memory", redisRun: "1", below: 10_000, freshness: 1_000, limits: LIMITS };
  // What it copies itself no plain client reads.
  expect(await check(rig)).toMatchObject({ clean: true, evidence: false, counts: { copied: 20 } });
  const result = await check(rig);
  const now = rig.clock.now();
  expect(await evidenceFor(rig.control, await rig.control.read(), { ...question, now })).toMatchObject({
    noFull: null,
    notFresh: null,
    full: { id: result.id },
  });
  await voidEvidence(rig.control, "somebody said so", "test");
  expect((await readStanding(rig.control)).voided).toMatchObject({ why: "somebody said so" });
  expect((await rig.control.ledger(1))[0]).toMatchObject({ action: "void", by: "test" });
});

describe("how long a phase has held", () => {
  const entry = (at: number, action: string, detail: Record<string, unknown>): LedgerEntry => ({
    at,
    by: "t",
    action,
    detail,
  });
  const settled = (at: number, phase: string, percent: number) =>
    entry(at, "settled", { position: { phase, percent } });
  const since = (entries: LedgerEntry[]) => heldSince([...entries].reverse(), { phase: "full-redis", percent: 100 });
  test("since it was first reached, whatever was tried above it", () => {
    expect(since([settled(1, "redis-first", 100), settled(2, "full-redis", 50), settled(3, "full-redis", 100)])).toBe(
      3,
    );
    expect(since([settled(3, "full-redis", 100), entry(4, "check", {}), settled(5, "full-redis", 100)])).toBe(3);
  });
  test("not across a step below it, a loss of Redis, or a fleet that was away", () => {
    expect(since([settled(3, "full-redis", 100), settled(4, "redis-first", 100), settled(5, "full-redis", 100)])).toBe(
      5,
    );
    expect(
      since([settled(3, "full-redis", 100), entry(4, "redis-lost", {}), settled(9, "dual-write", 100)]),
    ).toBeNull();
    expect(since([settled(3, "full-redis", 100), entry(4, "demote", {})])).toBeNull();
    const back = { to: { phase: "dual-write", percent: 100 } };
    expect(since([settled(3, "full-redis", 100), entry(4, "interrupted", back)])).toBeNull();
    expect(since([])).toBeNull();
  });
});

test("however many entries of others lie in between, the ledger is read as far as is needed", async () => {
  const entries = [
    ...Array.from({ length: 5_000 }, (_, at) => ({ at: 9_999 - at, by: "t", action: "check", detail: {} })),
    { at: 3, by: "t", action: "settled", detail: { position: { phase: "full-redis", percent: 100 } } },
    ...Array.from({ length: 5_000 }, () => ({ at: 1, by: "t", action: "evict", detail: {} })),
  ];
  const control = { ledger: async (limit: number, skip = 0) => entries.slice(skip, skip + limit) };
  const read = await ledgerSince(control, ({ action }) => action === "settled");
  expect(read).toEqual(entries.slice(0, 6_000));
  expect(heldSince(read, { phase: "full-redis", percent: 100 })).toBe(3);
  expect(await ledgerSince(control, () => false)).toEqual(entries);
});

describe("since when Redis has kept its copies", () => {
  const entry = (at: number, action: string, detail: Record<string, unknown> = {}): LedgerEntry => ({
    at,
    by: "t",
    action,
    detail,
  });
  const settled = (at: number, phase: string, percent: number) =>
    entry(at, "settled", { position: { phase, percent } });
  const begin = (at: number, phase: string, percent: number) => entry(at, "begin", { to: { phase, percent } });
  const since = (entries: LedgerEntry[], percent = 100) =>
    copiesSince([...entries].reverse(), { phase: "dual-write", percent });
  const climb = [
    begin(1, "dual-write", 10),
    settled(2, "dual-write", 10),
    begin(3, "dual-write", 100),
    settled(4, "dual-write", 100),
  ];

  test("the first buckets longer than the last ones", () => {
    expect(since(climb, 10)).toBeNull();
    expect(since(climb, 100)).toBe(4);
    expect(since([...climb, begin(5, "read-through", 10), settled(6, "read-through", 10)], 100)).toBe(4);
    expect(since([])).toBeNull();
  });
  test("anew after a rollback to legacy, also for what had been checked before", () => {
    const again = [
      ...climb,
      begin(5, "legacy", 100),
      settled(6, "legacy", 100),
      ...climb.map((one) => ({ ...one, at: one.at + 10 })),
    ];
    expect(since(again, 10)).toBe(12);
    expect(since(again, 100)).toBe(14);
  });
  test("anew after a step down that was turned round", () => {
    const turned = [...climb, begin(5, "dual-write", 10), entry(6, "reverse"), settled(7, "dual-write", 100)];
    expect(since(turned, 100)).toBe(7);
    expect(since(turned, 10)).toBeNull();
  });
  test("not before the fleet came back, Redis was armed anew, or the walk down from a lost one ended", () => {
    expect(since([...climb, entry(5, "interrupted", { to: { phase: "redis-first", percent: 10 } })])).toBe(5);
    expect(since([...climb, entry(5, "rearm")])).toBe(5);
    expect(since([...climb, entry(5, "redis-lost"), settled(6, "dual-write", 100)])).toBe(6);
    expect(since([...climb, entry(5, "demote"), settled(6, "dual-write", 100)])).toBe(4);
  });
  test("from the moment on at which Redis was armed anew, not from the next step on", () => {
    const next = [begin(6, "read-through", 10), settled(7, "read-through", 10)];
    expect(since([...climb, entry(5, "rearm"), ...next])).toBe(5);
    expect(since([...climb, entry(5, "interrupted", { to: { phase: "dual-write", percent: 100 } }), ...next])).toBe(5);
    const meanwhile = [...climb.slice(0, 3), entry(3.5, "rearm"), settled(4, "dual-write", 100)];
    expect(since([...meanwhile, ...next])).toBe(4);
    const turned = [begin(5, "dual-write", 10), entry(6, "rearm"), entry(7, "reverse"), settled(8, "dual-write", 100)];
    expect(since([...climb, ...turned])).toBe(8);
  });
});
