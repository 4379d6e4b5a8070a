import { z } from "zod";
import { configJsonSchema } from "../config/schema.js";
import { PHASE_NAMES } from "../core/phase.js";
import { CATALOGUE, type ErrorCode } from "../errors.js";
import { checkResultSchema } from "../observe/check-schema.js";

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

const routes = z.strictObject({
  write: z.enum(["legacy", "L", "R", "alone"]),
  close: z.enum(["none", "value"]),
  read: z.enum(["L", "through", "R"]),
  liberty: z.enum(["none", "gap", "fallback"]),
});
const ramp = z.array(z.int().min(1).max(100));

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
  plan: z.array(z.strictObject({ step: z.enum(["install-control", "adopt-prefix", "seal-redis"]), what: z.string() })),
  created: z.boolean().describe("Whether this run made the control record."),
  position: position.nullable(),
  next: z.string(),
});
export type Setup = z.infer<typeof setupDocument>;

const gate = z.strictObject({
  gate: z.string(),
  ok: z.boolean(),
  measured: z.string(),
  required: z.string(),
  remedy: z.string().nullable(),
  forceable: z.boolean(),
});

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

const backfillState = z.enum(["none", "running", "paused", "stopped", "complete", "incomplete"]);
const backfillCounts = z.strictObject({
  copied: count,
  hit: count.describe("Redis had it already."),
  dirty: count.describe("Redis was ahead of it."),
  absent: count.describe("Listed, but gone when it was read."),
  notYet: count.describe("Its bucket is below dual-write."),
  skipped: count.describe("Cannot move: too large, an ignored key."),
  refused: count.describe("Fills that a write overtook and that were repeated."),
  failed: count,
});

export const backfillStatusDocument = z.strictObject({
  state: backfillState,
  alive: z.boolean().describe("A process is at it."),
  done: count,
  total: count,
  rate: z.number().describe("Sessions per second, lately."),
  etaSeconds: z.number().nullable(),
  outdated: z.boolean().describe("It filled another generation of Redis and counts no more."),
  counts: backfillCounts,
});
export type BackfillStatusDocument = z.infer<typeof backfillStatusDocument>;

export const backfillWishedDocument = z.strictObject({
  asked: z.enum(["run", "pause", "stop"]).nullable().describe("Null: it was so already."),
  dryRun: z.boolean(),
  state: backfillState.describe("When it was asked."),
});
export type BackfillWished = z.infer<typeof backfillWishedDocument>;

export const backfillDocument = z.strictObject({
  dryRun: z.boolean(),
  byPhase: z.partialRecord(phase, count).nullable().describe("With --dry-run: live sessions by the phase they are in."),
  wouldCopy: count.nullable().describe("With --dry-run."),
  notYet: count.describe("Sessions still below dual-write."),
  result: z
    .strictObject({
      state: backfillState.exclude(["none"]),
      resumed: z.boolean().describe("Whether it went on from a checkpoint."),
      milliseconds,
      done: count,
      total: count,
      rate: z.number(),
      counts: backfillCounts,
    })
    .nullable(),
});
export type BackfillDocument = z.infer<typeof backfillDocument>;

export const revokeDocument = z.strictObject({
  dryRun: z.boolean(),
  read: count.describe("Ids read."),
  revoked: count.describe("Destroyed in both stores, whether they lived or not."),
});
export type Revoke = z.infer<typeof revokeDocument>;

export const nodesEvictDocument = z.strictObject({
  node: z.string(),
  known: z.boolean().describe("False: no such node is registered, or it was evicted before."),
  evicted: z.boolean(),
  dryRun: z.boolean(),
  plan: z.array(z.string()),
});
export type NodesEvict = z.infer<typeof nodesEvictDocument>;

export const cleanupDocument = z.strictObject({
  migration: z.string(),
  dryRun: z.boolean(),
  plan: z.array(z.string()),
  left: z.array(z.string()).describe("What is not ours to remove, with the command for it."),
});
export type Cleanup = z.infer<typeof cleanupDocument>;

const sessionSide = z.strictObject({
  present: z.boolean(),
  expiresAt: time.nullable().describe("Null where it is absent or never expires."),
  bytes: count,
});

export const sessionShowDocument = z.strictObject({
  digest: z.string().describe("Stands for the id in reports and logs."),
  bucket: z.int().min(0).max(9999),
  phase,
  authority: z.enum(["legacy", "redis"]),
  mark: z.enum(["none", "intents", "dirty", "lease"]),
  intents: count,
  legacy: sessionSide,
  redis: sessionSide,
  equal: z.boolean().nullable().describe("Null while it is being written, or where only one store counts."),
  differences: z.array(z.enum(["only in legacy", "only in redis", "value", "expiry"])),
});
export type SessionShow = z.infer<typeof sessionShowDocument>;

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

const works = z
  .array(
    z.enum([
      "drop-records",
      "evidence-stands",
      "no-intents",
      "full-copy",
      "push-missing",
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

/** By the name of the command whose document it is; `error` is what any of them prints instead when it fails. */
export const DOCUMENTS = {
  backfill: backfillDocument,
  "backfill-status": backfillStatusDocument,
  "backfill-wish": backfillWishedDocument,
  check: checkResultSchema,
  cleanup: cleanupDocument,
  demo: demoDocument,
  doctor: doctorDocument,
  error: errorDocument,
  nodes: nodesDocument,
  "nodes-evict": nodesEvictDocument,
  "phase-history": historyDocument,
  "phase-list": phaseListDocument,
  "phase-move": phaseMoveDocument,
  "phase-show": phaseShowDocument,
  revoke: revokeDocument,
  servers: serversDocument,
  "session-show": sessionShowDocument,
  setup: setupDocument,
  status: statusDocumentSchema,
} as const satisfies Record<string, z.ZodType>;

/** Every JSON schema that is made from code, by the name of its file in schemas/. */
export function generatedSchemas(): Record<string, unknown> {
  const outputs = Object.entries(DOCUMENTS).map(([name, document]) => [`output-${name}`, z.toJSONSchema(document)]);
  return {
    config: configJsonSchema(),
    phase: z.toJSONSchema(phaseFile),
    ...(Object.fromEntries(outputs) as Record<string, unknown>),
  };
}
