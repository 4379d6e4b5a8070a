import { z } from "zod";
import { configJsonSchema } from "../config/schema.js";
import { PHASE_NAMES } from "../core/phase.js";
import { CATALOGUE, type ErrorCode } from "../errors.js";

/**
 * What `--json` prints, command by command: scripts rely on these shapes. Times are milliseconds since the epoch by
 * the control store's clock, spans are milliseconds, shares 0 to 1, percentages 1 to 100. Keys may be added, never
 * changed or taken away.
 */

const time = z.number().describe("Milliseconds since the epoch.");
const milliseconds = z.number().nonnegative().describe("Milliseconds.");
const count = z.int().nonnegative();
const phase = z.enum(PHASE_NAMES);
const position = z.strictObject({ phase, percent: z.int().min(1).max(100) });

export const errorDocument = z.strictObject({
  error: z.strictObject({
    code: z.enum(Object.keys(CATALOGUE) as [ErrorCode, ...ErrorCode[]]),
    message: z.string(),
    remedy: z.string(),
    changed: z.string(),
    next: z.string().nullable(),
  }),
});

const nodeDocument = z.strictObject({
  id: z.string(),
  role: z.enum(["app", "proxy", "job"]),
  state: z.enum(["live", "evicted"]),
  host: z.string(),
  pid: z.int(),
  version: z.string(),
  protocol: z.int(),
  joinedAt: time,
  renewedAt: time,
  silentFor: milliseconds.describe("Since its last renewal."),
  acknowledged: z.boolean().describe("Whether it has acknowledged the present revision."),
  acknowledgedRevision: z.int(),
  gap: count.describe("Writes that Redis has missed and that are not flushed yet."),
  redis: z.enum(["up", "down", "lost", "unused"]),
  operations: count.describe("Since its previous renewal."),
  errors: count.describe("Since its previous renewal."),
  p95: z.number().nonnegative().nullable().describe("Of its requests over the last minute; null without requests."),
});
export type NodeDocument = z.infer<typeof nodeDocument>;

export const nodesDocument = z.strictObject({
  migration: z.string(),
  revision: z.int(),
  nodes: z.array(nodeDocument),
});
export type Nodes = z.infer<typeof nodesDocument>;

export const historyDocument = z.strictObject({
  migration: z.string(),
  entries: z.array(
    z.strictObject({ at: time, by: z.string(), action: z.string(), detail: z.record(z.string(), z.unknown()) }),
  ),
});
export type PhaseHistory = z.infer<typeof historyDocument>;

export const serversDocument = z.strictObject({
  servers: z.array(
    z.strictObject({ name: z.enum(["redis", "memcached", "postgres"]), version: z.string(), from: z.string() }),
  ),
});
export type Servers = z.infer<typeof serversDocument>;

export { position };

/** By the name of the command whose document it is; `error` is what any of them prints instead when it fails. */
export const DOCUMENTS = {
  error: errorDocument,
  nodes: nodesDocument,
  "phase-history": historyDocument,
  servers: serversDocument,
} as const satisfies Record<string, z.ZodType>;

/** Every JSON schema that is made from code, by the name of its file in schemas/. */
export function generatedSchemas(): Record<string, unknown> {
  const outputs = Object.entries(DOCUMENTS).map(([name, document]) => [`output-${name}`, z.toJSONSchema(document)]);
  return { config: configJsonSchema(), ...(Object.fromEntries(outputs) as Record<string, unknown>) };
}
