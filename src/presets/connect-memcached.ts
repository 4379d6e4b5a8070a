import type { LegacyPreset } from "../ports/preset.js";

/** The npm client memcached marks a value that it serialised to JSON by the flag 2. */
export const connectMemcached: LegacyPreset = {
  name: "connect-memcached",
  title: "Express sessions in memcached, written by connect-memcached (npm client memcached)",
  backend: "memcached",
  prefix: "",
  flags: 2,
  distribution: "ketama",
  value: "The JSON text of the session.",
  lifetime:
    "The item's remaining life: the cookie's maxAge in whole seconds, or a day (option ttl). A maxAge of more than 30 " +
    "days never worked with this client: memcached takes such a number for a date in 1970.",
  defaultLifetime: 86_400_000,
  beware: ["With the option `secret` the values are encrypted, and connect-redis cannot read them."],
};
