import { expect, test, vi } from "vitest";
import type { Sid } from "../../src/core/session.js";
import { type Drained, SharedDrains } from "../../src/ferry/shared-drains.js";
import { rigAt, sessionOf } from "../support/rig.js";

/** Drains that end when the test says so. */
function held() {
  const batches: { sids: readonly Sid[]; end: (outcome: Drained | Error) => void }[] = [];
  const drain = (sids: readonly Sid[]) =>
    new Promise<Drained[]>((resolve, reject) => {
      batches.push({
        sids,
        end: (outcome) => (outcome instanceof Error ? reject(outcome) : resolve(sids.map(() => outcome))),
      });
    });
  return { batches, drain };
}

const inTime = () => false;

test("what comes while drains are under way goes together, and after it was asked for", async () => {
  const { batches, drain } = held();
  const drains = new SharedDrains();
  const first = Array.from({ length: 4 }, (_, i) => drains.join(`first-${i}`, null, drain, inTime));
  expect(batches.map(({ sids }) => sids)).toEqual(first.map((_, i) => [`first-${i}`]));
  const later = ["a", "b", "a", "first-0"].map((sid) => drains.join(sid, null, drain, inTime));
  expect(batches).toHaveLength(4);
  batches[0]!.end("carried");
  expect(await first[0]).toBe("carried");
  await vi.waitFor(() => expect(batches).toHaveLength(5));
  expect(batches[4]!.sids).toEqual(["a", "b", "first-0"]);
  batches[4]!.end("unmarked");
  expect(await Promise.all(later)).toEqual(["unmarked", "unmarked", "unmarked", "unmarked"]);
  for (const { end } of batches) end("left");
  expect(await Promise.all(first)).toEqual(["carried", "left", "left", "left"]);
});

test("what one session makes fail fails for that one alone", async () => {
  const drains = new SharedDrains();
  const { batches, drain: hold } = held();
  const first = Array.from({ length: 4 }, (_, i) => drains.join(`first-${i}`, null, hold, inTime));
  const later = Promise.allSettled(["good", "bad", "better"].map((sid) => drains.join(sid, null, hold, inTime)));
  batches[1]!.end(new Error("away"));
  await expect(first[1]).rejects.toThrow("away");
  batches[4]!.end(new Error("refused"));
  await vi.waitFor(() => expect(batches).toHaveLength(8));
  expect(batches.slice(5).map(({ sids }) => sids)).toEqual([["good"], ["bad"], ["better"]]);
  batches[5]!.end("carried");
  batches[6]!.end(new Error("refused"));
  batches[7]!.end("carried");
  expect((await later).map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  for (const { end } of batches) end("left");
  await Promise.allSettled(first);
});

test("who is late before its turn comes is not drained any more", async () => {
  const { batches, drain } = held();
  const drains = new SharedDrains();
  const first = Array.from({ length: 4 }, (_, i) => drains.join(`first-${i}`, null, drain, inTime));
  let isLate = false;
  const late = drains.join("late", null, drain, () => isLate);
  const timely = drains.join("timely", null, drain, inTime);
  isLate = true;
  batches[0]!.end("carried");
  expect(await late).toBe("left");
  await vi.waitFor(() => expect(batches).toHaveLength(5));
  expect(batches[4]!.sids).toEqual(["timely"]);
  batches[4]!.end("carried");
  expect(await timely).toBe("carried");
  for (const { end } of batches) end("left");
  await Promise.all(first);
});

test("a repair makes dirty only what Redis is the authority of", async () => {
  for (const { phase, dirty } of [
    { phase: "read-through" as const, dirty: 0 },
    { phase: "redis-first" as const, dirty: 1 },
  ]) {
    const { ferry, records, clock } = await rigAt({ phase, percent: 100 });
    await ferry.set("one", sessionOf(1, clock.now() + 60_000));
    while ((await records.dirtyState()).count > 0) await ferry.drain(["one"]);
    await ferry.push(["one"]);
    expect((await records.dirtyState()).count).toBe(dirty);
  }
});
