/** `npm run bench [-- SECTION...] [--quick]`: measures, prints tables, writes results.json and results.svg. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chartOf } from "./chart.js";
import { GOALS, judge } from "./goals.js";
import { machine, machineLine } from "./machine.js";
import {
  conditionsOf,
  goalsTable,
  type MeasuredSection,
  mergedSections,
  type Results,
  type SectionResult,
  textOf,
} from "./report.js";
import { SCALES, type Scale } from "./scale.js";
import { backfill } from "./sections/backfill.js";
import { door } from "./sections/door.js";
import { growth } from "./sections/growth.js";
import { load } from "./sections/load.js";
import { operations } from "./sections/operations.js";
import { plan } from "./sections/plan.js";
import { transition } from "./sections/transition.js";
import { onStage, type Stage } from "./stage.js";

type Section = (stage: Stage, scale: Scale, tell: (line: string) => void) => Promise<SectionResult>;
/** `check` runs with the backfill, by whose rate it is judged. */
const SECTIONS: Readonly<Record<string, Section>> = { operations, load, door, backfill, transition, growth, plan };
const ALIASES: Readonly<Record<string, string>> = { check: "backfill" };

interface Narrowing {
  readonly legacy?: string | undefined;
  readonly rounds?: string | undefined;
  readonly phases?: string | undefined;
}

/** A part of a section, for a machine that is quiet for minutes only. */
function narrowed(scale: Scale, { legacy, rounds, phases }: Narrowing): Scale {
  const only = <T extends { readonly legacies: readonly string[] }>(part: T): T =>
    legacy === undefined ? part : { ...part, legacies: part.legacies.filter((name) => name === legacy) };
  const few = <T extends { readonly rounds: number }>(part: T): T =>
    rounds === undefined ? part : { ...part, rounds: Math.max(1, Number(rounds) || 1) };
  const atSome = <T extends { readonly phases: readonly string[] }>(part: T): T =>
    phases === undefined ? part : { ...part, phases: part.phases.filter((name) => phases.split(",").includes(name)) };
  return {
    ...scale,
    operations: atSome(few(only(scale.operations))),
    load: only(scale.load),
    door: atSome(scale.door),
    backfill: few(only(scale.backfill)),
    transition: few(scale.transition),
  };
}

function scaleLine({ name }: Scale, { legacy, rounds, phases }: Narrowing): string {
  const narrowings = [legacy && `${legacy} only`, rounds && `${rounds} rounds`, phases].filter(Boolean);
  return [name, ...narrowings].join(", ");
}

const USAGE = `npm run bench -- [SECTION...] [OPTION...]
  sections   ${Object.keys(SECTIONS).join(", ")}, check; all unless given
  --quick    everything in a few minutes, for a look
  --legacy   postgres or memcached, the other one is left out
  --rounds   so many in operations, backfill and transition
  --phases   those of operations and door, with commas between
  --out      the folder of results.json and results.svg
`;

const OPTIONS = {
  help: { type: "boolean", default: false },
  quick: { type: "boolean", default: false },
  tiny: { type: "boolean", default: false },
  out: { type: "string" },
  legacy: { type: "string" },
  rounds: { type: "string" },
  phases: { type: "string" },
} as const;

function asked() {
  try {
    return parseArgs({ allowPositionals: true, options: OPTIONS });
  } catch (error) {
    console.error((error as Error).message);
    return null;
  }
}

async function main(): Promise<number> {
  const args = asked();
  if (args === null || args.values.help) {
    (args === null ? console.error : console.log)(USAGE);
    return args === null ? 2 : 0;
  }
  const { values, positionals } = args;
  const scale = narrowed(SCALES[values.tiny ? "tiny" : values.quick ? "quick" : "full"], values);
  const wanted = positionals.length === 0 ? Object.keys(SECTIONS) : positionals.map((name) => ALIASES[name] ?? name);
  const unknown = wanted.filter((name) => SECTIONS[name] === undefined);
  if (unknown.length > 0) {
    console.error(`no such section: ${unknown.join(", ")}; known are ${Object.keys(SECTIONS).join(", ")}, check`);
    return 2;
  }
  const order = Object.keys(SECTIONS);
  const measured: MeasuredSection[] = [];
  const judged = (sections: readonly MeasuredSection[]) =>
    judge(
      GOALS,
      sections.flatMap(({ measures }) => measures),
    );
  // After each section: what a run that is broken off has measured so far is worth keeping.
  const keep = () => {
    if (values.out === undefined) return;
    const file = join(values.out, "results.json");
    const before = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Results).sections : [];
    const sections = mergedSections(before, measured, order);
    const results: Results = { sections, goals: judged(sections) };
    writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`);
    writeFileSync(join(values.out, "results.svg"), chartOf(results));
  };
  if (values.out !== undefined) mkdirSync(values.out, { recursive: true });
  let broken = 0;
  for (const name of new Set(wanted)) {
    try {
      const [here, startedAt] = [machine(), new Date()];
      const result = await onStage((stage) => SECTIONS[name]!(stage, scale, (line) => console.error(line)));
      const seconds = Math.round((Date.now() - startedAt.getTime()) / 1000);
      const conditions = {
        scale: scaleLine(scale, values),
        startedAt: startedAt.toISOString(),
        seconds,
        machine: here,
      };
      measured.push({ ...result, ...conditions, loadAfter: loadavg()[0]! });
      keep();
      for (const table of result.tables) console.log(`\n${textOf(table)}`);
      for (const note of result.notes) console.log(`  ${note}`);
    } catch (error) {
      // The other sections are worth having all the same.
      broken++;
      console.error(`${name} could not be measured: ${error instanceof Error ? error.message : error}`);
    }
  }
  const goals = judged(measured);
  console.log(`\n${textOf(goalsTable(goals))}`);
  const missed = goals.filter(({ held }) => !held);
  for (const { measure, goal, why } of missed) console.log(`\nMISSED ${measure}: ${goal}\n  Why: ${why}`);
  console.log(`\n${goals.length - missed.length} goals held, ${missed.length} missed.`);
  for (const each of measured) console.log(conditionsOf(each));
  console.log(machineLine(machine()));
  // A goal that is missed is a result and not a failure.
  return broken === 0 ? 0 : 1;
}

void main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
