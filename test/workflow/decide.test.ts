import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PHASE_NAMES, type PhaseName, type Position, rankOf } from "../../src/core/phase.js";
import { begin, comparePositions, nextPosition, proceed, reverse, type Steering } from "../../src/core/transition.js";
import type { FerryError } from "../../src/errors.js";
import { loadPhases } from "../../src/phases.js";
import { advanceCommand, decideAdvance, decideRollback, type Way, wayDown } from "../../src/workflow/decide.js";

const phases = loadPhases();
const ramps = Object.fromEntries(PHASE_NAMES.map((name) => [name, phases[name].ramp])) as Way["ramps"];
const way: Way = { phases, ramps };
const author = { by: "test", reason: "", at: 0 };

const at = (phase: PhaseName, percent = 100): Steering => ({
  position: { phase, percent },
  pending: null,
  generation: "g",
  interrupted: false,
});
const towards = (from: Steering, phase: PhaseName, percent = 100): Steering =>
  begin(from, { phase, percent }, phases, author);

function code(decide: () => unknown): string {
  try {
    decide();
    return "none";
  } catch (error) {
    return (error as FerryError).code;
  }
}

describe("advance", () => {
  it("takes the next ramp step, or the next phase at its first step", () => {
    expect(decideAdvance(at("legacy"), way, {})).toEqual({
      kind: "move",
      target: { phase: "dual-write", percent: 10 },
    });
    expect(decideAdvance(at("read-through", 10), way, {}).target).toEqual({ phase: "read-through", percent: 50 });
    expect(decideAdvance(at("full-redis"), way, {}).target).toEqual({ phase: "complete", percent: 100 });
    expect(decideAdvance(at("complete"), way, {}).kind).toBe("stay");
  });

  it("never moves twice when a command with --to is repeated", () => {
    expect(decideAdvance(at("dual-write"), way, { to: "read-through" }).target.percent).toBe(10);
    expect(decideAdvance(at("read-through", 10), way, { to: "read-through" }).kind).toBe("stay");
    expect(decideAdvance(at("read-through", 50), way, { to: "read-through", percent: 50 }).kind).toBe("stay");
    expect(decideAdvance(at("redis-first"), way, { to: "read-through", percent: 50 }).kind).toBe("stay");
  });

  it("takes any percentage, but never skips a phase", () => {
    expect(decideAdvance(at("read-through"), way, { to: "redis-first", percent: 37 }).kind).toBe("move");
    expect(decideAdvance(at("read-through", 10), way, { percent: 20 }).target).toEqual({
      phase: "read-through",
      percent: 20,
    });
    expect(code(() => decideAdvance(at("dual-write", 10), way, { to: "read-through" }))).toBe("USAGE");
    expect(code(() => decideAdvance(at("dual-write"), way, { to: "redis-first" }))).toBe("USAGE");
    expect(code(() => decideAdvance(at("full-redis"), way, { to: "complete", percent: 50 }))).toBe("USAGE");
  });

  it("finishes the same pending step, turns a rollback round, and leaves others alone", () => {
    const up = towards(at("dual-write"), "read-through", 10);
    expect(decideAdvance(up, way, { to: "read-through" }).kind).toBe("finish");
    expect(decideAdvance(up, way, {}).kind).toBe("finish");
    expect(decideAdvance(up, way, { to: "dual-write" }).kind).toBe("stay");
    expect(code(() => decideAdvance(up, way, { to: "read-through", percent: 50 }))).toBe("TRANSITION_PENDING");
    const down = towards(at("read-through", 10), "dual-write");
    expect(decideAdvance(down, way, { to: "read-through" }).kind).toBe("reverse");
    const onItsWay = [1, 2, 3].reduce((state) => proceed(state, phases), down);
    expect(onItsWay.pending?.rung).toBe(0);
    expect(code(() => decideAdvance(onItsWay, way, { to: "read-through" }))).toBe("TRANSITION_PENDING");
  });
});

describe("rollback", () => {
  it("goes to the phase below at 100 %, or down to a name step by step", () => {
    expect(wayDown(at("redis-first", 50), undefined)).toEqual([{ phase: "read-through", percent: 100 }]);
    expect(wayDown(at("redis-first", 50), "dual-write").map(({ phase }) => phase)).toEqual([
      "read-through",
      "dual-write",
    ]);
    expect(wayDown(at("full-redis"), "legacy")).toHaveLength(4);
    expect(wayDown(at("read-through", 10), "read-through")).toEqual([]);
    expect(wayDown(at("legacy"), undefined)).toEqual([]);
  });

  it("turns a pending step up round, finishes one down, and then stops", () => {
    const up = towards(at("dual-write"), "read-through", 10);
    expect(decideRollback(up, { start: up })).toEqual({
      kind: "reverse",
      target: { phase: "dual-write", percent: 100 },
    });
    expect(wayDown(up, undefined)).toEqual([{ phase: "dual-write", percent: 100 }]);
    const reversed = reverse(up, phases, author);
    expect(decideRollback(reversed, { start: reversed }).kind).toBe("finish");
    expect(wayDown(reversed, undefined)).toHaveLength(1);
    expect(wayDown(up, "read-through")).toEqual([]);
  });

  it("undoes the step that it found pending, though that has settled meanwhile", () => {
    const start = towards(at("read-through", 10), "read-through", 50);
    expect(decideRollback(at("read-through", 50), { start })).toEqual({
      kind: "move",
      target: at("read-through", 10).position,
    });
    expect(decideRollback(at("read-through", 50), { to: "read-through", start }).kind).toBe("stay");
  });

  it("does not finish a step that leads below the phase it was told", () => {
    const down = towards(at("redis-first"), "read-through");
    expect(code(() => decideRollback(down, { to: "redis-first", start: down }))).toBe("TRANSITION_PENDING");
    expect(decideRollback(down, { to: "read-through", start: down }).kind).toBe("finish");
    expect(decideRollback(down, { start: down }).kind).toBe("finish");
  });

  it("does not undo complete, nor the step to it once it has begun", () => {
    expect(code(() => decideRollback(at("complete"), { start: at("complete") }))).toBe("IRREVERSIBLE");
    const first = towards(at("full-redis"), "complete");
    expect(decideRollback(first, { start: first }).kind).toBe("reverse");
    const begun = proceed(first, phases);
    expect(code(() => decideRollback(begun, { start: begun }))).toBe("IRREVERSIBLE");
  });
});

const position = fc
  .tuple(fc.constantFrom(...PHASE_NAMES), fc.integer({ min: 1, max: 100 }))
  .map(
    ([phase, percent]): Position => ({ phase, percent: phase === "legacy" || phase === "complete" ? 100 : percent }),
  );

describe("any position", () => {
  it("is left for a neighbour or not at all, and the printed command leads where it says", () => {
    fc.assert(
      fc.property(position, (from) => {
        const state = at(from.phase, from.percent);
        const next = nextPosition(from, ramps);
        if (next === null) return;
        const words = advanceCommand(next, ramps).split(" ");
        const to = words[words.indexOf("--to") + 1] as PhaseName;
        const percent = words.includes("--percent") ? Number(words[words.indexOf("--percent") + 1]) : undefined;
        const decision = decideAdvance(state, way, { to, percent });
        expect(decision).toEqual({ kind: "move", target: next });
        // The engine takes it: it is a neighbour.
        expect(() => begin(state, decision.target, phases, author)).not.toThrow();
      }),
    );
  });

  it("falls by whole phases until it is where it was told to go", () => {
    fc.assert(
      fc.property(position, fc.constantFrom(...PHASE_NAMES.slice(0, 4)), (from, to) => {
        if (from.phase === "complete") return;
        const steps = wayDown(at(from.phase, from.percent), to);
        expect(steps).toHaveLength(Math.max(0, rankOf(from.phase) - rankOf(to)));
        let state = at(from.phase, from.percent);
        for (const step of steps) {
          expect(comparePositions(step, state.position)).toBeLessThan(0);
          expect(() => begin(state, step, phases, author)).not.toThrow();
          state = at(step.phase, step.percent);
        }
      }),
    );
  });
});
