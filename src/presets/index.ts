import { nearest } from "../core/nearest.js";
import { FerryError } from "../errors.js";
import type { LegacyPreset, RedisPreset } from "../ports/preset.js";
import { connectMemcached } from "./connect-memcached.js";
import { connectMemjs } from "./connect-memjs.js";
import { connectPgSimple } from "./connect-pg-simple.js";
import { connectRedis } from "./connect-redis.js";
import { djangoCache } from "./django-cache.js";
import { djangoRedis } from "./django-redis.js";
import { flaskSession, flaskSessionRedis } from "./flask-session.js";
import { phpMemcached } from "./php-memcached.js";
import { phpredis } from "./phpredis.js";
import { memcached, plain } from "./plain.js";
import { rackSessionDalli } from "./rack-session-dalli.js";
import { redisRack } from "./redis-rack.js";

export const LEGACY_PRESETS: readonly LegacyPreset[] = [
  connectPgSimple,
  connectMemcached,
  connectMemjs,
  phpMemcached,
  rackSessionDalli,
  djangoCache,
  flaskSession,
  memcached,
];
export const REDIS_PRESETS: readonly RedisPreset[] = [
  connectRedis,
  phpredis,
  redisRack,
  djangoRedis,
  flaskSessionRedis,
  plain,
];

/** Rejects an unknown name with CONFIG_INVALID and the known ones. */
export function legacyPreset(name: string): LegacyPreset {
  return find(LEGACY_PRESETS, name, "legacy.preset");
}

/** Rejects an unknown name with CONFIG_INVALID and the known ones. */
export function redisPreset(name: string): RedisPreset {
  return find(REDIS_PRESETS, name, "redis.preset");
}

function find<T extends { readonly name: string }>(presets: readonly T[], name: string, key: string): T {
  const preset = presets.find((candidate) => candidate.name === name);
  if (preset !== undefined) return preset;
  const names = presets.map((candidate) => candidate.name);
  const near = nearest(name, names);
  const hint = near === null ? "" : ` Did you mean "${near}"?`;
  throw new FerryError("CONFIG_INVALID", `${key}: there is no preset "${name}".${hint} Known are ${names.join(", ")}.`);
}
