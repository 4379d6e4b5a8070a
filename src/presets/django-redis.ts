import type { RedisPreset } from "../ports/preset.js";

export const djangoRedis: RedisPreset = {
  name: "django-redis",
  title: "Django sessions in Redis, as django-redis and Django's own RedisCache read them",
  prefix: ":1:django.contrib.sessions.cache",
  value: "The session's dict as a pickle of any protocol.",
  lifetime: "The key's own time to live: SESSION_COOKIE_AGE, two weeks unless set.",
  beware: ["django-redis' COMPRESSOR and SERIALIZER must stay at their defaults."],
};
