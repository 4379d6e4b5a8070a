import fc from "fast-check";
import { expect, test } from "vitest";
import type { Position } from "../../src/core/phase.js";
import {
  abandonRedis,
  begin,
  isReversible,
  nextPosition,
  positionBelow,
  proceed,
  redisIsDrained,
  reverse,
} from "../../src/core/transition.js";
import { Routing } from "../../src/ferry/routing.js";
import { Standstill } from "../../src/ferry/standstill.js";
import { loadPhases } from "../../src/phases.js";
import type { ControlRecord } from "../../src/ports/control-store.js";

const phases = loadPhases();
const RAMPS = {
  legacy: [100],
  "dual-write": [10, 100],
  "read-through": [50, 100],
  "redis-first": [50, 100],
  "full-redis": [100],
  complete: [100],
};
const STARTS: readonly Position[] = [
  { phase: "legacy", percent: 100 },
  { phase: "dual-write", percent: 100 },
  { phase: "read-through", percent: 100 },
  { phase: "redis-first", percent: 50 },
];
const AUTHOR = { by: "test", reason: "", at: 0 };
/** Milliseconds; memcached's clock may add one of its seconds. */
const PLACEHOLDER_LIVES = 11_000;

/**
 * The shortest that the search has found, all of them steps down: one process drained under the record of a Redis that
 * is left behind, which it followed longer than the others.
 */
const FOUND =
  "lose climb begin climb begin end back follow:1 end walk begin begin follow begin begin:1 walk back " +
  "back begin+6000 back begin walk begin:1+6000 climb climb climb climb climb climb climb climb climb";

/** `what`, with `:who` and `+wait` where they are not 0. */
function stepOf(word: string) {
  const [, what, who = "0", wait = "0"] = /^([a-z]+)(?::(\d))?(?:\+(\d+))?$/.exec(word)!;
  return { what: what!, who: Number(who), which: 0, wait: Number(wait), up: false };
}

/** One process: the routes it follows, and what it has under way, each with what it was told when it began. */
class Process {
  readonly routing: Routing;
  readonly standstill: Standstill;
  readonly acts: { end(): void; bare: boolean; drains: boolean }[] = [];

  constructor(record: ControlRecord, now: () => number) {
    this.routing = new Routing(phases, record);
    this.standstill = new Standstill(["legacy", "dual-write"], now);
  }

  /** A verb that L decides, or a drain, whatever the routes of this moment make of it. */
  begin(): void {
    const { record } = this.routing;
    const { placement, end } = this.#operation();
    const { write, read } = placement.routes;
    const drains = write === "R" || read === "through" || redisIsDrained(record);
    this.acts.push({ end, drains, bare: !drains && this.standstill.holds(record) });
  }

  #operation() {
    const operation = this.routing.begin("sid");
    return { placement: operation.placement, end: () => operation.end() };
  }
}

test("whoever believes that there is no placeholder is right, however processes lag and steps turn round", () => {
  let bare = 0;
  let placed = 0;
  const step = fc.record({
    what: fc.constantFrom(
      "climb",
      "climb",
      "climb",
      "walk",
      "back",
      "follow",
      "begin",
      "begin",
      "begin",
      "end",
      "lose",
    ),
    who: fc.nat(2),
    which: fc.nat(3),
    wait: fc.constantFrom(0, 0, 0, 500, 6_000),
    up: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.constantFrom(...STARTS), fc.array(step, { minLength: 30, maxLength: 200 }), (start, steps) => {
      let now = 0;
      /** When the last placeholder may be gone. */
      let placeholderUntil = Number.NEGATIVE_INFINITY;
      let state: ControlRecord = {
        ...{ migration: "m", revision: 1, generation: "g", interrupted: false },
        ...{ position: start, pending: null },
      };
      const publish = (next: Partial<ControlRecord>) => {
        state = { ...state, ...next, revision: state.revision + 1 };
      };
      const processes = [0, 1, 2].map(() => new Process(state, () => now));
      const acknowledged = () => processes.every(({ routing }) => routing.drainedRevision() === state.revision);
      const end = ({ acts }: Process, which: number) => {
        const [act] = acts.splice(which % acts.length, 1);
        // It takes effect at the last moment.
        if (act!.drains) {
          placed++;
          placeholderUntil = now + PLACEHOLDER_LIVES;
        } else if (act!.bare) {
          bare++;
          expect(now).toBeGreaterThanOrEqual(placeholderUntil);
        }
        act!.end();
      };
      const walk = (up: boolean) => {
        if (state.pending !== null) {
          if (acknowledged()) publish(proceed(state, phases));
          return;
        }
        const to = up ? nextPosition(state.position, RAMPS) : positionBelow(state.position);
        if (to !== null && to.phase !== "full-redis") publish(begin(state, to, phases, AUTHOR));
      };
      for (const { what, who, which, wait, up } of steps) {
        now += wait;
        const it = processes[who]!;
        if (what === "follow") it.routing.follow(state);
        else if (what === "begin") it.begin();
        else if (what === "end" && it.acts.length > 0) end(it, which);
        else if (what === "walk") walk(up);
        else if (what === "climb") {
          for (const process of processes) {
            process.routing.follow(state);
            while (process.acts.length > which) end(process, 0);
          }
          walk(up);
        } else if (what === "back" && state.pending !== null) {
          if (isReversible(state.pending, phases)) publish(reverse(state, phases, AUTHOR));
        } else if (what === "lose" && which === 0) {
          const { phase } = state.position;
          if (phase === "read-through" || phase === "redis-first") publish(abandonRedis(state, phases, AUTHOR, "h"));
        }
      }
    }),
    { numRuns: 2_000, examples: [[{ phase: "redis-first", percent: 50 }, FOUND.split(" ").map(stepOf)]] },
  );
  expect(bare).toBeGreaterThan(100);
  expect(placed).toBeGreaterThan(100);
});

test("time counts from the first look at a record", () => {
  let now = 0;
  const standstill = new Standstill(["legacy"], () => now, 100);
  const record = { revision: 1, pending: null, position: { phase: "legacy", percent: 100 } } as ControlRecord;
  expect(standstill.holds(record)).toBe(false);
  now = 100;
  expect(standstill.holds(record)).toBe(true);
  expect(standstill.holds({ ...record, revision: 2 })).toBe(false);
  now = 200;
  expect(standstill.holds({ ...record, revision: 2 })).toBe(true);
  expect(standstill.holds({ ...record, position: { phase: "dual-write", percent: 100 } })).toBe(false);
});
