import type { LegacySurvey } from "../ports/survey.js";
import {
  bytesText,
  type Facts,
  type Finding,
  fine,
  type Probe,
  type RedisState,
  reach,
  refused,
  warning,
} from "./doctor-facts.js";

function redis(name: string, guardsSetup: boolean, judge: (state: RedisState, facts: Facts) => Finding | null): Probe {
  return {
    name,
    guardsSetup,
    judge: (facts) => (facts.redis.facts === null ? null : judge(facts.redis.facts, facts)),
  };
}

export const SAME_STORE: Probe = {
  name: "same-store",
  guardsSetup: true,
  judge: ({ servers }) => {
    const shared = servers.legacy.filter((server) => servers.redis.includes(server));
    if (shared.length === 0) return fine("the legacy store and Redis are different servers");
    return refused(
      "SAME_STORE",
      `the legacy store and Redis are the same server: ${shared.join(", ")}`,
      "Point `redis.url` at a server that is not the legacy store.",
    );
  },
};

/** What Redis spends on a session besides its bytes: key and value objects, dictionary and expiry entries. */
const OVERHEAD = 150;

const REACH = reach(
  "redis",
  (facts) => facts.redis,
  ({ server }, { where }) => `Redis ${server.version} at ${where.redis}`,
);

/** Redis answers, but its user may not even ask what the doctor asks. */
function isShut({ redis }: Facts): boolean {
  return redis.failure?.code === "REDIS_REFUSED" && redis.failure.message.includes("NOPERM");
}

function shut({ where, redisRights, prefixes }: Facts): Finding {
  const answers = `${where.redis} answers, but its user lacks permissions`;
  // The next probe tells which.
  if (redisRights.facts !== null) return fine(answers);
  return refused("GUARD_REFUSED", answers, aclLine(null, prefixes));
}

export const REDIS_PROBES: readonly Probe[] = [
  { ...REACH, judge: (facts) => (isShut(facts) ? shut(facts) : REACH.judge(facts)) },
  {
    name: "redis-rights",
    guardsSetup: true,
    judge: ({ redisRights, prefixes }) => {
      if (redisRights.facts === null) return null;
      const { user, missing } = redisRights.facts;
      if (missing.length === 0) return fine(`${user ?? "the user"} may do all that is needed`);
      return refused("GUARD_REFUSED", `${user ?? "the user"} lacks ${missing.join(" ")}`, aclLine(user, prefixes));
    },
  },
  redis("redis-eviction", true, ({ server }, { config }) => {
    const { evictionPolicy } = server;
    if (evictionPolicy === "noeviction") return fine("maxmemory-policy noeviction: Redis refuses rather than loses");
    const told = evictionPolicy ?? "not told by the service";
    if (config.accept.includes("eviction"))
      return warning(`maxmemory-policy ${told} (accepted in the configuration)`, WATCH);
    return refused(
      "EVICTION_POLICY",
      `maxmemory-policy ${told}: when its memory is full, Redis throws sessions out`,
      "CONFIG SET maxmemory-policy noeviction (a managed service sets it in its parameter group), or take the risk with `accept: [eviction]`.",
    );
  }),
  redis("redis-persistence", false, ({ server }) => {
    const { aof, rdb } = server.persistence;
    if (aof === true) return fine("append-only file: a restart keeps what was acknowledged, but for the last second");
    if (aof === null && rdb === null) {
      return warning("the service does not tell how it persists", "Make sure that a restart keeps the data.");
    }
    return warning(
      rdb === true
        ? "snapshots only: a restart loses minutes of sessions"
        : "no persistence: a restart loses every session",
      "CONFIG SET appendonly yes, and in redis.conf as well, before Redis becomes the authority (redis-first).",
    );
  }),
  redis("redis-replicas", false, ({ server }, { config }) => {
    const asked = Math.max(config.redis.wait.destroy, config.redis.wait.open);
    if (server.replicas < asked) {
      return refused(
        "GUARD_REFUSED",
        `${server.replicas} replicas are connected, and redis.wait asks for ${asked}`,
        "Connect the replicas, or lower `redis.wait`.",
      );
    }
    if (server.replicas === 0) {
      return warning(
        "no replica: while Redis is down from redis-first on, requests fail",
        "Run at least one replica with a failover.",
      );
    }
    return fine(`${server.replicas} replicas`);
  }),
  redis("redis-memory", false, judgeMemory),
  redis("redis-prefix", true, ({ seal, occupied }, { prefixes, control, redisRights }) => {
    const prefix = prefixes[0] ?? "";
    const shown = prefix === "" ? "the empty prefix" : `the prefix ${prefix}`;
    // Two prefixes of which one begins with the other share keys.
    const strangers = redisRights.facts?.strangers ?? [];
    const holder = strangers.find((other) => other.prefix.startsWith(prefix) || prefix.startsWith(other.prefix));
    if (holder !== undefined) {
      return refused(
        "PREFIX_IN_USE",
        `${shown} is held by another migration, ${holder.migration}`,
        "Choose another `redis.prefix` or Redis; if that migration is over, run its `sessionferry cleanup`, or setup with --adopt.",
      );
    }
    const record = control.facts?.record ?? null;
    if (seal !== null && record === null && control.failure === null) {
      const told = seal.state === "complete" ? "this migration was completed" : "this migration was set up before";
      return refused(
        "PREFIX_IN_USE",
        `${told}, and its control record is gone`,
        "Restore the control store, or run setup with --adopt if what lies under the prefix may be dropped.",
      );
    }
    if (seal !== null) return fine(`${shown} is sealed for this migration`);
    if (!occupied) return fine(`${shown} is empty`);
    return refused(
      "PREFIX_IN_USE",
      `live keys lie under ${shown}`,
      "Choose another `redis.prefix` or Redis, remove these keys, or run setup with --adopt if they may be dropped.",
    );
  }),
];

const WATCH = "Watch evicted_keys: every eviction from read-through on is a user logged out.";

function aclLine(user: string | null, prefixes: readonly string[]): string {
  const keys = prefixes.map((prefix) => `~${prefix}*`).join(" ");
  const commands =
    "+@read +@write +@scripting +@connection +@transaction +info +scan +wait +time +client|setname +client|kill +client|list";
  return `ACL SETUSER ${user ?? "NAME"} on ${keys} ${commands}`;
}

function judgeMemory({ server }: RedisState, { legacy, config }: Facts): Finding | null {
  if (legacy.facts === null) return null;
  const size = bytesPerSession(legacy.facts.survey);
  if (size === null) return null;
  const { sessions } = legacy.facts;
  const needed = Math.round(sessions * (size + OVERHEAD));
  const told = `${sessions} sessions of about ${bytesText(size)} need about ${bytesText(needed)}`;
  if (server.maxMemory === null || server.maxMemory === 0) {
    return fine(
      `${told}; Redis ${server.maxMemory === 0 ? "has no limit set" : "does not tell its limit"}, ${bytesText(server.usedMemory)} used`,
    );
  }
  const limit = server.maxMemory * config.gates.maxRedisMemory;
  const there = `Redis has ${bytesText(server.maxMemory)}, ${bytesText(server.usedMemory)} used`;
  const remedy = `Give Redis at least ${bytesText((server.usedMemory + needed) / config.gates.maxRedisMemory)} (maxmemory).`;
  // What a running migration has copied already is counted twice here: on the safe side.
  if (server.usedMemory + needed > server.maxMemory && server.usedMemory < needed) {
    return refused("GUARD_REFUSED", `${told}; ${there}`, remedy);
  }
  if (Math.max(server.usedMemory, needed) > limit) return warning(`${told}; ${there}`, remedy);
  return fine(`${told}; ${there}`);
}

function bytesPerSession(survey: LegacySurvey): number | null {
  if (survey.kind === "postgres") return survey.averageBytes;
  const items = survey.servers.reduce((sum, server) => sum + server.items, 0);
  return items === 0 ? null : survey.servers.reduce((sum, server) => sum + server.bytes, 0) / items;
}
