import { type CheckExample, type CheckResult, comparedOf, percent } from "../core/check-result.js";
import { CHECK_CLASSES, type CheckClass } from "../core/compare.js";
import { duration } from "../core/evidence.js";
import type { Position } from "../core/phase.js";
import { adviceFor } from "./check-advice.js";

const MEANINGS: Readonly<Record<CheckClass, string>> = {
  equal: "the same in both stores",
  copied: "Redis lacked it; this run has copied it",
  missing: "Redis lacks it, and it could not be copied",
  extra: "only Redis holds it: memcached has lost it (no fault)",
  resurrected: "Redis holds it, though it was deleted in the legacy store",
  behind: "the legacy store lacks it: a rollback would log this user out",
  leftover: "the legacy store holds it, Redis does not: a rollback would bring it back",
  mismatched: "the two stores hold different values",
  expiry: "the two stores let it die at different times",
  busy: "written throughout, so nothing can be said",
  skipped: "gone while it was looked at, or cannot move",
  "not-yet": "its bucket is below dual-write",
};

/** The report for people: the verdict, what to type next, and only then the figures. Holds no id and no value. */
export function renderCheckMarkdown(result: CheckResult): string {
  const advice = adviceFor(result);
  const sections = [
    `# Check ${result.id}: ${advice.verdict}`,
    advice.meaning,
    ["## Type next", ...advice.next.map(({ command, why }, i) => `${i + 1}. \`${command}\` – ${why}`)].join("\n"),
    result.whyNot.length === 0
      ? ""
      : ["## Why it is no evidence", ...result.whyNot.map((reason) => `- ${reason}`)].join("\n"),
    ["## What was found", table(["class", "sessions", "meaning"], foundRows(result))].join("\n\n"),
    repairedSection(result),
    ["## How well it looked", ...lookLines(result).map((line) => `- ${line}`)].join("\n"),
    exampleSection(result),
  ];
  return `${sections.filter((section) => section !== "").join("\n\n")}\n`;
}

function foundRows({ counts }: CheckResult): string[][] {
  return CHECK_CLASSES.filter((name) => counts[name] > 0 || name === "equal").map((name) => [
    name,
    String(counts[name]),
    MEANINGS[name],
  ]);
}

function repairedSection({ repaired }: CheckResult): string {
  if (repaired === null) return "";
  const rows = Object.entries(repaired).map(([name, { done, failed }]) => [name, String(done), String(failed)]);
  const body = rows.length === 0 ? "There was nothing to repair." : table(["class", "repaired", "not repaired"], rows);
  return ["## Repaired", body].join("\n\n");
}

function lookLines(result: CheckResult): string[] {
  const { coverage, planted, witness, position, mode, sample, counts, authority } = result;
  const moved = same(position.before, position.after) ? "" : ` to ${place(position.after)}`;
  const kind = mode === "full" ? "every session" : `a random sample of ${sample} sessions of each side`;
  return [
    `Looked at: ${kind}; ${comparedOf(counts)} compared (authority: legacy store ${authority.L}, Redis ${authority.R}).`,
    `Phase: ${place(position.before)}${moved}; buckets compared: the first ${percent(result.coveredBelow / 10_000)}.`,
    `Coverage: ${coverage.listed} listed of ${coverage.counted} that the legacy store counts (${percent(coverage.share)}).`,
    `Planted faults: planted ${planted.planted}, found ${planted.found}.`,
    ...(result.duplicates
      ? [`Pool: ${result.duplicates.count} old copies on other servers than the session's own.`]
      : []),
    witness === null
      ? "Plain clients: none."
      : `Plain clients: ${witness.agreed} of ${witness.read} confirmed, ${witness.disagreed} contradicted, ` +
        `${witness.unsettled} changed meanwhile.`,
    `Time: ${new Date(result.startedAt).toISOString()}, took ${duration(result.endedAt - result.startedAt)}.`,
  ];
}

function exampleSection({ examples }: CheckResult): string {
  const rows = Object.entries(examples).flatMap(([name, some]) => some.map((one) => [name, one.digest, detailOf(one)]));
  if (rows.length === 0) return "";
  const hint =
    "A digest stands for a session id; `sessionferry session show` prints the digest of an id that you have.";
  return ["## Examples", table(["class", "digest", "detail"], rows), hint].join("\n\n");
}

function detailOf({ paths, laterBy }: CheckExample): string {
  if (paths !== undefined) return paths.length === 0 ? "not JSON" : paths.map((path) => `\`${path}\``).join(", ");
  if (laterBy === undefined) return "";
  if (laterBy === null) return "one of the two never ends";
  return laterBy > 0 ? `Redis dies ${duration(laterBy)} later` : `Redis dies ${duration(-laterBy)} earlier`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function place({ phase, percent: share }: Position): string {
  return phase === "legacy" || phase === "complete" ? phase : `${phase} ${share} %`;
}

function same(a: Position, b: Position): boolean {
  return a.phase === b.phase && a.percent === b.percent;
}
