import { expect, test, vi } from "vitest";
import { bucketOf } from "../../src/core/cohort.js";
import { IdSource } from "../../src/core/ids.js";
import type { Position } from "../../src/core/phase.js";
import type { EvictionStores } from "../../src/ferry/eviction.js";
import { reclaim } from "../../src/ferry/reclaim.js";
import { loadPhases } from "../../src/phases.js";
import { SILENT } from "../../src/ports/observer.js";
import { rigAt } from "../support/rig.js";

const RAMPED: Position = { phase: "redis-first", percent: 10 };

// Whoever seals it may die at once: nothing may be left to be done then.
test("what stood open in a Redis that restarted is gone by the time that it is sealed", async () => {
  const { control, legacy, records } = await rigAt(RAMPED);
  const sid = Array.from({ length: 100 }, (_, i) => `open-${i}`).find((name) => bucketOf(name) < 1_000)!;
  const ids = new IdSource("deadnode");
  await records.open(sid, ids.next(), "L", null, ids.next());
  records.restart();
  const phases = loadPhases();
  const eviction: EvictionStores = { control, legacy, records, phases, observer: SILENT };
  const steerage = { control, records, phases, by: "node0001" };
  expect(await reclaim(steerage, eviction)).toBe(true);
  records.generation = (await control.read()).generation;
  const sealed = vi.spyOn(records, "arm").mockImplementationOnce(async () => {
    expect(await records.listIntents({ pageSize: 10 })[Symbol.asyncIterator]().next()).toMatchObject({ done: true });
  });
  await reclaim(steerage, eviction);
  expect(sealed).toHaveBeenCalledOnce();
});

// A process died in the middle of sealing a Redis Cluster: half of its slots work, and half are nobody's.
test("a sealing that was broken off is begun anew, from whatever the seals say", async () => {
  const { control, legacy, records } = await rigAt(RAMPED);
  const { generation } = await control.read();
  await control.putDocument("reclaim", generation, { from: ["older"], armed: true });
  let generations = [generation, "older"];
  Object.assign(records, { seals: async () => ({ generations }) });
  const phases = loadPhases();
  const eviction: EvictionStores = { control, legacy, records, phases, observer: SILENT };
  const steerage = { control, records, phases, by: "node0001" };

  expect(await reclaim(steerage, eviction)).toBe(true);
  const drawn = await control.read();
  expect(drawn.generation).not.toBe(generation);
  records.generation = drawn.generation;
  expect(await reclaim(steerage, eviction)).toBe(true);
  expect(await records.seal()).toMatchObject({ generation: drawn.generation, state: "active" });

  // All of one piece again; and one that nobody knows is not touched.
  generations = [drawn.generation];
  expect(await reclaim(steerage, eviction)).toBe(false);
  generations = [drawn.generation, "a stranger's"];
  expect(await reclaim(steerage, eviction)).toBe(false);
  expect((await control.read()).generation).toBe(drawn.generation);
});
