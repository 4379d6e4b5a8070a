/**
 * Which formats of sessions are known, and which of them hold the same bytes: a session moves from a legacy format to a
 * Redis format only where not one byte of its value has to change. The first format named beside a legacy one is its
 * natural successor. What the formats are is told in src/presets.
 */
export const LEGACY_PRESET_NAMES = [
  "connect-pg-simple",
  "connect-memcached",
  "connect-memjs",
  "php-memcached",
  "rack-session-dalli",
  "django-cache",
  "flask-session",
  "memcached",
] as const;
export type LegacyPresetName = (typeof LEGACY_PRESET_NAMES)[number];

export const REDIS_PRESET_NAMES = [
  "connect-redis",
  "phpredis",
  "redis-rack",
  "django-redis",
  "flask-session",
  "plain",
] as const;
export type RedisPresetName = (typeof REDIS_PRESET_NAMES)[number];

interface Pairing {
  readonly backend: "postgres" | "memcached";
  /** Through which door such an application comes: Node's own through the library, every other one as a client. */
  readonly door: "library" | "proxy";
  /** The first one is meant where none is named. `plain` takes the bytes of any format. */
  readonly redis: readonly [RedisPresetName, ...RedisPresetName[]];
}

export const PAIRINGS: Readonly<Record<LegacyPresetName, Pairing>> = {
  "connect-pg-simple": { backend: "postgres", door: "library", redis: ["connect-redis", "plain"] },
  "connect-memcached": { backend: "memcached", door: "library", redis: ["connect-redis", "plain"] },
  "connect-memjs": { backend: "memcached", door: "library", redis: ["connect-redis", "plain"] },
  "php-memcached": { backend: "memcached", door: "proxy", redis: ["phpredis", "plain"] },
  "rack-session-dalli": { backend: "memcached", door: "proxy", redis: ["redis-rack", "plain"] },
  "django-cache": { backend: "memcached", door: "proxy", redis: ["django-redis", "plain"] },
  "flask-session": { backend: "memcached", door: "proxy", redis: ["flask-session", "plain"] },
  memcached: { backend: "memcached", door: "proxy", redis: ["plain"] },
};

export function isLegacyPresetName(name: unknown): name is LegacyPresetName {
  return (LEGACY_PRESET_NAMES as readonly unknown[]).includes(name);
}
