import { z } from "zod";
import { CATALOGUE, type ErrorCode } from "../../errors.js";
import { count, milliseconds, position } from "./common.js";

export const errorDocument = z.strictObject({
  error: z.strictObject({
    code: z.enum(Object.keys(CATALOGUE) as [ErrorCode, ...ErrorCode[]]),
    message: z.string(),
    remedy: z.string(),
    changed: z.string(),
    next: z.string().nullable(),
  }),
});

export const serversDocument = z.strictObject({
  servers: z.array(
    z.strictObject({ name: z.enum(["redis", "memcached", "postgres"]), version: z.string(), from: z.string() }),
  ),
  clients: z
    .array(z.strictObject({ name: z.string(), version: z.string(), from: z.string() }))
    .optional()
    .describe("memcached's clients in other languages, where they were asked for; one that is away is left out."),
});
export type Servers = z.infer<typeof serversDocument>;

export const presetsDocument = z.strictObject({
  legacy: z.array(
    z.strictObject({
      name: z.string(),
      title: z.string(),
      backend: z.enum(["postgres", "memcached"]),
      key: z.string().describe("SID stands for the session id; for SQL the table and its column."),
      flags: z.int().describe("memcached's flags of each item; 0 for SQL."),
      value: z.string(),
      lifetime: z.string(),
      distribution: z.string().nullable().describe("How its client chooses among several servers."),
      ignored: z.array(z.string()).describe("Patterns of session ids that are no sessions: locks."),
      beware: z.array(z.string()),
      redis: z.array(z.string()).describe("The presets that hold the same bytes; the first is the default."),
    }),
  ),
  redis: z.array(
    z.strictObject({
      name: z.string(),
      title: z.string(),
      key: z.string(),
      value: z.string(),
      lifetime: z.string(),
      beware: z.array(z.string()),
    }),
  ),
});
export type Presets = z.infer<typeof presetsDocument>;

export const doctorDocument = z.strictObject({
  migration: z.string(),
  ready: z.boolean().describe("Nothing forbids to go on, and every store was reached."),
  checks: z.array(
    z.strictObject({
      name: z.string(),
      ok: z.enum(["ok", "warn", "refused", "unreachable"]),
      detail: z.string(),
      remedy: z.string().nullable(),
      code: z.string().nullable().describe("The error code that a command would refuse with."),
    }),
  ),
});
export type Doctor = z.infer<typeof doctorDocument>;

export const setupDocument = z.strictObject({
  migration: z.string(),
  dryRun: z.boolean(),
  plan: z.array(
    z.strictObject({
      step: z.enum(["install-control", "adopt-prefix", "seal-redis", "seal-complete"]),
      what: z.string(),
    }),
  ),
  created: z.boolean().describe("Whether this run made the control record."),
  position: position.nullable(),
  next: z.string(),
});
export type Setup = z.infer<typeof setupDocument>;

export const cleanupDocument = z.strictObject({
  migration: z.string(),
  dryRun: z.boolean(),
  plan: z.array(z.string()),
  left: z.array(z.string()).describe("What is not ours to remove, with the command for it."),
});
export type Cleanup = z.infer<typeof cleanupDocument>;

export const demoDocument = z.strictObject({
  ok: z.boolean().describe("Every line of the proof holds."),
  seconds: z.number(),
  proof: z.array(z.strictObject({ ok: z.boolean(), claim: z.string(), figures: z.string() })).readonly(),
  transitions: z
    .array(
      z.strictObject({
        name: z.string(),
        requests: count,
        p99: milliseconds,
        slowest: milliseconds,
        slowestRoute: z.string(),
      }),
    )
    .readonly(),
  failure: z.string().nullable().describe("Why it ended before the proof."),
});
