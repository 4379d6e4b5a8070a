import type { LegacyPreset } from "../ports/preset.js";

export const djangoCache: LegacyPreset = {
  name: "django-cache",
  title: "Django sessions in memcached (SESSION_ENGINE django.contrib.sessions.backends.cache)",
  backend: "memcached",
  prefix: ":1:django.contrib.sessions.cache",
  flags: 1,
  value: "The session's dict as a pickle, flags 1.",
  lifetime: "The item's remaining life: SESSION_COOKIE_AGE, two weeks unless set.",
  defaultLifetime: 1_209_600_000,
  beware: [
    "The prefix is KEY_PREFIX:VERSION: of the cache, and the engine's own: with cached_db it ends in cached_db. What " +
      "differs belongs under `legacy.prefix` and `redis.prefix`.",
    "Values that the client compressed (flags 8 and above) cannot be read by the Redis cache: leave compression off.",
  ],
};
