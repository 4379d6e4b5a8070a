import type { Phases } from "./phase.js";

export function checkPhases(phases: Record<string, unknown>): Phases {
  return phases as unknown as Phases;
}
