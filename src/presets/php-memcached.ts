import type { LegacyPreset } from "../ports/preset.js";

/**
 * PHP keeps a lock beside each session that is in use. The handler also stores empty items for ids that it has just
 * made, and probes for others by an `add` that has expired before it arrives; neither is a session.
 */
export const phpMemcached: LegacyPreset = {
  name: "php-memcached",
  title: "PHP sessions in memcached, written by php-memcached (session.save_handler = memcached)",
  backend: "memcached",
  prefix: "memc.sess.key.",
  flags: 0,
  value: "The session as session.serialize_handler encodes it, never compressed.",
  lifetime: "The item's remaining life: session.gc_maxlifetime, set anew by every request.",
  defaultLifetime: 1_440_000,
  ignore: [/^lock\./],
  beware: [
    "memcached.sess_prefix, where it is set, belongs under `legacy.prefix`.",
    "session.serialize_handler must be the same before and after.",
  ],
};
