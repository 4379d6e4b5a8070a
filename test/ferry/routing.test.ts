import fc from "fast-check";
import { expect, test } from "vitest";
import { bucketOf } from "../../src/core/cohort.js";
import { PHASE_NAMES, phaseBelow, placementOf, type Transition } from "../../src/core/phase.js";
import { Routing } from "../../src/ferry/routing.js";
import { loadPhases } from "../../src/phases.js";
import type { ControlRecord } from "../../src/ports/control-store.js";

const phases = loadPhases();

test("a sid stands where its bucket stands, whether or not all of them stand alike", () => {
  const percent = fc.constantFrom(1, 37, 99, 100);
  const state = fc
    .record({
      phase: fc.constantFrom(...PHASE_NAMES),
      percent,
      pending: fc.boolean(),
      from: fc.nat(9_999),
      rung: fc.nat(2),
    })
    .map(({ phase, percent, pending, from, rung }) => {
      const whole = phase === "legacy" || phase === "complete";
      const position = { phase, percent: whole ? 100 : percent };
      if (!pending || phase === "legacy") return { position, pending: null };
      const transition: Transition = {
        lower: { phase: phaseBelow(phase), percent: 100 },
        upper: position,
        ladder: phase,
        buckets: from % 2 === 0 ? [0, 10_000] : [from, 10_000],
        rung: Math.min(rung, phases[phase].ladder.length - 1),
        direction: "up",
        oneWay: false,
        by: "test",
        reason: "",
        startedAt: 0,
      };
      return { position: transition.lower, pending: transition };
    });
  fc.assert(
    fc.property(state, fc.array(fc.string(), { minLength: 1, maxLength: 20 }), (given, sids) => {
      const record = { ...given, revision: 1, generation: "g", interrupted: false } as ControlRecord;
      const routing = new Routing(phases, record);
      for (const sid of sids) expect(routing.placement(sid)).toEqual(placementOf(phases, record, bucketOf(sid)));
      const [first] = sids;
      const operation = routing.begin(first!);
      expect(operation.placement).toEqual(routing.placement(first!));
      expect(routing.inFlight).toBe(1);
      operation.end();
      expect(routing.inFlight).toBe(0);
    }),
  );
});

test("who waits for a newer record and has enough leaves nothing behind", async () => {
  const record = { migration: "m", revision: 1, position: { phase: "redis-first", percent: 100 } as const };
  const routing = new Routing(phases, { ...record, pending: null, generation: "g", interrupted: false });
  const enough = new AbortController();
  const waits = [routing.changed(enough.signal), routing.changed(enough.signal)];
  expect(routing.waiting).toBe(2);
  enough.abort();
  await Promise.all(waits);
  expect(routing.waiting).toBe(0);
  const patient = routing.changed(new AbortController().signal);
  routing.follow({ ...routing.record, revision: 2 });
  await patient;
  expect(routing.waiting).toBe(0);
});
