import type { RedisPreset } from "../ports/preset.js";

export const phpredis: RedisPreset = {
  name: "phpredis",
  title: "PHP sessions in Redis, as phpredis reads them (session.save_handler = redis)",
  prefix: "PHPREDIS_SESSION:",
  value: "The session as session.serialize_handler encodes it.",
  lifetime: "The key's own time to live: session.gc_maxlifetime, set anew by every request.",
  beware: [
    "A `prefix=` in session.save_path belongs under `redis.prefix`.",
    "redis.session.compression must stay none, which is its default: what was written before is not compressed.",
    "phpredis locks sessions only with redis.session.locking_enabled = 1; php-memcached did so by default.",
  ],
};
