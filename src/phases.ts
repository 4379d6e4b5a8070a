import { readFileSync } from "node:fs";
import { PHASE_NAMES, type PhaseName, type Phases } from "./core/phase.js";
import { checkPhases } from "./core/phase-check.js";

/** Reads the package's phase files (beside src or dist) and refuses an order that would not be safe. */
export function loadPhases(folder: URL = new URL("../phases/", import.meta.url)): Phases {
  const read = (name: PhaseName): [PhaseName, unknown] => [
    name,
    JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8")),
  ];
  return checkPhases(Object.fromEntries(PHASE_NAMES.map(read)));
}
