import type { LegacyPreset, RedisPreset } from "../ports/preset.js";

/** For whatever has no preset of its own: nothing is known of the keys and the values, and nothing about them changes. */
export const memcached: LegacyPreset = {
  name: "memcached",
  title: "Items of any kind in memcached",
  backend: "memcached",
  prefix: "",
  flags: 0,
  value: "Any bytes.",
  lifetime: "The item's remaining life; none where it has none.",
  defaultLifetime: 86_400_000,
  beware: [
    "Without `legacy.prefix` every item of the servers moves, other applications' items, too.",
    "Flags other than 0 are kept for memcached's clients; a plain client of Redis does not see them.",
  ],
};

export const plain: RedisPreset = {
  name: "plain",
  title: "Strings in Redis, byte for byte what the legacy store held",
  prefix: "",
  value: "The legacy value.",
  lifetime: "The key's own time to live.",
};
