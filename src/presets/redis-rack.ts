import type { RedisPreset } from "../ports/preset.js";

export const redisRack: RedisPreset = {
  name: "redis-rack",
  title: "Rack and Rails sessions in Redis, as redis-rack and redis-actionpack read them",
  prefix: "rack:session:",
  value: "The session's hash in Ruby's Marshal format; the sid is the private id, 2:: and a SHA-256.",
  lifetime: "The key's own time to live: expire_after.",
};
