import type { LegacyPreset, RedisPreset } from "../ports/preset.js";

/** The extension gives its serializer's bytes to either client, under the same key. */
const value = "The session as SESSION_SERIALIZATION_FORMAT tells: msgpack, or JSON (before 0.7: pickle).";
const prefix = "session:";

export const flaskSession: LegacyPreset = {
  name: "flask-session",
  title: "Flask sessions in memcached, written by Flask-Session (SESSION_TYPE memcached)",
  backend: "memcached",
  prefix,
  flags: 0,
  value,
  lifetime: "The item's remaining life: PERMANENT_SESSION_LIFETIME, 31 days unless set.",
  defaultLifetime: 2_678_400_000,
  beware: ["SESSION_KEY_PREFIX, where it is set, belongs under `legacy.prefix` and `redis.prefix`."],
};

export const flaskSessionRedis: RedisPreset = {
  name: "flask-session",
  title: "Flask sessions in Redis, as Flask-Session reads them (SESSION_TYPE redis)",
  prefix,
  value,
  lifetime: "The key's own time to live: PERMANENT_SESSION_LIFETIME, 31 days unless set.",
};
