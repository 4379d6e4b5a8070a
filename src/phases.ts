import { readFileSync } from "node:fs";
import { PHASE_NAMES, type PhaseName, type Phases } from "./core/phase.js";
import { checkPhases } from "./core/phase-check.js";
import { FerryError } from "./errors.js";

/** Reads the package's phase files (beside src or dist) and refuses an order that would not be safe. */
export function loadPhases(folder: URL = new URL("../phases/", import.meta.url)): Phases {
  return checkPhases(Object.fromEntries(PHASE_NAMES.map((name) => [name, read(name, folder)])));
}

function read(name: PhaseName, folder: URL): unknown {
  try {
    return JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8"));
  } catch (cause) {
    throw new FerryError("PHASE_UNSAFE", `Phase ${name}: its file is missing, or is no JSON.`, { cause });
  }
}
