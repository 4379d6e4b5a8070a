import { z } from "zod";
import { gate, milliseconds, phase, position, ramp, routes, time } from "./common.js";

export const historyDocument = z.strictObject({
  migration: z.string(),
  entries: z.array(
    z.strictObject({ at: time, by: z.string(), action: z.string(), detail: z.record(z.string(), z.unknown()) }),
  ),
});
export type PhaseHistory = z.infer<typeof historyDocument>;

export const phaseListDocument = z.strictObject({
  phases: z.array(z.strictObject({ name: phase, title: z.string(), ramp, reversible: z.boolean() })),
});
export type PhaseList = z.infer<typeof phaseListDocument>;

export const phaseShowDocument = z.strictObject({
  name: phase,
  title: z.string(),
  reversible: z.boolean(),
  ramp,
  below: phase.nullable(),
  above: phase.nullable(),
  routes: routes.describe("Of the phase once it is reached."),
  rungs: z.array(z.strictObject({ name: z.string(), routes, enter: z.array(z.string()), leave: z.array(z.string()) })),
  settle: z.array(z.string()),
  gates: z.array(z.strictObject({ gate: z.string(), asks: z.string() })),
});
export type PhaseShow = z.infer<typeof phaseShowDocument>;

export const phaseMoveDocument = z.strictObject({
  migration: z.string(),
  dryRun: z.boolean(),
  from: position,
  to: position.describe("Where it stands now; with --dry-run where it would."),
  moved: z.boolean().describe("False when it stood there already, and with --dry-run."),
  forced: z.boolean().describe("A gate did not pass and was forced."),
  revision: z.int(),
  milliseconds,
  plan: z.array(z.string()).describe("The steps in their order, with --dry-run."),
  gates: z.array(gate),
  refused: z.boolean().describe("With --dry-run: the gates would refuse it."),
  next: z.string().nullable(),
});
export type PhaseMove = z.infer<typeof phaseMoveDocument>;

const works = z
  .array(
    z.enum([
      "drop-records",
      "evidence-stands",
      "fleet-stands",
      "redis-stands",
      "no-intents",
      "full-copy",
      "push-missing",
      "drain-older",
      "drain-dirty",
      "clear-marks",
    ]),
  )
  .optional();

/** A file of phases/. That an order of rungs is safe is more than a shape, and is checked when they are loaded. */
export const phaseFile = z.strictObject({
  $schema: z.string().optional(),
  name: phase,
  title: z.string(),
  ladder: z
    .array(
      z.strictObject({
        name: z.string(),
        routes,
        enter: works.describe("Done before this rung is published on the way up."),
        leave: works.describe("Done on this rung before the one below is published on the way down."),
      }),
    )
    .describe("From the phase below with its liberty, rung by rung, to the phase itself; each is a barrier."),
  settle: works.describe("Done after the last rung was acknowledged on the way up."),
  ramp: ramp.describe("Default percentages; the configuration may change them."),
  reversible: z.boolean(),
});
