import { z } from "zod";
import { type CheckResult, PLANTED_KINDS } from "../core/check-result.js";
import { CHECK_CLASSES, DIFFERENCE_CLASSES } from "../core/compare.js";
import { PHASE_NAMES } from "../core/phase.js";

/** The JSON report of a check, as scripts may rely on it; keys may be added, never changed or taken away. */

const count = z.int().nonnegative();
const time = z.number().describe("Milliseconds since the epoch by the control store's clock.");
const position = z.object({ phase: z.enum(PHASE_NAMES), percent: z.number().min(1).max(100) });
const span = <T extends z.ZodType>(of: T) => z.object({ before: of, after: of });

const example = z.object({
  digest: z.string().describe("Keyed digest of the session id; `session show` prints the same one."),
  paths: z.array(z.string()).readonly().optional().describe("Where the values differ; what looks like data is `*`."),
  laterBy: z
    .number()
    .nullable()
    .optional()
    .describe("Milliseconds by which Redis outlives the legacy store; null: one of them never ends."),
});

export const checkResultSchema = z.object({
  id: z.string().describe("Sorts by time."),
  mode: z.enum(["full", "sample"]),
  sample: count.nullable().describe("Sessions of each side that a sample was to look at; null for a full check."),
  startedAt: time,
  endedAt: time,
  revision: span(z.int()),
  generation: span(z.string()),
  legacyIdentity: span(z.string()),
  redisRun: span(z.string()).optional().describe("Redis' run_id; of several servers all, with commas between them."),
  position: span(position),
  coveredBelow: count.describe("The buckets from 0 up to this one (of 10000) were compared."),
  lossy: z.boolean().describe("True where the legacy store may lose sessions by itself (memcached)."),
  counts: z.record(z.enum(CHECK_CLASSES), count),
  authority: z.object({ L: count, R: count }).describe("Sessions compared, by the store that was right about them."),
  coverage: z.object({ counted: count, listed: count, share: z.number().min(0).max(1) }),
  planted: z.object({ planted: count, found: count, missed: z.array(z.enum(PLANTED_KINDS)).readonly() }),
  duplicates: z
    .object({ count, digests: z.array(z.string()).readonly() })
    .nullable()
    .optional()
    .describe("Old copies of sessions on other servers of a pool, with digests of some; null where there are none."),
  witness: z
    .object({ read: count, agreed: count, disagreed: count, unsettled: count })
    .nullable()
    .describe("Sessions read again through plain clients of both sides."),
  examples: z.partialRecord(z.enum([...DIFFERENCE_CLASSES, "busy"]), z.array(example).readonly()),
  repaired: z
    .partialRecord(z.enum(DIFFERENCE_CLASSES), z.object({ done: count, failed: count }))
    .nullable()
    .describe("Null unless the run was asked to repair."),
  aborted: z.boolean(),
  clean: z.boolean().describe("No class beyond the gates of the configuration."),
  findings: z.array(z.string()).readonly(),
  evidence: z.boolean().describe("Whether the run counts for a transition, if it is clean."),
  whyNot: z.array(z.string()).readonly(),
}) satisfies z.ZodType<CheckResult>;

/** One JSON document; rejects a result that does not keep its own contract. */
export function renderCheckJson(result: CheckResult): string {
  return `${JSON.stringify(checkResultSchema.parse(result), null, 2)}\n`;
}
