import type { LegacyPreset } from "../ports/preset.js";

/** Dalli's flags: 1 for Marshal, 2 for zlib. */
export const rackSessionDalli: LegacyPreset = {
  name: "rack-session-dalli",
  title: "Rack and Rails sessions in memcached, written by Dalli's session middleware (Dalli 3.1 and later)",
  backend: "memcached",
  prefix: "rack:session:",
  flags: 1,
  value: "The session's hash in Ruby's Marshal format, flags 1; the sid is the private id, 2:: and a SHA-256.",
  lifetime: "The item's remaining life: expire_after and a second.",
  defaultLifetime: 86_400_000,
  beware: [
    "Dalli compresses sessions above 4 KiB (flags 3), which redis-rack cannot read: set `compress: false`, and begin " +
      "when the sessions written before have expired.",
    "Before Dalli 3.1 the key was the public id: update Dalli first, and begin when those sessions have expired.",
    "A namespace of your own belongs under `legacy.prefix` and `redis.prefix`, with the colon that follows it.",
  ],
};
