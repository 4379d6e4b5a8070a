import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { notedDirty } from "../../src/ferry/drainer.js";
import { evict } from "../../src/ferry/eviction.js";
import { SILENT } from "../../src/ports/observer.js";
import { WorkerProcess } from "../../src/runtime/worker.js";
import { until } from "../support/processes.js";
import { Site } from "./site.js";

const RATE = 20;
const SIDS = Array.from({ length: 150 }, (_, i) => `drained-${i}`);

let site: Site;
let worker: WorkerProcess | undefined;
afterEach(async () => {
  await worker?.close();
  await site?.close();
});

it("drains no more than its rate with three processes; a worker drains what they leave, and after it was fenced off too", async () => {
  site = await Site.open({
    legacy: "postgres",
    control: "legacy",
    start: { phase: "redis-first", percent: 100 },
    config: { drain: { every: "500ms", rate: RATE } },
  });
  const nodes = await Promise.all([site.join(), site.join(), site.join()]);
  // Each has counted the others by now.
  await delay(2_500);
  const expiresAt = Date.now() + 3_600_000;
  const session = { value: Buffer.from("{}"), flags: 0, expiresAt };
  await site.look(async ({ records, legacy }) => {
    const dirty = async () => (await records.dirtyState()).count;
    const began = performance.now();
    await Promise.all(SIDS.map((sid, i) => nodes[i % 3]!.ferry.set(sid, session)));
    await delay(3_000);
    const left = await dirty();
    const passed = (performance.now() - began) / 1_000;
    expect(SIDS.length - left).toBeLessThanOrEqual(RATE * passed + nodes.length);
    expect(left).toBeGreaterThan(0);

    await Promise.all(site.nodes.splice(0).map((node) => node.close()));
    const abandoned = await dirty();
    expect(abandoned).toBeGreaterThan(0);
    const alone = performance.now();
    worker = await WorkerProcess.open(site.config, SILENT, 1);
    await until("the worker has drained it", async () => (await dirty()) === 0, 30_000);
    expect(abandoned / ((performance.now() - alone) / 1_000)).toBeLessThanOrEqual(RATE * 1.2);
    expect((await legacy.getMany(SIDS)).filter((held) => held === null)).toEqual([]);

    // Fenced off, it joins as another node, and goes on with what it did.
    const evicted = worker.node!.id;
    await site.command((_coordinator, node) => evict(node.eviction, evicted, node.id));
    await until("the worker is another node", () => worker!.node !== null && worker!.node.id !== evicted, 30_000);
    const changed = { ...session, value: Buffer.from('{"after":true}') };
    await site.command((_coordinator, node) => node.ferry.set(SIDS[0]!, changed));
    await until("it drains again", async () => (await dirty()) === 0, 30_000);
    expect((await legacy.get(SIDS[0]!))?.value).toEqual(changed.value);
  });
});

// Whoever leaves a lost Redis behind is told by it what is at stake.
it("notes how many are dirty also while the legacy store is away", async () => {
  site = await Site.open({
    legacy: "memcached",
    control: "redis",
    start: { phase: "full-redis", percent: 100 },
    config: { drain: { every: "200ms" } },
  });
  const node = await site.join();
  await site.legacy.kill();
  const session = { value: Buffer.from("{}"), flags: 0, expiresAt: Date.now() + 3_600_000 };
  for (const sid of SIDS.slice(0, 3)) await node.ferry.set(sid, session);
  await until("three are noted", async () => (await notedDirty(node.control))?.count === 3, 15_000);
});
