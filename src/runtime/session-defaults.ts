import type { Config } from "../core/config.js";
import type { SessionDefaults } from "../ports/sessions.js";
import { legacyPreset } from "../presets/index.js";

/** What a door puts on sessions that say nothing themselves: the legacy preset's, and the configuration's. */
export function sessionDefaults(config: Config): SessionDefaults {
  const { flags, defaultLifetime: lifetime } = legacyPreset(config.legacy.preset);
  return { flags, lifetime, touchEvery: config.touchEvery };
}
