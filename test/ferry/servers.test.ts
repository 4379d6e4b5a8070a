/** Several memcached servers behind a Redis that is the authority, of which one hangs. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { MemoryControlStore } from "../../src/control/memory.js";
import { newGeneration } from "../../src/core/ids.js";
import { drainIndex } from "../../src/ferry/drainer.js";
import type { Ferry } from "../../src/ferry/ferry.js";
import { phpMemcached } from "../../src/presets/php-memcached.js";
import { systemClock } from "../../src/runtime/clock.js";
import { type RunningServer, startMemcached } from "../../src/servers/index.js";
import { type MemcachedLegacyStore, openMemcachedLegacy } from "../../src/stores/memcached/store.js";
import { MemoryRedisRecords } from "../../src/stores/records-memory.js";
import { raw } from "../stores/memcached-support.js";
import { ferryOver, newSid, sessionOf } from "../support/rig.js";

const DEADLINE = 1_500;
let servers: RunningServer[];
let legacy: MemcachedLegacyStore;
let records: MemoryRedisRecords;
let ferry: Ferry;

beforeEach(async () => {
  servers = await Promise.all([startMemcached(), startMemcached(), startMemcached()]);
  const url = `memcached://${servers.map(({ host, port }) => `${host}:${port}`).join(",")}`;
  legacy = openMemcachedLegacy({
    ...{ url, preset: phpMemcached, distribution: "modulo", connections: 2, deadline: DEADLINE, items: true },
  });
  const clock = systemClock;
  const control = new MemoryControlStore({ clock, migration: "test" });
  const generation = newGeneration();
  const position = { phase: "redis-first", percent: 100 } as const;
  await control.setup({ position, pending: null, generation, interrupted: false });
  records = new MemoryRedisRecords({ clock, migration: "test" });
  records.generation = generation;
  await records.arm(generation, "active");
  ferry = await ferryOver({ legacy, records, control, clock });
});
afterEach(async () => {
  await legacy.close();
  await Promise.all(servers.map((server) => server.stop()));
});

async function holderOf(sid: string): Promise<RunningServer> {
  for (const server of servers) {
    if ((await raw(server, `mg ${phpMemcached.prefix}${sid} s\r\n`)).toString().startsWith("HD")) return server;
  }
  throw new Error("no server has it");
}

it("hold up the logouts and drains of their own sessions only", async () => {
  const sids = Array.from({ length: 60 }, newSid);
  for (const sid of sids) await ferry.set(sid, sessionOf(1, Date.now() + 600_000));
  while ((await records.dirtyState()).count > 0) await drainIndex(ferry.ctx);
  const hanging = legacy.serverOf(sids[0]!);
  const there = sids.filter((sid) => legacy.serverOf(sid) === hanging);
  const elsewhere = sids.filter((sid) => legacy.serverOf(sid) !== hanging);
  expect(elsewhere.length).toBeGreaterThan(15);
  const paused = await holderOf(sids[0]!);
  paused.pause();
  try {
    const began = performance.now();
    const held = Promise.allSettled(there.map((sid) => ferry.destroy(sid)));
    await Promise.all(elsewhere.map((sid) => ferry.destroy(sid)));
    expect(performance.now() - began).toBeLessThan(DEADLINE);
    for (const { status } of await held) expect(status).toBe("rejected");

    for (const sid of sids) await ferry.set(sid, sessionOf(2, Date.now() + 600_000));
    let drained = 0;
    while (drained < elsewhere.length) drained += await drainIndex(ferry.ctx);
    expect(await legacy.holds(elsewhere)).toEqual(elsewhere.map(() => true));
    expect((await records.dirtyState()).count).toBe(there.length);
  } finally {
    paused.resume();
  }
  while ((await records.dirtyState()).count > 0) await drainIndex(ferry.ctx).catch(() => 0);
  expect(await legacy.holds(sids)).toEqual(sids.map(() => true));
});
