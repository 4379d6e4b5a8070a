import { z } from "zod";
import { isLegacyPresetName, LEGACY_PRESET_NAMES, PAIRINGS, REDIS_PRESET_NAMES } from "../core/preset-names.js";
import {
  DAY,
  deadline,
  duration,
  flag,
  HOUR,
  MINUTE,
  oneOf,
  ramp,
  SECOND,
  section,
  share,
  stay,
  text,
  url,
  whole,
} from "./fields.js";
import { proxy } from "./proxy.js";
import { isCluster, isMemcached, isPostgres, urlProblem } from "./urls.js";

/**
 * The configuration file as data. Every key has a description, because the JSON schema for editors is made of it.
 */

/** A table's name, with its schema where needed; quoted by the store, so only what would confuse people is refused. */
const TABLE = /^[A-Za-z_][A-Za-z0-9_$-]{0,62}(\.[A-Za-z_][A-Za-z0-9_$-]{0,62})?$/;
const PREFIX = /^[\x21-\x7e]{0,100}$/;

export { LEGACY_PRESET_NAMES, REDIS_PRESET_NAMES };

const legacy = section({
  preset: oneOf(LEGACY_PRESET_NAMES).describe("The framework's store that wrote the sessions."),
  url: url("legacy").describe("postgres://user:password@host:port/database, or memcached://host:port[,host:port]."),
  table: text(TABLE, "must be the name of a table, with its schema where it needs one")
    .optional()
    .describe("The session table, where it is not the preset's own."),
  prefix: text(PREFIX, "must be printable characters without blanks, at most 100")
    .optional()
    .describe("memcached: what the application puts before the session id, where it is not the preset's own."),
  distribution: oneOf(["modulo", "ketama", "client"])
    .optional()
    .describe(
      "Several memcached servers: the rule of the application's client, where it is not the preset's (memjs: modulo, npm memcached: ketama); client, where only that client knows it and the proxy has a listener for each server.",
    ),
  tls: z
    .record(z.string(), z.unknown(), { error: "must be a section with options of Node's tls.connect" })
    .default({})
    .describe(
      "memcached: with any option (ca, cert and key as PEM or as the paths of files, servername, rejectUnauthorized) the servers are spoken to over TLS.",
    ),
  preparedStatements: flag()
    .default(false)
    .describe("PostgreSQL: prepare statements behind a pooler, too; a direct connection always does."),
  connections: whole(1, 500).default(10).describe("Connections to the legacy store of one process."),
});

const redis = section({
  preset: oneOf(REDIS_PRESET_NAMES)
    .optional()
    .describe("What will read them: the preset that holds the same bytes as the legacy one, unless told."),
  url: url("redis").describe(
    "redis://user:password@host:port/0, rediss://..., redis-sentinel://h:p,h:p/name, or redis-cluster://h:p,h:p.",
  ),
  prefix: text(PREFIX, "must be printable characters without blanks, at most 100")
    .optional()
    .describe("What stands before the session id in Redis, where it is not the preset's own."),
  wait: section({
    destroy: whole(0, 16).default(0).describe("Replicas that must have a destroy before it is acknowledged."),
    open: whole(0, 16).default(0).describe("Replicas that must have a write before it is acknowledged."),
  })
    .prefault({})
    .describe("How many replicas must confirm; 0 where there are none."),
  tls: z
    .record(z.string(), z.unknown(), { error: "must be a section with options of Node's tls.connect" })
    .default({})
    .describe(
      "Options of Node's tls.connect (ca, cert and key as PEM or as the paths of files, servername, rejectUnauthorized); any makes every connection a TLS one, those to sentinels too.",
    ),
});

const control = section({
  url: url("control", ["same", "target"]).describe(
    "postgres://... or redis://..., same (schema sessionferry in the legacy SQL database), or target (the Redis of the migration).",
  ),
});

const gates = section({
  freshness: duration({ min: SECOND, max: 30 * DAY, told: "from 1s to 30d" })
    .default(15 * MINUTE)
    .describe("How old the last check may be."),
  maxMissing: whole(0, 1e9).default(0).describe("Sessions that the other store may lack."),
  maxMismatched: whole(0, 1e9).default(0).describe("Sessions whose values may differ."),
  maxExpiry: whole(0, 1e9).default(0).describe("Sessions whose expiries may differ beyond the tolerance."),
  maxResurrected: whole(0, 1e9).default(0).describe("Sessions in Redis that may lack in the legacy store."),
  ttlTolerance: duration({ min: 0, max: MINUTE, told: "at most 1m" })
    .default(SECOND)
    .describe("How far expiries may be apart without counting."),
  minCoverage: share().default(0.99).describe("Share of an independent count that a check must have seen."),
  maxUnverified: share()
    .default(0.005)
    .describe("Share of sessions a check may leave undecided because they were busy."),
  maxErrorRate: share().default(0.001).describe("Share of the applications' requests that may fail."),
  maxP95: duration({ min: 0.1, max: MINUTE, told: "at most 1m" })
    .default(5)
    .describe("95th percentile of the applications' requests."),
  maxRedisMemory: share().default(0.8).describe("Share of Redis' maxmemory that may be in use."),
  maxDirtyAge: duration({ min: 1, max: HOUR, told: "at most 1h" })
    .default(10 * SECOND)
    .describe("How long a change may wait to be drained to the legacy store."),
  minStay: section({
    "dual-write": stay().default(0),
    "read-through": stay().default(0),
    "redis-first": stay().default(0),
    "full-redis": stay().default(30 * DAY),
  })
    .prefault({})
    .describe("How long a phase must have stood at 100 % before the next may begin."),
});

/** Sections of releases to come: their defaults are accepted, so that a file written for them loads here. */
const keyspaces = z
  .array(z.unknown(), { error: "must be a list" })
  .max(0, { error: "must stay empty: several keyspaces are not supported yet" })
  .default([])
  .describe("Not supported yet: leave it empty.");

export const configSchema = section({
  migration: text(/^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$/, "must be 1 to 40 letters, digits, - or _").describe(
    "Namespace of everything sessionferry writes; one migration per name.",
  ),
  legacy: legacy.describe("Where the sessions live today."),
  redis: redis.describe("Where they move to."),
  control: control.optional().describe("Where the migration is steered from; by default the legacy SQL database."),
  keyspaces,
  onRedisDown: oneOf(["demote", "fail"])
    .default("demote")
    .describe("read-through: go back to dual-write by itself while Redis is away, or fail the writes."),
  timeouts: section({
    redis: deadline().default(50).describe("How long a request waits for Redis where it can go on without."),
    legacy: deadline()
      .default(5 * SECOND)
      .describe("A request's deadline otherwise."),
    acknowledge: deadline()
      .default(30 * SECOND)
      .describe("How long a command waits for the nodes before it leaves the transition pending."),
    drain: deadline()
      .default(MINUTE)
      .describe("How long a command waits for a drain before it leaves the transition pending."),
  }).prefault({}),
  ramps: section({
    "dual-write": ramp([10, 100]),
    "read-through": ramp([10, 50, 100]),
    "redis-first": ramp([10, 50, 100]),
    "full-redis": ramp([100]),
  })
    .prefault({})
    .describe("The percentages at which each phase is entered."),
  gates: gates.prefault({}).describe("What must hold before a phase is entered."),
  backfill: section({
    batch: whole(1, 10_000).default(500).describe("Sessions copied in one pipelined batch."),
    concurrency: whole(1, 64).default(4).describe("Batches under way at once."),
    rate: whole(0, 1e7).default(0).describe("Sessions per second at most; 0 for no limit."),
  }).prefault({}),
  workers: section({
    queue: url("queue", ["target"])
      .default("target")
      .describe(
        "Where batches wait for `sessionferry worker`: a redis:// whose policy is noeviction, or target (the Redis of the migration).",
      ),
    concurrency: whole(1, 64).default(4).describe("Batches under way at once in one worker."),
  })
    .prefault({})
    .describe("backfill and check with --workers."),
  proxy,
  drain: section({
    every: duration({ min: 10, max: MINUTE, told: "from 10ms to 1m" })
      .default(SECOND)
      .describe("How often a node looks for changes to drain."),
    rate: whole(0, 1e7).default(0).describe("Sessions per second at most; 0 for no limit."),
  }).prefault({}),
  touchEvery: duration({ min: 0, max: DAY, told: "at most 1d" })
    .default(0)
    .describe("Skip a touch that would move the expiry by less than this."),
  accept: z
    .array(oneOf(["eviction", "bypass"]), { error: "must be a list" })
    .default([])
    .describe("Risks accepted by name: eviction (Redis may evict), bypass (other writers to the legacy table)."),
});

/** Problems that concern two keys at once; looked for even where other keys are wrong, so that all are told together. */
export function crossProblems(raw: unknown): string[] {
  const at = (...path: string[]): unknown =>
    path.reduce<unknown>((value, key) => (isSection(value) ? value[key] : undefined), raw);
  const preset = at("legacy", "preset");
  const problems = unpaired(preset, at("redis", "preset"));
  const legacyUrl = at("legacy", "url");
  const redisUrl = at("redis", "url");
  const controlUrl = at("control", "url");
  if (controlUrl === "target" && typeof redisUrl === "string" && isCluster(redisUrl)) {
    problems.push(
      "control.url cannot be target where redis.url is a Redis Cluster; name a postgres:// or another redis://",
    );
  }
  if (typeof legacyUrl !== "string" || urlProblem(legacyUrl, "legacy") !== null) return problems;

  if (isLegacyPresetName(preset)) {
    const { backend } = PAIRINGS[preset];
    const fits = backend === "postgres" ? isPostgres(legacyUrl) : isMemcached(legacyUrl);
    if (!fits) problems.push(`legacy.url must begin with ${backend}:// for the preset ${preset}`);
  }
  if (isMemcached(legacyUrl)) {
    if (at("legacy", "table") !== undefined) problems.push("legacy.table has no meaning with memcached; remove it");
    if (at("control") === undefined) {
      problems.push(
        "control.url is required with memcached: name a postgres:// or another redis://, or write target and accept that nothing can be steered while Redis is down",
      );
    } else if (controlUrl === "same") {
      problems.push("control.url cannot be same: memcached holds no control tables");
    }
  } else {
    if (at("legacy", "distribution") !== undefined) {
      problems.push("legacy.distribution has no meaning with PostgreSQL; remove it");
    }
    if (at("legacy", "tls") !== undefined && Object.keys(at("legacy", "tls") ?? {}).length > 0) {
      problems.push("legacy.tls has no meaning with PostgreSQL; name sslmode in legacy.url");
    }
    if (at("legacy", "prefix") !== undefined) problems.push("legacy.prefix has no meaning with PostgreSQL; remove it");
  }
  return problems;
}

/** A session moves as it is or not at all, so both sides must hold the same bytes. */
function unpaired(legacy: unknown, redis: unknown): string[] {
  if (!isLegacyPresetName(legacy) || redis === undefined) return [];
  const partners: readonly unknown[] = PAIRINGS[legacy].redis;
  const isKnown = (REDIS_PRESET_NAMES as readonly unknown[]).includes(redis);
  if (!isKnown || partners.includes(redis)) return [];
  return [`redis.preset ${redis} does not read what ${legacy} wrote; choose ${partners.join(" or ")}`];
}

export function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
