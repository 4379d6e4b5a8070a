import { expect, test, vi } from "vitest";
import { MemoryControlStore } from "../../src/control/memory.js";
import { evict } from "../../src/ferry/eviction.js";
import { loadPhases } from "../../src/phases.js";
import type { Clock } from "../../src/ports/clock.js";
import { PROTOCOL_NUMBER } from "../../src/ports/control-store.js";
import { LegacyUnreachable } from "../../src/ports/legacy-store.js";
import { SILENT } from "../../src/ports/observer.js";
import { MemoryLegacyStore } from "../../src/stores/legacy-memory.js";
import { MemoryRedisRecords } from "../../src/stores/records-memory.js";

const clock = { now: () => Date.now(), elapsed: () => performance.now(), sleep: async () => {} };
const SELF = "test0000";
const DEAD = "dead0000";

async function controlWithTheDead(time: Clock = clock): Promise<MemoryControlStore> {
  const control = new MemoryControlStore({ clock: time });
  const position = { phase: "dual-write", percent: 100 } as const;
  await control.setup({ position, pending: null, generation: "new", interrupted: false });
  const registration = { role: "app", protocol: PROTOCOL_NUMBER, host: "h", pid: 1, version: "0" } as const;
  await control.join({ ...registration, id: DEAD }, { presence: 1_000 });
  return control;
}

test("an evictor that has not heard yet of R's generation leaves the eviction unfinished, and its intents to be swept", async () => {
  const control = await controlWithTheDead();
  const theirs = new MemoryRedisRecords({ clock, migration: "m" });
  theirs.generation = "new";
  await theirs.arm("new", "active");
  await theirs.open("a", `${DEAD}0000000001`, "L", null, `${DEAD}0000000002`);
  const records = theirs.another();
  records.generation = "old";
  const legacy = new MemoryLegacyStore({ clock });
  const stores = { control, legacy, records, phases: loadPhases(), observer: SILENT };

  expect(await evict(stores, DEAD, SELF)).toBe(false);
  expect((await control.nodes()).map(({ id }) => id)).toEqual([DEAD]);
  records.generation = "new";
  expect(await evict(stores, DEAD, SELF)).toBe(true);
  expect((await theirs.view(["a"]))[0]!.intents).toEqual([]);
  expect(await control.nodes()).toEqual([]);
});

test("a Redis that is given up and answers all the same is asked to end the node's connections before it is forgotten", async () => {
  const control = await controlWithTheDead();
  const ended: string[] = [];
  class Answering extends MemoryRedisRecords {
    override async disconnectNode(node: string): Promise<void> {
      expect(await control.nodes()).toHaveLength(1);
      ended.push(node);
    }
  }
  const records = new Answering({ clock, migration: "m" });
  const stores = {
    ...{ control, records, legacy: new MemoryLegacyStore({ clock }) },
    ...{ phases: loadPhases(), observer: SILENT },
  };
  expect(await evict(stores, DEAD, SELF, { withoutRedis: true })).toBe(true);
  expect(ended).toEqual([DEAD]);
  expect(await control.nodes()).toEqual([]);
});

test("an evictor that was held up since it saw a node silent leaves it alone when it renews again", async () => {
  let now = 1_000_000;
  const virtual = { now: () => now, elapsed: () => now, sleep: async () => {} };
  const control = await controlWithTheDead(virtual);
  const records = new MemoryRedisRecords({ clock, migration: "m" });
  records.generation = "new";
  await records.arm("new", "active");
  const stores = {
    ...{ control, records, legacy: new MemoryLegacyStore({ clock }) },
    ...{ phases: loadPhases(), observer: SILENT },
  };
  const [node] = await control.nodes();
  now += 10_000;
  await control.renew(DEAD, node!.report, { overdueAfter: 6_000 });
  expect(await evict(stores, DEAD, SELF, { overdueAfter: 6_000 })).toBe(true);
  expect(await control.nodes()).toMatchObject([{ id: DEAD, state: "live" }]);
  now += 6_001;
  expect(await evict(stores, DEAD, SELF, { overdueAfter: 6_000 })).toBe(true);
  expect(await control.nodes()).toEqual([]);
});

/** All that an eviction works on: an R that is armed, and an L, both empty. */
async function armedBeside(control: MemoryControlStore) {
  const records = new MemoryRedisRecords({ clock, migration: "m" });
  records.generation = "new";
  await records.arm("new", "active");
  const legacy = new MemoryLegacyStore({ clock });
  return { legacy, stores: { control, legacy, records, phases: loadPhases(), observer: SILENT } };
}

test("while the legacy store is away an eviction takes the operator's word, and is not broken off", async () => {
  const control = await controlWithTheDead();
  const { stores, legacy } = await armedBeside(control);
  const asked = vi.spyOn(legacy, "disconnectNode").mockRejectedValue(new LegacyUnreachable("away"));
  expect(await evict(stores, DEAD, SELF)).toBe(false);
  expect(asked).toHaveBeenCalledOnce();
  expect(await control.nodes()).toMatchObject([{ id: DEAD, state: "evicted" }]);
  expect(await evict(stores, DEAD, SELF, { word: true })).toBe(true);
  expect(await control.nodes()).toEqual([]);
});

test("the connections that are ended are those that the node had when its renewals were refused", async () => {
  const control = await controlWithTheDead();
  const { stores, legacy } = await armedBeside(control);
  const asked = vi.spyOn(legacy, "disconnectNode");
  const [node] = await control.nodes();
  const refuse = control.evict.bind(control);
  vi.spyOn(control, "evict").mockImplementation(async (...args) => {
    await control.renew(DEAD, { ...node!.report, endpoints: ["10.0.0.1:4711"] }, { overdueAfter: 6_000 });
    return refuse(...args);
  });
  expect(await evict(stores, DEAD, SELF)).toBe(true);
  expect(asked).toHaveBeenCalledWith(DEAD, ["10.0.0.1:4711"]);
});
