import { z } from "zod";
import { count, milliseconds, phase, time } from "./common.js";

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
      duplicates: z
        .strictObject({ count, digests: z.array(z.string()).readonly() })
        .nullable()
        .describe("Old copies of sessions on other servers of a pool, with digests of some."),
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
