import type { RedisPreset } from "../ports/preset.js";

export const connectRedis: RedisPreset = {
  name: "connect-redis",
  title: "Express sessions in Redis, as connect-redis reads them: one string per session",
  prefix: "sess:",
  value: "The JSON text of the session.",
  lifetime: "The key's own time to live.",
};
