import type { Config } from "../core/config.js";
import { FerryError } from "../errors.js";
import { legacyPreset } from "../presets/index.js";
import { systemClock } from "../runtime/clock.js";
import { redisPrefix, servesItems } from "../runtime/open.js";
import { openVisitor } from "../runtime/visitor.js";
import { constantsList, MACHINE } from "../workflow/plan-constants.js";
import { answerPlan, type Configured, type Sampled, sampleLegacy, type Told } from "../workflow/plan-question.js";
import type { CommandResult, Context } from "./command.js";
import { abortable } from "./control.js";
import { toFailure } from "./failure.js";
import { planText } from "./plan-table.js";
import type { DoctorPlan } from "./schemas.js";

/**
 * `doctor --plan`: what a migration of this size asks for. It works without a configuration and without stores, since
 * people size before they build; what it then assumes is told.
 */
export async function plan(context: Context, told: Told & { readonly measure: boolean }): Promise<CommandResult> {
  const config = configOrNull(context, told.measure);
  const notes: string[] = [];
  let sampled: Sampled | null = null;
  if (config !== null) {
    try {
      sampled = await abortable(sample(config, told.measure), context.signal);
    } catch (error) {
      const failure = toFailure(error, config);
      // Who asks for a measurement, or breaks off, wants to hear that there is none.
      if (told.measure || failure.code === "INTERRUPTED") throw failure;
      notes.push(`The legacy store could not be looked at: ${failure.message} Its sizes are assumed.`);
    }
  }
  const answer = answerPlan(told, config === null ? null : configured(config), sampled);
  notes.push(...notesFor(answer, told.measure));
  const json: DoctorPlan = {
    machine: MACHINE,
    site: answer.site,
    plans: answer.plans.map(({ sessions: _sessions, value, origin, ...plan }) => ({
      sessions: { value, origin },
      ...plan,
    })),
    constants: constantsList(),
    notes,
  };
  return { json, text: planText(json, context.output.paint) };
}

function configOrNull(context: Context, needed: boolean): Config | null {
  try {
    return context.config();
  } catch (error) {
    if (!needed && error instanceof FerryError && error.code === "CONFIG_NOT_FOUND") return null;
    throw error;
  }
}

async function sample(config: Config, measure: boolean): Promise<Sampled> {
  const visitor = await openVisitor(config);
  try {
    return await sampleLegacy(visitor.legacy, systemClock, {
      flags: legacyPreset(config.legacy.preset).flags,
      measure,
    });
  } finally {
    await visitor.close();
  }
}

function configured(config: Config): Configured {
  return {
    legacy: legacyPreset(config.legacy.preset).backend,
    door: servesItems(config) ? "proxy" : "library",
    prefixBytes: Buffer.byteLength(redisPrefix(config)),
    jobRate: config.backfill.rate,
    memoryShare: config.gates.maxRedisMemory,
    undrained: config.gates.maxDirtyAge,
  };
}

function notesFor({ site, plans }: ReturnType<typeof answerPlan>, measured: boolean): string[] {
  const notes = [
    site.speed.origin === "measured"
      ? `Durations and processors come from a machine with ${MACHINE}; durations are corrected by what this one read in a few seconds.`
      : `Durations and processors are for machines like the one measured: ${MACHINE}. ${
          measured
            ? "There were too few sessions to measure this one."
            : "Correct them for yours: sessionferry doctor --plan --measure (it reads for three seconds at most, and writes nothing)."
        }`,
    `Memory is at its most while Redis is ahead of the legacy store (redis-first, full-redis) and the drain is as far behind as gates.maxDirtyAge allows; a legacy store that is away for longer adds to it in proportion.`,
    "Sizes are of one master: a replica takes as much again, and a fork that writes a snapshot or rewrites the append-only file up to as much for a while.",
  ];
  if (plans.some(({ redis }) => redis.shards > 1)) {
    notes.push("Several shards need Redis Cluster, or several migrations with stores of their own.");
  }
  return notes;
}
