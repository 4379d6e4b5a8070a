/**
 * The ferry over a pool, played at random over a real Redis: each session is at home on one server, where its client
 * asks for it, and old copies of it turn up on others at any time. Whatever is copied, drained or asked for by way of
 * another server, the client sees what it wrote last, and never an old copy.
 */
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { MemoryControlStore } from "../../src/control/memory.js";
import { ALL_BUCKETS } from "../../src/core/cohort.js";
import { newGeneration } from "../../src/core/ids.js";
import type { PhaseName } from "../../src/core/phase.js";
import { located } from "../../src/core/place.js";
import type { Session } from "../../src/core/session.js";
import type { Ferry } from "../../src/ferry/ferry.js";
import type { RedisRecords } from "../../src/ports/redis-records.js";
import { systemClock } from "../../src/runtime/clock.js";
import { MemoryLegacyStore } from "../../src/stores/legacy-memory.js";
import { Bench } from "../stores/redis-support.js";
import { until } from "../support/processes.js";
import { AMPLE, ferryOver } from "../support/rig.js";

const RUNS = 40;
const SERVERS = 3;
const SESSIONS = ["a", "b", "c"];
const HOUR = 3_600_000;
const homeOf = (n: number) => located(n % SERVERS, SESSIONS[n]!);
const awayOf = (n: number) => located((n + 1) % SERVERS, SESSIONS[n]!);

const bench = new Bench();
let r: RedisRecords;
beforeAll(async () => {
  const server = await bench.start();
  r = await bench.open(server.url, { items: { flags: 0, servers: SERVERS } });
});
afterAll(() => bench.clear());

const STEPS = [
  "set",
  "destroy",
  "touch",
  "get",
  "old",
  "copy",
  "copy old",
  "look away",
  "drain",
  "up",
  "down",
] as const;
type Step = readonly [(typeof STEPS)[number], number];

const WAY: readonly PhaseName[] = ["dual-write", "read-through", "redis-first"];

async function play(steps: readonly Step[]): Promise<void> {
  const control = new MemoryControlStore({ clock: systemClock });
  const generation = newGeneration();
  await control.setup({ position: { phase: WAY[0]!, percent: 100 }, pending: null, generation, interrupted: false });
  r.generation = generation;
  await r.drop(ALL_BUCKETS);
  await r.arm(generation, "active");
  // Sids of different servers are different rows, as in a pool.
  const legacy = new MemoryLegacyStore({ clock: systemClock });
  const ferry = await ferryOver({ legacy, records: r, control, clock: systemClock, limits: AMPLE });
  const mind = new Map<number, string>();
  let at = 0;
  let count = 0;
  const session = (text: string): Session => ({ value: Buffer.from(text), flags: 0, expiresAt: Date.now() + HOUR });
  const quiet = () => until("what goes on behind the answers is over", () => ferry.ctx.routing.inFlight === 0);
  const isLikeInMind = async (n: number) =>
    expect((await ferry.get(homeOf(n)))?.value.toString() ?? null).toBe(mind.get(n) ?? null);

  for (const [step, n] of steps) {
    switch (step) {
      case "set":
        mind.set(n, `${++count}`);
        await ferry.set(homeOf(n), session(`${count}`));
        break;
      case "destroy":
        mind.delete(n);
        await ferry.destroy(homeOf(n));
        break;
      case "touch":
        try {
          expect(await ferry.touch(homeOf(n), Date.now() + HOUR)).toBe(mind.has(n));
        } catch (error) {
          // Somebody has changed an old copy and R has not told its server yet: until then the verb is refused.
          expect(error).toMatchObject({ code: "DEADLINE" });
          await drainAll(ferry);
        }
        break;
      case "get":
        await isLikeInMind(n);
        break;
      case "old":
        await legacy.set(awayOf(n), session("old"));
        break;
      case "copy":
        await ferry.copy([homeOf(n)]);
        break;
      case "copy old":
        await ferry.copy([awayOf(n)]);
        break;
      case "look away":
        await ferry.get(awayOf(n));
        await ferry.touch(awayOf(n), Date.now() + HOUR).catch(() => false);
        break;
      case "drain":
        await drainAll(ferry);
        break;
      default:
        await quiet();
        await drainAll(ferry);
        at = Math.max(0, Math.min(WAY.length - 1, at + (step === "up" ? 1 : -1)));
        ferry.ctx.routing.follow(
          (await control.compareAndSet((await control.read()).revision, {
            position: { phase: WAY[at]!, percent: 100 },
            pending: null,
            generation,
            interrupted: false,
          }))!,
        );
    }
    // What follows may begin while fills and closes are under way; only a change of the phase waits for them.
  }
  await quiet();
  for (const n of SESSIONS.keys()) await isLikeInMind(n);
  await quiet();
  await drainAll(ferry);
  // Where somebody had changed an old copy, its client's next request gives the session back to its own server.
  for (const n of SESSIONS.keys()) await isLikeInMind(n);
  await quiet();
  expect(await r.dirtyState()).toMatchObject({ count: 0 });
  for (const n of SESSIONS.keys()) {
    expect(legacy.peek(homeOf(n))?.value.toString() ?? null).toBe(mind.get(n) ?? null);
    // Its client has asked for it, so it is R's own by now, unless R was not read.
    if (at > 0 && mind.has(n)) expect((await r.readAlone(homeOf(n)))?.value.toString()).toBe(mind.get(n));
  }
}

async function drainAll(ferry: Ferry): Promise<void> {
  for (let tries = 0; tries < 20; tries++) {
    const dirty = await r.dirtySids(100);
    if (dirty.length === 0) return;
    await ferry.drain(dirty);
  }
  throw new Error("it does not come to rest");
}

it("shows a client what it wrote last, whatever lies on other servers", async () => {
  const step = fc.tuple(fc.constantFrom(...STEPS), fc.nat(SESSIONS.length - 1)) as fc.Arbitrary<Step>;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), (steps) => play(steps)),
    { numRuns: RUNS },
  );
}, 120_000);

it("lets a verb by way of another server wait until its own server has what was changed", async () => {
  const control = new MemoryControlStore({ clock: systemClock });
  const generation = newGeneration();
  const position = { phase: "redis-first", percent: 100 } as const;
  await control.setup({ position, pending: null, generation, interrupted: false });
  r.generation = generation;
  await r.drop(ALL_BUCKETS);
  await r.arm(generation, "active");
  const legacy = new MemoryLegacyStore({ clock: systemClock });
  const ferry = await ferryOver({ legacy, records: r, control, clock: systemClock, limits: AMPLE });
  const expiresAt = Date.now() + HOUR;
  await legacy.set(awayOf(0), { value: Buffer.from("old"), flags: 0, expiresAt });
  await ferry.set(homeOf(0), { value: Buffer.from("new"), flags: 0, expiresAt });
  const touching = ferry.touch(awayOf(0), expiresAt + HOUR);
  await Promise.race([touching, new Promise((resolve) => setTimeout(resolve, 300))]);
  await drainAll(ferry);
  expect(await touching).toBe(true);
});
