import { z } from "zod";
import { PHASE_NAMES } from "../../core/phase.js";

/** What several documents have in common. */
export const time = z.number().describe("Milliseconds since the epoch.");
export const milliseconds = z.number().nonnegative().describe("Milliseconds.");
export const count = z.int().nonnegative();
export const phase = z.enum(PHASE_NAMES);
export const position = z.strictObject({ phase, percent: z.int().min(1).max(100) });

export const routes = z.strictObject({
  write: z.enum(["legacy", "L", "R", "alone"]),
  close: z.enum(["none", "value"]),
  read: z.enum(["L", "through", "R"]),
  liberty: z.enum(["none", "gap", "fallback", "write-behind"]),
});
export const ramp = z.array(z.int().min(1).max(100));

export const gate = z.strictObject({
  gate: z.string(),
  ok: z.boolean(),
  measured: z.string(),
  required: z.string(),
  remedy: z.string().nullable(),
  forceable: z.boolean(),
});
