import type { Measure, Verdict } from "./goals.js";
import type { Machine } from "./machine.js";
import type { Sample } from "./statistics.js";

export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export interface SectionResult {
  readonly section: string;
  readonly tables: readonly Table[];
  readonly measures: readonly Measure[];
  readonly notes: readonly string[];
}

/** A section beside what its figures must not be quoted without. */
export interface MeasuredSection extends SectionResult {
  readonly scale: string;
  readonly startedAt: string;
  readonly seconds: number;
  readonly machine: Machine;
  /** Processes that wanted a core in the last minute, on average; the section's own among them. */
  readonly loadAfter: number;
}

/** The last measurement of each section: they may be measured one at a time. */
export interface Results {
  readonly sections: readonly MeasuredSection[];
  readonly goals: readonly Verdict[];
}

/**
 * What was measured now instead of what was measured before, in the given order. Two parts of a section that measured
 * nothing twice, each with another legacy store, stand beside each other.
 */
export function mergedSections(
  before: readonly MeasuredSection[],
  now: readonly MeasuredSection[],
  order: readonly string[],
): MeasuredSection[] {
  const again = new Set(now.map(({ section }) => section));
  const ids = new Set(now.flatMap(({ measures }) => measures.map(({ id }) => id)));
  const isOther = ({ section, measures }: MeasuredSection) =>
    !again.has(section) || (measures.length > 0 && measures.every(({ id }) => !ids.has(id)));
  const sections = [...before.filter(isOther), ...now];
  return order.flatMap((name) => sections.filter(({ section }) => section === name));
}

/** When and where a section was measured. */
export function conditionsOf({ section, scale, startedAt, machine, loadAfter }: MeasuredSection): string {
  const when = `${startedAt.slice(0, 16).replace("T", " ")} UTC`;
  return `${section}: ${scale} run, ${when}, load ${machine.loadBefore.toFixed(1)} before and ${loadAfter.toFixed(1)} after`;
}

/** The first column to the left, figures to the right. */
export function textOf({ title, columns, rows }: Table): string {
  const widths = columns.map((name, at) => Math.max(name.length, ...rows.map((row) => row[at]!.length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)))
      .join("  ")
      .trimEnd();
  return [`${title}\n`, line(columns), widths.map((width) => "-".repeat(width)).join("  "), ...rows.map(line)].join(
    "\n",
  );
}

export function goalsTable(verdicts: readonly Verdict[]): Table {
  return {
    title: "Goals",
    columns: ["measure", "goal", "median", "spread", "verdict"],
    rows: verdicts.map(({ measure, bound, measured, held }) => [
      measure,
      bound,
      figure(measured.median),
      spread(measured),
      held ? "held" : "MISSED",
    ]),
  };
}

export function figure(value: number): string {
  if (!Number.isFinite(value)) return "-";
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size >= 1_000
    ? String(Math.round(value))
    : size >= 100
      ? value.toFixed(0)
      : size >= 10
        ? value.toFixed(1)
        : value.toFixed(2);
}

export function spread({ low, high }: Sample): string {
  return `${figure(low)} to ${figure(high)}`;
}
