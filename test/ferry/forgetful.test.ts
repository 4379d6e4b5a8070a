/** What a legacy store that forgets by itself has lost, and Redis still has. */
import { expect, test } from "vitest";
import type { Position } from "../../src/core/phase.js";
import { FerryError } from "../../src/errors.js";
import { drainIndex } from "../../src/ferry/drainer.js";
import { filledRig } from "../jobs/check-support.js";
import { rigAt } from "../support/rig.js";

const THROUGH: Position = { phase: "read-through", percent: 100 };
const DUAL: Position = { phase: "dual-write", percent: 100 };

test("is not dropped by a forced copy once Redis is read", async () => {
  const { rig, sids } = await filledRig(THROUGH, 4, { lossy: true });
  await rig.legacy.destroy(sids[0]!);
  expect(await rig.ferry.copy(sids, { force: true })).toEqual(["hit", "filled", "filled", "filled"]);
  expect(await rig.ferry.get(sids[0]!)).not.toBeNull();
});

test("is dropped by it in dual-write: a lost gap may have been a logout", async () => {
  const { rig, sids } = await filledRig(DUAL, 4, { lossy: true });
  await rig.legacy.destroy(sids[0]!);
  expect(await rig.ferry.copy(sids, { force: true })).toEqual(["absent", "filled", "filled", "filled"]);
});

test("is listed with the others, so that everybody can be logged out", async () => {
  const { rig, sids } = await filledRig(THROUGH, 4, { lossy: true });
  await rig.legacy.destroy(sids[0]!);
  const listed: string[] = [];
  for await (const page of rig.ferry.list({ pageSize: 2 })) listed.push(...page);
  expect(listed.sort()).toEqual([...sids].sort());
});

test.each(["redis-first", "full-redis"] as const)(
  "in %s every session is listed that a read would find",
  async (phase) => {
    const rig = await rigAt({ phase, percent: 100 });
    const session = { value: Buffer.from("{}"), flags: 0, expiresAt: rig.clock.now() + 60_000 };
    // As two writes that overlapped in read-through leave it: the legacy store alone has it, until somebody reads it.
    await rig.legacy.set("in-legacy", session);
    await rig.ferry.set("in-redis", session);
    const listed: string[] = [];
    for await (const page of rig.ferry.list({ pageSize: 2 })) listed.push(...page);
    const found = await Promise.all(["in-legacy", "in-redis"].map((sid) => rig.ferry.get(sid)));
    expect(new Set(listed)).toEqual(new Set(["in-legacy", "in-redis"].filter((_, i) => found[i] !== null)));
    expect(listed.length).toBe(phase === "redis-first" ? 2 : 1);
  },
);

test.each(["dual-write", "read-through", "redis-first", "full-redis"] as const)(
  "in %s whoever logs everybody out is told what either store keeps, so that nobody comes back by a step",
  async (phase) => {
    const { rig, sids } = await filledRig({ phase, percent: 100 }, 2, { lossy: true });
    const [inRedis, inLegacy] = sids as [string, string];
    await rig.legacy.destroy(inRedis);
    await rig.records.mark([inLegacy]);
    for await (const page of rig.ferry.list({ pageSize: 2, everywhere: true })) {
      for (const sid of page) await rig.ferry.destroy(sid);
    }
    await drainIndex(rig.ferry.ctx);
    for (const sid of sids) {
      expect(rig.legacy.peek(sid)).toBeNull();
      expect(rig.records.snapshot(sid).v).toBeNull();
    }
  },
);

test.each(["legacy", "redis"] as const)(
  "whoever logs everybody out while %s cannot be listed logs out whom the other one tells of, and is told",
  async (store) => {
    const { rig, sids } = await filledRig({ phase: store === "legacy" ? "full-redis" : "dual-write", percent: 100 }, 4);
    const failing = async function* () {
      yield* [] as string[][];
      throw new FerryError("GUARD_REFUSED", "away");
    };
    if (store === "legacy") Object.assign(rig.legacy, { list: failing });
    else Object.assign(rig.records, { listRecords: failing });
    const everybody = async () => {
      for await (const page of rig.ferry.list({ pageSize: 3, everywhere: true })) {
        for (const sid of page) await rig.ferry.destroy(sid);
      }
    };
    await expect(everybody()).rejects.toMatchObject({ code: "GUARD_REFUSED" });
    for (const sid of sids) expect(await rig.ferry.get(sid)).toBeNull();
  },
);

test("a read that fails otherwise than by Redis leaves nothing under way", async () => {
  const rig = await rigAt(THROUGH);
  const failure = new FerryError("GUARD_REFUSED", "no such id");
  Object.assign(rig.records, { read: () => Promise.reject(failure) });
  await expect(rig.ferry.get("one")).rejects.toBe(failure);
  expect(rig.ferry.ctx.routing.inFlight).toBe(0);
});
