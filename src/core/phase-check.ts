import { FerryError } from "../errors.js";
import {
  finalRoutes,
  LEGACY_ROUTES,
  PHASE_NAMES,
  type Phase,
  type PhaseName,
  type Phases,
  phaseBelow,
  type Routes,
  type Rung,
  type WorkName,
} from "./phase.js";

/** A step between two neighbouring rungs that was proven safe, with the work it cannot do without. */
interface Edge {
  readonly from: string;
  readonly to: string;
  readonly enter: readonly WorkName[];
  readonly leave: readonly WorkName[];
}

const edge = (from: string, to: string, enter: readonly WorkName[] = [], leave: readonly WorkName[] = []): Edge => ({
  from,
  to,
  enter,
  leave,
});

/**
 * Rule 8 as a table: which routes may meet in one fleet, written as write/close/read/liberty, and what must be done
 * between. Everything else was not proven, or was shown to lose or bring back sessions.
 */
const SAFE_EDGES: readonly Edge[] = [
  edge("legacy/none/L/none", "L/none/L/gap", ["drop-records"]),
  edge("L/none/L/gap", "L/value/L/gap"),
  edge("L/value/L/gap", "L/value/L/none"),
  edge("L/value/L/none", "L/value/through/none", ["evidence-stands"], ["push-missing", "drain-dirty"]),
  edge("L/value/through/none", "L/value/through/fallback"),
  edge("L/value/through/fallback", "L/value/through/none", [], ["drain-dirty"]),
  edge("L/value/through/none", "R/value/through/none", ["redis-stands"], ["drain-older"]),
  edge("R/value/through/none", "R/value/through/write-behind", ["fleet-stands", "redis-stands"], ["drain-older"]),
  edge("R/value/through/write-behind", "R/value/R/write-behind", ["no-intents", "full-copy"]),
  edge("R/value/R/write-behind", "alone/none/R/none"),
];

/** What each phase ends in, so that its name keeps its meaning. */
const ENDS: Readonly<Record<PhaseName, string>> = {
  legacy: "legacy/none/L/none",
  "dual-write": "L/value/L/gap",
  "read-through": "L/value/through/fallback",
  "redis-first": "R/value/through/write-behind",
  "full-redis": "R/value/R/write-behind",
  complete: "alone/none/R/none",
};

/**
 * Checks phase files before anything is steered by them.
 * @throws FerryError PHASE_UNSAFE naming the phase and what is wrong with it.
 */
export function checkPhases(files: Readonly<Record<string, unknown>>): Phases {
  for (const name of PHASE_NAMES) requireShape(name, files[name]);
  const phases = files as unknown as Phases;
  for (const name of PHASE_NAMES) {
    const phase = phases[name];
    requireSafe(phase, name === "legacy" ? LEGACY_ROUTES : finalRoutes(phases[phaseBelow(name)]));
  }
  return phases;
}

function requireSafe(phase: Phase, below: Routes): void {
  const { name, ladder, ramp, reversible, settle = [] } = phase;
  if (written(finalRoutes(phase)) !== ENDS[name]) throw unsafe(name, `its last rung must be ${ENDS[name]}`);
  if (ladder[0] !== undefined && written(ladder[0].routes) !== written(below)) {
    throw unsafe(name, "its first rung must be the phase below");
  }
  for (const [i, upper] of ladder.slice(1).entries()) requireEdge(name, ladder[i]!, upper);
  const isRising = ramp.every((percent, i) => percent > (ramp[i - 1] ?? 0));
  const isRamped = name !== "legacy" && name !== "complete";
  if (isRamped ? !isRising || ramp.at(-1) !== 100 : ramp.length > 0) {
    throw unsafe(name, isRamped ? "its ramp must rise to 100" : "it has no ramp");
  }
  if (reversible !== (name !== "complete")) throw unsafe(name, "complete alone cannot be reversed");
  if (settle.join() !== (name === "complete" ? "clear-marks" : ""))
    throw unsafe(name, "complete alone settles by clear-marks");
}

function requireEdge(phase: PhaseName, lower: Rung, upper: Rung): void {
  const [from, to] = [written(lower.routes), written(upper.routes)];
  const safe = SAFE_EDGES.find((candidate) => candidate.from === from && candidate.to === to);
  if (safe === undefined) throw unsafe(phase, `no safe step leads from rung ${lower.name} to ${upper.name}`);
  requireWork(phase, upper.name, "enter", safe.enter, upper.enter);
  requireWork(phase, upper.name, "leave", safe.leave, upper.leave);
}

function requireWork(
  phase: PhaseName,
  rung: string,
  when: "enter" | "leave",
  needed: readonly WorkName[],
  given: readonly WorkName[] = [],
): void {
  if (needed.join() === given.join()) return;
  throw unsafe(phase, `rung ${rung} must ${when} by [${needed.join(", ")}], not by [${given.join(", ")}]`);
}

function written({ write, close, read, liberty }: Routes): string {
  return [write, close, read, liberty].join("/");
}

function requireShape(name: PhaseName, file: unknown): void {
  const phase = file as Partial<Phase> | null | undefined;
  const isText = (value: unknown) => typeof value === "string";
  const isNames = (value: unknown) => value === undefined || (Array.isArray(value) && value.every(isText));
  const isRung = (rung: Partial<Rung> | null) =>
    isText(rung?.name) &&
    typeof rung?.routes === "object" &&
    rung.routes !== null &&
    Object.values(rung.routes).every(isText) &&
    isNames(rung.enter) &&
    isNames(rung.leave);
  const hasShape =
    phase?.name === name &&
    isText(phase.title) &&
    Array.isArray(phase.ladder) &&
    phase.ladder.every(isRung) &&
    Array.isArray(phase.ramp) &&
    phase.ramp.every((percent) => Number.isInteger(percent) && percent >= 1 && percent <= 100) &&
    isNames(phase.settle);
  if (!hasShape) throw unsafe(name, "its file does not have the shape of schemas/phase.schema.json");
}

function unsafe(phase: PhaseName, why: string): FerryError {
  return new FerryError("PHASE_UNSAFE", `Phase ${phase}: ${why}.`);
}
