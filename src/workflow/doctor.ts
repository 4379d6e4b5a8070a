import type { Config } from "../core/config.js";
import { EXIT, type ExitCode, FerryError } from "../errors.js";
import { asFerryError } from "../ferry/failures.js";
import type { Clock } from "../ports/clock.js";
import type { ControlStore } from "../ports/control-store.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { RedisRecords } from "../ports/redis-records.js";
import type { ControlRights, LegacySurvey, RedisRights } from "../ports/survey.js";
import { CLOCKS, CONTROL_PROBES } from "./doctor-control.js";
import { DOOR_PROBES } from "./doctor-door.js";
import type { Facts, Finding, Gathered, Probe } from "./doctor-facts.js";
import { LEGACY_PROBES } from "./doctor-legacy.js";
import { REDIS_PROBES, SAME_STORE } from "./doctor-redis.js";
import { isOccupied, recordIfAny } from "./standing.js";

/** The stores as the doctor looks at them. `where` is the redacted URL, `servers` the resolved `address:port`s. */
export interface Patients {
  readonly config: Config;
  readonly clock: Clock;
  readonly legacy: {
    readonly store: LegacyStore;
    readonly survey: () => Promise<LegacySurvey>;
    readonly where: string;
    readonly servers: readonly string[];
  };
  readonly redis: {
    readonly records: RedisRecords;
    readonly rights: () => Promise<RedisRights>;
    /** What stands before a session id, and before everything of ours, for ACL lines. */
    readonly prefixes: readonly string[];
    readonly where: string;
    readonly servers: readonly string[];
  };
  readonly control: {
    readonly store: ControlStore;
    /** Null for a store that asks for no rights of its own. */
    readonly rights: () => Promise<ControlRights | null>;
    readonly where: string;
    readonly servers: readonly string[];
  };
  readonly listeners: Facts["listeners"];
}

export interface Examination extends Finding {
  readonly name: string;
  readonly guardsSetup: boolean;
}

/** The doctor's questions, in the order in which they are told. A store that is away answers only its first. */
const PROBES: readonly Probe[] = [
  SAME_STORE,
  ...LEGACY_PROBES,
  ...DOOR_PROBES,
  ...REDIS_PROBES,
  ...CONTROL_PROBES,
  CLOCKS,
];

/** Asks all three stores at once; one that fails leaves the others' facts standing. */
export async function gather({ config, clock, legacy, redis, control, listeners }: Patients): Promise<Facts> {
  const [legacyFacts, redisState, redisRights, controlState] = await Promise.all([
    gathered(async () => ({
      skew: await skewOf(clock, () => legacy.store.now()),
      survey: await legacy.survey(),
      sessions: await legacy.store.count(),
      granularity: legacy.store.expiryGranularity,
    })),
    gathered(async () => {
      const server = await redis.records.facts();
      return {
        server,
        skew: await skewOf(clock, async () => (await redis.records.facts()).now),
        seal: await redis.records.seal(),
        occupied: await isOccupied(redis.records),
      };
    }),
    gathered(redis.rights),
    gathered(async () => ({
      kind: control.store.kind,
      skew: await skewOf(clock, () => control.store.now()),
      record: await recordIfAny(control.store),
      rights: await control.rights(),
    })),
  ]);
  return {
    config,
    prefixes: redis.prefixes,
    where: { legacy: legacy.where, redis: redis.where, control: control.where },
    servers: { legacy: legacy.servers, redis: redis.servers, control: control.servers },
    legacy: legacyFacts,
    redis: redisState,
    redisRights,
    control: controlState,
    listeners,
  };
}

/** Judges the facts by every probe that applies. */
export function examine(facts: Facts): Examination[] {
  return PROBES.flatMap(({ name, guardsSetup, judge }) => {
    const finding = judge(facts);
    return finding === null ? [] : [{ name, guardsSetup, ...finding }];
  });
}

/** 5 when a store is away, 3 when something forbids to go on, else 0. */
export function exitOf(examinations: readonly Examination[]): ExitCode {
  if (examinations.some(({ ok }) => ok === "unreachable")) return EXIT.unreachable;
  if (examinations.some(({ ok }) => ok === "refused")) return EXIT.refused;
  return EXIT.done;
}

async function gathered<T>(ask: () => Promise<T>): Promise<Gathered<T>> {
  try {
    return { facts: await ask(), failure: null };
  } catch (error) {
    const failure = asFerryError(error);
    if (failure instanceof FerryError) return { facts: null, failure };
    throw error;
  }
}

/** How far a store's clock is ahead of ours, in milliseconds; the way there and back is taken as equally long. */
async function skewOf(clock: Clock, ask: () => Promise<number>): Promise<number> {
  // The first question may have to connect, which makes its way there longer than its way back.
  await ask();
  const before = clock.now();
  const theirs = await ask();
  return Math.round(theirs - (before + clock.now()) / 2);
}
