import { z } from "zod";
import { count, phase } from "./common.js";

const sourced = <T extends z.ZodType>(value: T) =>
  z.strictObject({ value, origin: z.enum(["given", "measured", "configured", "assumed"]) });

const perSecond = z.number().nonnegative();
const bytes = z.number().nonnegative().describe("Bytes.");
const processors = z.number().nonnegative().describe("Processors kept busy.");
const job = z.strictObject({ seconds: z.number().nonnegative(), rate: perSecond.describe("Sessions a second.") });

/** `doctor --plan --json`. */
export const doctorPlanDocument = z.strictObject({
  machine: z.string().describe("The machine on which the constants were measured: durations are for one like it."),
  site: z.strictObject({
    legacy: sourced(z.enum(["postgres", "memcached"])),
    door: sourced(z.enum(["library", "proxy"])),
    valueBytes: sourced(z.number()).describe("Mean bytes of a session's value."),
    keyBytes: sourced(z.number()).describe("Mean bytes of a session's key in Redis."),
    reads: sourced(perSecond.nullable()).describe("Null: in proportion to the sessions, see `load` of each plan."),
    writes: sourced(perSecond.nullable()),
    touches: sourced(perSecond.nullable()),
    speed: sourced(z.number()).describe("How many times as fast as that machine jobs are taken to run."),
  }),
  plans: z.array(
    z.strictObject({
      sessions: sourced(count),
      load: z.strictObject({ reads: perSecond, writes: perSecond, touches: perSecond }),
      memory: z.strictObject({
        phase: phase.describe("The phase in which it is most."),
        session: bytes.describe("Bytes of one session at rest."),
        atRest: bytes,
        marks: bytes.describe("Marks of changes that wait to be drained."),
        companions: bytes.describe("What only memcached's clients know of an item."),
        most: bytes,
        maxmemory: bytes.describe("What Redis' maxmemory should be at least."),
      }),
      redis: z.strictObject({
        phase: phase.describe("The phase with the most scripts."),
        scripts: perSecond.describe("At most: scripts that come together travel as one."),
        reads: perSecond.describe("Reads that need no script."),
        processors,
        shards: count.describe("Redis masters that this asks for."),
        shardsFor: z.enum(["memory", "processor"]),
      }),
      backfill: job,
      check: job,
      processes: z.strictObject({
        phase,
        processors: processors.describe("Of the proxies, or within the application's own processes."),
        proxies: count.nullable().describe("Null where the application has the library in its own processes."),
      }),
      network: z.strictObject({
        phase,
        received: perSecond.describe("Bytes a second that Redis receives."),
        sent: perSecond.describe("Bytes a second that Redis sends."),
        backfill: perSecond.describe("Bytes a second that a backfill adds."),
      }),
    }),
  ),
  constants: z.array(z.strictObject({ name: z.string(), value: z.number(), unit: z.string(), source: z.string() })),
  notes: z.array(z.string()),
});
export type DoctorPlan = z.infer<typeof doctorPlanDocument>;
