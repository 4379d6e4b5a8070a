import type { Config } from "../core/config.js";
import { PHASE_NAMES, type Phase, type Phases } from "../core/phase.js";
import { FerryError } from "../errors.js";
import { loadPhases } from "../phases.js";
import type { Way } from "../workflow/decide.js";
import type { Context } from "./command.js";

/** The way as a configuration lays it out. */
export function wayOf(config: Config): Way {
  const phases = loadPhases();
  const ramps = PHASE_NAMES.map((name) => [name, config.ramps[name] ?? phases[name].ramp]);
  return { phases, ramps: Object.fromEntries(ramps) as Way["ramps"] };
}

/** The package's phases with the ramps of the configuration, in their order. */
export function phasesOf(config: Config | null): Phase[] {
  const phases: Phases = loadPhases();
  return PHASE_NAMES.map((name) => ({ ...phases[name], ramp: config?.ramps[name] ?? phases[name].ramp }));
}

/** The configuration where there is one: the phases can be read about without any. */
export function configIfAny(context: Context): Config | null {
  try {
    return context.config();
  } catch (error) {
    if (error instanceof FerryError && error.code === "CONFIG_NOT_FOUND") return null;
    throw error;
  }
}
