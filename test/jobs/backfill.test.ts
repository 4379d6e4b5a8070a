import { describe, expect, test } from "vitest";
import { isFilled } from "../../src/core/backfill-state.js";
import type { Position } from "../../src/core/phase.js";
import { newSyntheticSid } from "../../src/core/synthetic.js";
import { FerryError } from "../../src/errors.js";
import { type BackfillOptions, type BackfillProgress, countForBackfill, runBackfill } from "../../src/jobs/backfill.js";
import { backfillStatus, readCheckpoint, wishOfBackfill } from "../../src/jobs/backfill-desk.js";
import type { Copier } from "../../src/ports/copier.js";
import { LegacyUnreachable } from "../../src/ports/legacy-store.js";
import { RedisLost, RedisUnreachable } from "../../src/ports/redis-records.js";
import { type Rig, rigAt, sessionOf } from "../support/rig.js";

const DUAL: Position = { phase: "dual-write", percent: 100 };
const options = (over: Partial<BackfillOptions> = {}): BackfillOptions => ({
  batch: 50,
  concurrency: 4,
  rate: 0,
  by: "test",
  ...over,
});
/** The rig's copier with something done before each batch. */
const copierOf = (rig: Rig, before: (sids: readonly string[]) => Promise<void> | void): Copier => ({
  placement: (sid) => rig.ferry.placement(sid),
  drain: (sids) => rig.ferry.drain(sids),
  push: (sids) => rig.ferry.push(sids),
  copy: async (sids, how) => {
    await before(sids);
    return rig.ferry.copy(sids, how);
  },
});
const missingIn = (rig: Rig, sids: readonly string[]) => sids.filter((sid) => rig.records.snapshot(sid).v === null);

describe("a backfill", () => {
  test("copies every live session with its value and its remaining life", async () => {
    const rig = await rigAt(DUAL);
    const sids = await rig.seedLegacy(3_500);
    const result = await runBackfill(rig, options());
    expect(result).toMatchObject({ state: "complete", copied: 3_500, hit: 0, failed: 0, done: 3_500, resumed: false });
    const differing = sids.filter((sid) => {
      const [copy, original] = [rig.records.snapshot(sid).v, rig.legacy.peek(sid)!];
      return copy?.expiresAt !== original.expiresAt || !copy.value.equals(original.value);
    });
    expect(differing).toEqual([]);
    const again = await runBackfill(rig, options());
    expect(again).toMatchObject({ state: "complete", copied: 0, hit: 3_500 });
  });

  test("leaves out buckets below dual-write and what checks have planted, and says when it covers all that is asked", async () => {
    const rig = await rigAt({ phase: "dual-write", percent: 30 });
    const sids = await rig.seedLegacy(1_000);
    await rig.legacy.set(newSyntheticSid(), sessionOf(0, rig.clock.now() + 60_000));
    const eligible = sids.filter((sid) => rig.ferry.placement(sid).phase === "dual-write").length;
    expect(await countForBackfill(rig)).toEqual({
      byPhase: { legacy: 1_000 - eligible, "dual-write": eligible },
      wouldCopy: eligible,
      notYet: 1_000 - eligible,
    });
    const result = await runBackfill(rig, options());
    expect(result).toMatchObject({ copied: eligible, notYet: 1_000 - eligible, done: 1_000 });
    const checkpoint = await readCheckpoint(rig.control);
    const { generation } = await rig.control.read();
    expect(isFilled(checkpoint, generation, 3_000)).toBe(true);
    expect(isFilled(checkpoint, generation, 3_001)).toBe(false);
  });

  test("is refused where there is nothing to fill", async () => {
    const legacy = await rigAt({ phase: "legacy", percent: 100 });
    await expect(runBackfill(legacy, options())).rejects.toMatchObject({ code: "GUARD_REFUSED", exit: 3 });
    const complete = await rigAt({ phase: "complete", percent: 100 });
    await expect(runBackfill(complete, options())).rejects.toMatchObject({ code: "GUARD_REFUSED", exit: 3 });
  });

  test("holds the lock, and gives it back", async () => {
    const rig = await rigAt(DUAL);
    await rig.control.lock("backfill", "somebody", 15_000);
    await expect(runBackfill(rig, options())).rejects.toMatchObject({ code: "HELD", exit: 7 });
    await rig.control.unlock("backfill", "somebody");
    await runBackfill(rig, options());
    expect(await rig.control.lock("backfill", "somebody", 15_000)).toBe(true);
  });

  test("ends when another has taken the lock over while it was frozen, and leaves the other's checkpoint alone", async () => {
    const rig = await rigAt(DUAL);
    await rig.seedLegacy(500);
    let before: unknown;
    const copier = copierOf(rig, async () => {
      if (before !== undefined) return;
      rig.clock.advance(20_000);
      await rig.control.lock("backfill", "somebody", 15_000);
      before = { ...(await readCheckpoint(rig.control)), state: "running", total: 77 };
      await rig.control.putDocument("backfill", "current", before);
      await rig.clock.sleep(6_000);
    });
    await expect(runBackfill({ ...rig, copier }, options())).rejects.toMatchObject({ code: "HELD" });
    expect((await readCheckpoint(rig.control))?.total).toBe(77);
    expect(await rig.control.lock("backfill", "third", 15_000)).toBe(false);
  });

  test("keeps to its rate, smoothly, and takes a new one while it runs", async () => {
    const rig = await rigAt(DUAL);
    await rig.seedLegacy(1_000);
    const moments: number[] = [];
    const copier = copierOf(rig, (sids) => {
      for (const _ of sids) moments.push(rig.clock.now());
    });
    const started = rig.clock.now();
    const result = await runBackfill({ ...rig, copier }, options({ rate: 100, batch: 500 }));
    expect(result.milliseconds).toBeGreaterThan(9_000);
    expect(result.milliseconds).toBeLessThan(11_500);
    for (let second = 0; second < 9; second++) {
      const within = moments.filter((at) => at >= started + second * 1000 && at < started + (second + 1) * 1000);
      expect(within.length).toBeGreaterThanOrEqual(75);
      expect(within.length).toBeLessThanOrEqual(150);
    }
    let copied = 0;
    const faster = copierOf(rig, async (sids) => {
      copied += sids.length;
      if (copied >= 200) await wishOfBackfill(rig.control, { command: "run", rate: 10_000 });
    });
    const second = await runBackfill({ ...rig, copier: faster }, options({ rate: 100 }));
    expect(second.milliseconds).toBeLessThan(5_000);
  });

  test("is paused, resumed and stopped by hand, and the next one goes on", async () => {
    const rig = await rigAt(DUAL);
    const sids = await rig.seedLegacy(20_000);
    const states: string[] = [];
    let batches = 0;
    const copier = copierOf(rig, async () => {
      batches++;
      await rig.clock.sleep(400);
      if (batches === 20) await wishOfBackfill(rig.control, { command: "pause" });
      if (batches === 150) await wishOfBackfill(rig.control, { command: "stop" });
    });
    const watching = (async () => {
      while (states.at(-1) !== "paused") {
        await rig.clock.sleep(1_000);
        states.push((await backfillStatus(rig.control)).checkpoint?.state ?? "none");
      }
      await rig.clock.sleep(3_000);
      const resting = batches;
      await rig.clock.sleep(20_000);
      expect(batches).toBe(resting);
      expect(await backfillStatus(rig.control)).toMatchObject({ alive: true, checkpoint: { state: "paused" } });
      await wishOfBackfill(rig.control, { command: "run" });
    })();
    const first = await runBackfill({ ...rig, copier }, options());
    await watching;
    expect(first.state).toBe("stopped");
    expect(first.done).toBeLessThan(20_000);
    expect(await backfillStatus(rig.control)).toMatchObject({ alive: false, done: first.done });
    const seen: string[] = [];
    const second = await runBackfill({ ...rig, copier: copierOf(rig, (some) => void seen.push(...some)) }, options());
    expect(second).toMatchObject({ state: "complete", resumed: true });
    expect(seen.length).toBeLessThan(20_000);
    expect(missingIn(rig, sids)).toEqual([]);
  });

  test("an aborted one finishes its batches and keeps the checkpoint", async () => {
    const rig = await rigAt(DUAL);
    const sids = await rig.seedLegacy(10_000);
    const abort = new AbortController();
    let begun = 0;
    let ended = 0;
    const copier: Copier = {
      ...copierOf(rig, () => {}),
      copy: async (some, how) => {
        if (++begun === 60) abort.abort();
        await rig.clock.sleep(10);
        const outcomes = await rig.ferry.copy(some, how);
        ended++;
        return outcomes;
      },
    };
    const result = await runBackfill({ ...rig, copier }, options({ signal: abort.signal }));
    expect(result.state).toBe("stopped");
    expect(begun).toBe(ended);
    expect((await runBackfill(rig, options())).resumed).toBe(true);
    expect(missingIn(rig, sids)).toEqual([]);
  });
});

describe("the checkpoint", () => {
  test("holds no session id in plain text", async () => {
    const rig = await rigAt(DUAL);
    const sids = await rig.seedLegacy(5_000);
    const abort = new AbortController();
    const copier = copierOf(rig, () => void (missingIn(rig, sids).length < 2_500 && abort.abort()));
    await runBackfill({ ...rig, copier }, options({ signal: abort.signal }));
    const text = JSON.stringify([
      await rig.control.listDocuments("backfill", 10),
      await rig.control.listDocuments("secret", 10),
      await rig.control.ledger(100),
    ]);
    expect((await readCheckpoint(rig.control))?.cursor).toBeTypeOf("string");
    expect(sids.filter((sid) => text.includes(sid))).toEqual([]);
  });

  const interrupted = async (rig: Rig) => {
    const abort = new AbortController();
    let batches = 0;
    const copier = copierOf(rig, () => void (++batches === 60 && abort.abort()));
    expect((await runBackfill({ ...rig, copier }, options({ signal: abort.signal }))).state).toBe("stopped");
  };
  test.each<[string, (rig: Rig) => Promise<void>]>([
    ["R was armed anew", (rig) => rig.moveTo(DUAL, "generation-2")],
    ["the percentage was raised", (rig) => rig.moveTo({ phase: "dual-write", percent: 100 })],
    [
      "a step down may have dropped records",
      (rig) =>
        rig.control.append({ by: "test", action: "begin", detail: { to: { phase: "dual-write", percent: 10 } } }),
    ],
    ["its key is another's", (rig) => rig.control.putDocument("secret", "digest-key", { key: "YWJj" })],
  ])("is worth nothing once %s", async (_, happen) => {
    const rig = await rigAt({ phase: "dual-write", percent: 90 });
    const sids = await rig.seedLegacy(10_000);
    await interrupted(rig);
    await happen(rig);
    const result = await runBackfill(rig, options());
    expect(result).toMatchObject({ state: "complete", resumed: false, done: 10_000 });
    expect(missingIn(rig, sids).filter((sid) => rig.ferry.placement(sid).phase !== "legacy")).toEqual([]);
  });

  test("a backfill begins anew by itself when the percentage is raised while it runs", async () => {
    const rig = await rigAt({ phase: "dual-write", percent: 10 });
    const sids = await rig.seedLegacy(5_000);
    let batches = 0;
    const copier = copierOf(rig, async () => {
      await rig.clock.sleep(500);
      if (++batches === 10) await rig.moveTo(DUAL);
    });
    expect((await runBackfill({ ...rig, copier }, options())).state).toBe("complete");
    expect(missingIn(rig, sids)).toEqual([]);
    expect((await readCheckpoint(rig.control))?.coveredBelow).toBe(10_000);
  });
});

describe("what goes wrong", () => {
  test("refused copies are repeated until they are accepted", async () => {
    const rig = await rigAt(DUAL);
    const [sid] = await rig.seedLegacy(1);
    // A write that takes a while: its intent stands, so copies are refused.
    await rig.records.open(sid!, "w".repeat(18), "L", null, "d".repeat(18));
    setTimeoutOf(rig, 3_000, () => rig.records.close(sid!, "w".repeat(18), { kind: "none" }));
    const result = await runBackfill(rig, options());
    expect(result).toMatchObject({ state: "complete", copied: 1, failed: 0 });
    expect(result.refused).toBeGreaterThan(3);
  });

  test("broken off between two tries of its last batch it is stopped, and the next one copies what was left", async () => {
    const rig = await rigAt(DUAL);
    const [sid] = await rig.seedLegacy(10);
    await rig.records.open(sid!, "w".repeat(18), "L", null, "d".repeat(18));
    const abort = new AbortController();
    const copier: Copier = {
      ...copierOf(rig, () => {}),
      copy: async (sids, how) => {
        const outcomes = await rig.ferry.copy(sids, how);
        if (outcomes.includes("refused")) abort.abort();
        return outcomes;
      },
    };
    const broken = await runBackfill({ ...rig, copier }, options({ batch: 100, signal: abort.signal }));
    expect(broken).toMatchObject({ state: "stopped", copied: 9, failed: 0 });
    const { generation } = await rig.control.read();
    expect(isFilled(await readCheckpoint(rig.control), generation, 1)).toBe(false);
    await rig.records.close(sid!, "w".repeat(18), { kind: "none" });
    expect(await runBackfill(rig, options())).toMatchObject({ state: "complete", copied: 1, hit: 9 });
  });

  test("broken off while a worker has its last batch in hand it is stopped", async () => {
    const rig = await rigAt(DUAL);
    await rig.seedLegacy(10);
    const abort = new AbortController();
    const carrier = {
      copy: async () => {
        abort.abort();
        throw new FerryError("INTERRUPTED", "The job was broken off.");
      },
    };
    const broken = await runBackfill({ ...rig, carrier }, options({ batch: 100, signal: abort.signal }));
    expect(broken).toMatchObject({ state: "stopped", done: 0 });
    const { generation } = await rig.control.read();
    expect(isFilled(await readCheckpoint(rig.control), generation, 1)).toBe(false);
  });

  test("a copy that is refused to the end is counted as failed, and the backfill as incomplete", async () => {
    const rig = await rigAt(DUAL);
    const [sid] = await rig.seedLegacy(10);
    await rig.records.open(sid!, "w".repeat(18), "L", null, "d".repeat(18));
    const result = await runBackfill(rig, options());
    expect(result).toMatchObject({ state: "incomplete", copied: 9, failed: 1 });
    const { generation } = await rig.control.read();
    expect(isFilled(await readCheckpoint(rig.control), generation, 1)).toBe(false);
    await rig.records.close(sid!, "w".repeat(18), { kind: "none" });
    expect(await runBackfill(rig, options())).toMatchObject({ state: "complete", resumed: false, copied: 1, hit: 9 });
  });

  test("a forced one that was broken off is gone on with as a forced one, told so again or not", async () => {
    for (const told of [{}, { force: true }]) {
      const rig = await rigAt(DUAL);
      const sids = await rig.seedLegacy(3_000);
      await runBackfill(rig, options());
      const stale = sessionOf(77, rig.clock.now() + 600_000);
      for (const sid of sids) await rig.putRecord(sid, stale);
      let batches = 0;
      const copier = copierOf(rig, async () => {
        await rig.clock.sleep(400);
        if (++batches === 10) await wishOfBackfill(rig.control, { command: "stop" });
      });
      const first = await runBackfill({ ...rig, copier }, options({ force: true }));
      expect(first).toMatchObject({ state: "stopped" });
      expect(first.done).toBeLessThan(3_000);
      expect(await runBackfill(rig, options(told))).toMatchObject({ state: "complete", resumed: true });
      for (const sid of sids) expect(rig.records.snapshot(sid).v?.value).toEqual(rig.legacy.peek(sid)?.value);
    }
  });

  test("a forced one replaces what R holds, but never what R is ahead with", async () => {
    const rig = await rigAt(DUAL);
    const [wrong, right, ahead] = await rig.seedLegacy(3);
    const other = sessionOf(99, rig.clock.now() + 60_000);
    for (const sid of [wrong!, ahead!]) await rig.putRecord(sid, other);
    await rig.records.push([{ sid: ahead!, dirty: "d".repeat(18) }]);
    expect(await runBackfill(rig, options())).toMatchObject({ hit: 2, copied: 1 });
    expect(await runBackfill(rig, options({ force: true }))).toMatchObject({ copied: 2, hit: 1 });
    for (const sid of [wrong!, right!]) expect(rig.records.snapshot(sid).v).toEqual(rig.legacy.peek(sid));
    expect(rig.records.snapshot(ahead!).v).toEqual(other);
  });

  test.each([
    ["L", () => new LegacyUnreachable("away"), "LEGACY_UNREACHABLE"],
    ["R", () => new RedisUnreachable("away", true), "REDIS_UNREACHABLE"],
  ])("an outage of %s is waited for, up to a limit", async (_, outage, code) => {
    const rig = await rigAt(DUAL);
    const sids = await rig.seedLegacy(5_000);
    let until = rig.clock.now() + 40_000;
    let batches = 0;
    const copier = copierOf(rig, () => {
      if (++batches > 30 && rig.clock.now() < until) throw outage();
    });
    expect((await runBackfill({ ...rig, copier }, options())).state).toBe("complete");
    expect(missingIn(rig, sids)).toEqual([]);

    await rig.records.drop([0, 10_000]);
    until = Number.POSITIVE_INFINITY;
    batches = 0;
    await expect(runBackfill({ ...rig, copier }, options({ patience: 5_000 }))).rejects.toMatchObject({
      code,
      exit: 5,
    });
    expect((await readCheckpoint(rig.control))?.state).toBe("stopped");
    expect(await runBackfill(rig, options())).toMatchObject({ state: "complete", resumed: true });
    expect(missingIn(rig, sids)).toEqual([]);
  });

  test("an outage of the control store is waited for too", async () => {
    const rig = await rigAt(DUAL);
    const sids = await rig.seedLegacy(5_000);
    let batches = 0;
    const copier = copierOf(rig, async () => {
      await rig.clock.sleep(1_000);
      if (++batches === 20) {
        rig.control.unreachable = true;
        setTimeoutOf(rig, 20_000, () => {
          rig.control.unreachable = false;
        });
      }
    });
    expect((await runBackfill({ ...rig, copier }, options())).state).toBe("complete");
    expect(missingIn(rig, sids)).toEqual([]);
  });

  test("an R that lost its data ends it at once", async () => {
    const rig = await rigAt(DUAL);
    await rig.seedLegacy(100);
    const copier = copierOf(rig, () => {
      throw new RedisLost("emptied");
    });
    await expect(runBackfill({ ...rig, copier }, options())).rejects.toMatchObject({ code: "REDIS_LOST" });
  });
});

test("progress tells figures that add up, and an estimate", async () => {
  const rig = await rigAt(DUAL);
  await rig.seedLegacy(5_000);
  const told: BackfillProgress[] = [];
  const copier = copierOf(rig, () => rig.clock.sleep(1_000));
  await runBackfill({ ...rig, copier }, options({ onProgress: (progress) => told.push(progress) }));
  expect(told.length).toBeGreaterThan(5);
  for (const { done, total, copied } of told) {
    expect(total).toBe(5_000);
    expect(copied).toBe(done);
  }
  const middle = told[Math.floor(told.length / 2)]!;
  expect(middle.rate).toBeGreaterThan(100);
  expect(middle.etaSeconds).toBeGreaterThan(0);
});

/** Something that happens later in the rig's own time. */
function setTimeoutOf(rig: Rig, ms: number, happen: () => unknown): void {
  void rig.clock.sleep(ms).then(happen);
}
