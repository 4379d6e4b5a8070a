import { z } from "zod";
import { count, gate, milliseconds, phase, position, time } from "./common.js";

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

export const statusDocumentSchema = z.strictObject({
  migration: z.string(),
  phase,
  percent: z.int().min(1).max(100),
  revision: z.int(),
  interrupted: z.boolean().describe("No application was there for a while; the first to come sets the position back."),
  pending: z
    .strictObject({
      from: position,
      to: position,
      direction: z.enum(["up", "down"]),
      rung: z.string(),
      step: z.int(),
      steps: z.int(),
      reversible: z.boolean(),
      waitingFor: z.array(z.string()).describe("Nodes that have not acknowledged."),
      by: z.string(),
      reason: z.string(),
      startedAt: time,
      age: milliseconds,
    })
    .nullable(),
  nodes: z.array(nodeDocument),
  mirror: z.strictObject({
    healthy: z.boolean().describe("Every serving node sees Redis and has no gap."),
    withoutRedis: count,
    gaps: count,
    operations: count.describe("Of all serving nodes since their previous renewals."),
    errors: count,
    p95: z.number().nullable().describe("Of the slowest node."),
  }),
  redis: z
    .strictObject({
      usedMemory: z.number(),
      maxMemory: z.number().nullable().describe("0 for no limit, null where the service does not tell."),
      evictionPolicy: z.string().nullable(),
    })
    .nullable()
    .describe("Null when it cannot be asked."),
  dirty: z.strictObject({ count, oldestAge: milliseconds }).nullable().describe("Null when Redis cannot be asked."),
  refused: z
    .array(z.strictObject({ code: z.string(), count, since: time, sessions: z.array(z.string()) }))
    .describe("Changes that the legacy store never takes, by the code of its error; sessions by their digests."),
  backfill: z
    .strictObject({
      state: z.enum(["running", "paused", "stopped", "complete", "incomplete"]),
      alive: z.boolean().describe("A process is at it."),
      done: count,
      total: count,
      rate: z.number(),
      etaSeconds: z.number().nullable(),
      outdated: z.boolean().describe("It filled another generation of Redis and counts no more."),
      updatedAt: time,
    })
    .nullable(),
  check: z
    .strictObject({
      id: z.string(),
      mode: z.enum(["full", "sample"]),
      endedAt: time,
      age: milliseconds,
      clean: z.boolean(),
      evidence: z.boolean(),
      findings: z.array(z.string()),
    })
    .nullable(),
  voided: z.strictObject({ at: time, why: z.string() }).nullable(),
  next: position
    .extend({ gates: z.array(gate) })
    .nullable()
    .describe("The next step up with its gates; null at the end of the way."),
  advice: z.strictObject({ command: z.string().nullable(), why: z.string() }),
});
export type Status = z.infer<typeof statusDocumentSchema>;

export const nodesEvictDocument = z.strictObject({
  node: z.string(),
  known: z.boolean().describe("False: no such node is registered, or it was evicted before."),
  evicted: z.boolean(),
  dryRun: z.boolean(),
  plan: z.array(z.string()),
});
export type NodesEvict = z.infer<typeof nodesEvictDocument>;
