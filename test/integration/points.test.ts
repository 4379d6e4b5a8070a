import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Position } from "../../src/core/phase.js";
import { evict } from "../../src/ferry/eviction.js";
import type { Point } from "../../src/ports/observer.js";
import { until } from "../support/processes.js";
import { ALL, AWAY, at, BusySite } from "./busy-site.js";
import { processPackage, walkAndDie } from "./processes.js";

const own = { folder: "", remove: () => {} };
beforeAll(() => Object.assign(own, processPackage()));
afterAll(() => own.remove());

let busy: BusySite;
afterEach(() => busy?.close());

interface Scene {
  readonly position: Position;
  /** Where operations of each victim are held, all at once. */
  readonly points: readonly Point[];
  /** Where the fleet walks once the victims are given up. */
  readonly next: Position;
}

const SCENES: readonly Scene[] = [
  {
    position: at("read-through"),
    points: ["write:opened", "write:written", "read:leased", "read:loaded"],
    next: at("redis-first"),
  },
  {
    position: at("redis-first"),
    points: ["read:leased", "read:loaded", "drain:token", "drain:read", "drain:applied"],
    next: at("full-redis"),
  },
  // Here the loop alone drains, and stays where it is held.
  { position: at("full-redis"), points: ["drain:applied"], next: at("redis-first") },
  { position: at("full-redis"), points: ["drain:read"], next: at("redis-first") },
  { position: at("dual-write"), points: ["write:opened", "write:written"], next: at("read-through") },
];

describe("processes held at every point of their operations", () => {
  const scenes = (ALL ? SCENES : SCENES.slice(0, 2)).map(
    (scene) => [scene.position.phase, scene.points.join(", "), scene] as const,
  );
  test.each(scenes)(
    "in %s at %s: one killed, one frozen, one evicted before it wakes",
    async (_phase, _points, scene) => {
      busy = await BusySite.open(own.folder, scene.position, { members: 5 });
      const [killed, frozen, evicted] = busy.processes.slice(0, 3) as [Victim, Victim, Victim];
      for (const victim of [killed, frozen, evicted]) {
        await Promise.all(scene.points.map((point) => victim.hold(point)));
      }
      await killed.kill();
      frozen.freeze();
      evicted.freeze();
      await delay(500);
      frozen.wake();
      frozen.release();
      await until("two are forgotten", async () => (await busy.nodes()).length === 3, 40_000);
      expect((await busy.ledger()).filter(({ action }) => action === "evict")).toHaveLength(2);
      await busy.site.moveTo(scene.next);
      evicted.wake();
      evicted.release();
      await until("it has joined again", async () => (await busy.nodes()).length === 4, 40_000);
      await busy.recovered();
      // What was begun while it was still its former self may be refused later than this.
      const recovered = Date.now();
      const { operations } = busy.history;
      await delay(300);
      await busy.traffic.stop();
      expect(busy.history.operations).toBeGreaterThan(operations);
      const failed = busy.history.failures.filter(({ since }) => since >= recovered);
      expect(failed.filter(({ code }) => code !== "DEADLINE")).toEqual([]);
      await busy.rest();
      busy.expectOnly([...AWAY, "cut-off", "NODE_EVICTED"]);
    },
  );
});

type Victim = BusySite["processes"][number];

/** Each step of the way, and where it begins. */
const MOVES: readonly (readonly [from: Position, to: Position])[] = [
  [at("redis-first"), at("full-redis")],
  [at("read-through"), at("dual-write")],
  [at("legacy"), at("dual-write")],
  [at("dual-write"), at("read-through")],
  [at("read-through"), at("redis-first")],
  [at("full-redis"), at("redis-first")],
  [at("redis-first"), at("read-through")],
  [at("dual-write"), at("legacy")],
];

describe("a command held at every step of a transition", () => {
  const moves = (ALL ? MOVES : MOVES.slice(0, 1)).map(([from, to]) => [from.phase, to.phase, from, to] as const);

  async function openAt(from: Position, to: Position): Promise<void> {
    // Nobody's silence is waited for here, so that requests may have the time that a busy machine needs.
    busy = await BusySite.open(own.folder, from, { config: { timeouts: { legacy: "5s" } } });
    // The copies that its evidence would be about.
    if (to.phase === "read-through") await busy.site.command((_, node) => busy.site.backfill(node));
  }

  /** Spares the test the seconds until the others find a dead command silent; it is fenced off all the same. */
  const fenceOff = (holder: string) =>
    busy.site.command(async (_, node) => {
      await until("it is fenced off", () => evict(node.eviction, holder, node.id));
      await busy.site.breakLock(holder);
    });

  test.each(moves)("from %s to %s: killed there, the next one goes on", async (_from, _to, from, to) => {
    await openAt(from, to);
    const passed: Point[] = [];
    for (let step = 1; ; step++) {
      const { ended, points, holder } = await walkAndDie(own.folder, busy.site.config, { to }, step);
      if (ended === "done") break;
      expect(ended).toBe("killed");
      passed.push(points.at(-1)!);
      await fenceOff(holder);
    }
    // The shortest way, from full-redis to redis-first, has two.
    expect(passed.length).toBeGreaterThan(1);
    expect(await busy.site.record()).toMatchObject({ position: to, pending: null });
    await busy.rest();
    busy.expectOnly([]);
  });

  // A part of `npm run test:faults`.
  const once = ALL ? test : () => {};
  once("frozen before it drops what Redis holds: it wakes to records that are in use, and leaves them", async () => {
    busy = await BusySite.open(own.folder, at("legacy"));
    let records = 0;
    // Rung 0 is published and acknowledged; the third point is before the first work.
    const { points, ended } = await walkAndDie(
      own.folder,
      busy.site.config,
      { to: at("dual-write") },
      3,
      async (holder) => {
        await busy.site.breakLock(holder);
        await busy.site.moveTo(at("dual-write"));
        await busy.traffic.stop();
        await busy.site.command((_, node) => busy.site.backfill(node));
        records = await recordCount();
      },
    );
    expect(points.at(2)).toBe("transition:work");
    expect(["NODE_EVICTED", "RedisUnreachable", "REDIS_UNREACHABLE"]).toContain(ended);
    expect(records).toBeGreaterThan(0);
    expect(await recordCount()).toBe(records);
    await busy.rest();
  });

  test.each(moves)(
    "from %s to %s: frozen there and fenced off, another finishes, and it wakes to nothing",
    async (_from, _to, from, to) => {
      await openAt(from, to);
      for (let step = 1; ; step++) {
        const { position } = await busy.site.record();
        const goal = position.phase === to.phase ? from : to;
        if (goal.phase === "read-through") await busy.site.command((_, node) => busy.site.backfill(node));
        const { ended } = await walkAndDie(own.folder, busy.site.config, { to: goal }, step, async (holder) => {
          // Whoever takes its lock fences it off.
          await busy.site.breakLock(holder);
          await busy.site.moveTo(goal);
        });
        if (ended === "done") break;
        expect([
          "NODE_EVICTED",
          "HELD",
          "TRANSITION_PENDING",
          "REDIS_UNREACHABLE",
          "LEGACY_UNREACHABLE",
          "OUTCOME_UNKNOWN",
          "RedisUnreachable",
          "LegacyUnreachable",
        ]).toContain(ended);
        expect(await busy.site.record()).toMatchObject({ position: goal, pending: null });
      }
      await busy.rest();
      busy.expectOnly([]);
    },
  );
});

function recordCount(): Promise<number> {
  return busy.site.look(async ({ records }) => {
    let count = 0;
    for await (const page of records.listRecords({ pageSize: 500 })) count += page.length;
    return count;
  });
}
