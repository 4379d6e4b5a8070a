import { expect, test } from "vitest";
import type { Position } from "../../src/core/phase.js";
import { begin, proceed, reverse, type Steering } from "../../src/core/transition.js";
import { loadPhases } from "../../src/phases.js";

const PHASES = loadPhases();
const AUTHOR = { by: "test", reason: "", at: 0 };
const at = (phase: Position["phase"], percent = 100): Position => ({ phase, percent });
const settled = (position: Position): Steering => ({ position, pending: null, generation: "g", interrupted: false });
const namesOf = ({ pending }: Steering) => pending && PHASES[pending.ladder].ladder[pending.rung]!.name;

test("whether anything was answered that the legacy store may lack is told for every rung, in both directions", () => {
  const told: unknown[] = [];
  const tell = (state: Steering) => told.push([namesOf(state), state.pending?.behind, state.pending?.stamp]);
  let state = begin(settled(at("read-through")), at("redis-first", 10), PHASES, AUTHOR);
  tell(state);
  for (let stamp = 1; stamp <= 3; stamp++) {
    state = proceed(state, PHASES, String(stamp));
    tell(state);
  }
  state = reverse(state, PHASES, AUTHOR);
  for (let rung = 2; rung >= 0; rung--) {
    state = proceed(state, PHASES);
    tell(state);
  }
  expect(told).toEqual([
    ["read-through", false, undefined],
    ["no-fallback", false, undefined],
    ["write-through", false, undefined],
    ["redis-first", true, "3"],
    ["write-through", true, "3"],
    ["no-fallback", false, undefined],
    ["read-through", false, undefined],
  ]);
});

// What waits to be drained dates from before any stamp of this walk, and would be dropped as older than it.
test("a Redis that was the authority before the walk gets no stamp by turning round on the way down", () => {
  let state = begin(settled(at("redis-first", 50)), at("read-through"), PHASES, AUTHOR);
  state = reverse(proceed(state, PHASES), PHASES, AUTHOR);
  expect(namesOf(state)).toBe("write-through");
  state = proceed(state, PHASES, "7");
  expect(namesOf(state)).toBe("redis-first");
  expect(state.pending).toMatchObject({ behind: true });
  expect(state.pending).not.toHaveProperty("stamp");
});
