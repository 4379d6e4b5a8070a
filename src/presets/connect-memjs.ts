import type { LegacyPreset } from "../ports/preset.js";

export const connectMemjs: LegacyPreset = {
  name: "connect-memjs",
  title: "Express sessions in memcached, written by connect-memjs (npm client memjs)",
  backend: "memcached",
  prefix: "",
  flags: 0,
  distribution: "modulo",
  value: "The JSON text of the session.",
  lifetime:
    "The item's remaining life: the cookie's maxAge in whole seconds, or a day. That store has no touch: with " +
    "`resave: false` a session that is only read keeps its first expiry.",
  defaultLifetime: 86_400_000,
};
