import type { Session } from "../../src/core/session.js";
import { type Plan, type PlanInput, planFor } from "../../src/workflow/plan.js";
import { CONSTANTS, JOB_TIMES, OPERATION_COSTS } from "../../src/workflow/plan-constants.js";
import { payloadOf, sidOf } from "../payload.js";
import { type JobRun, runJobs } from "../plan/jobs.js";
import { measureMemory } from "../plan/memory.js";
import { type CostRow, type Line, measureOperations } from "../plan/operations.js";
import { figure, type SectionResult, type Table } from "../report.js";
import type { LegacyName, Scale } from "../scale.js";
import { onStage, type Stage } from "../stage.js";
import { sampleOf } from "../statistics.js";

/**
 * `doctor --plan` beside the truth. First the constants of plan-constants.ts are measured again, then so many sessions
 * are moved and compared with what was foretold: once by the constants as they stand, which are those of another hour
 * and perhaps another machine, and once corrected by the probe of `--measure`.
 */
const BYTES = 2_000;

export async function plan(stage: Stage, scale: Scale, tell: (line: string) => void): Promise<SectionResult> {
  const { slice, phases, sizes, sessions, memory } = scale.plan;
  const tables: Table[] = [await memoryTable(stage, memory)];
  tell("plan: memory measured");
  tables.push(costsTable(await measureOperations(stage, slice, phases, tell)));
  const ratios: { id: string; ratio: number }[] = [];
  for (const legacy of scale.backfill.legacies) {
    const runs: JobRun[] = [];
    // Each on servers of its own: memcached counts and lists what others have left in it.
    for (const size of sizes) runs.push(await onStage((own) => runJobs(own, legacy, size.sessions, size.bytes)));
    tables.push(jobsTable(legacy, runs));
    const run = await onStage((own) => runJobs(own, legacy, sessions, BYTES));
    const { table, found } = comparison(run);
    tables.push(table);
    ratios.push(...found);
    tell(`plan: ${legacy} compared`);
  }
  return {
    section: "plan",
    tables,
    measures: ratios.map(({ id, ratio }) => ({
      id: `plan/${id}`,
      unit: "apart from the measured",
      sample: sampleOf([Math.abs(ratio - 1)]),
    })),
    notes: ["Durations that are corrected use what the probe of `doctor --plan --measure` read just before."],
  };
}

async function memoryTable(stage: Stage, count: number): Promise<Table> {
  const redis = await stage.anotherRedis();
  const settings = stage.settings("plan-memory", "postgres", redis);
  const { records } = await stage.migration(settings, "redis-first");
  // Keys of 37 bytes: "plan-memory:" and 25 of the sid's.
  const sids = Array.from({ length: count }, (_, n) => `${n}`.padStart(25, "s"));
  const expiresAt = Date.now() + 3_600_000;
  const session: Session = { value: Buffer.alloc(BYTES, "v"), flags: 0, expiresAt };
  const seen = await measureMemory(records, redis.url, sids, () => session);
  const foretold = planFor({ ...SITE, sessions: count, writes: count, undrained: 1, keyBytes: 37 }).memory;
  await redis.stop();
  return {
    title: `memory of ${count} sessions of ${BYTES} bytes with keys of 37`,
    columns: ["of", "foretold", "measured", "ratio"],
    rows: [
      row("a Redis with one connection", CONSTANTS.emptyRedis.value, seen.empty),
      row("a session", foretold.session, seen.sessions / count),
      row("a mark with its entry in the dirty index", foretold.marks / count, seen.marks / count),
    ],
  };
}

const SITE: Omit<PlanInput, "sessions" | "keyBytes"> = {
  valueBytes: [BYTES],
  legacy: "postgres",
  door: "library",
  reads: 0,
  writes: 0,
  touches: 0,
  companions: 0,
  undrained: 0,
  jobRate: 0,
  speed: 1,
  memoryShare: 1,
};

function row(name: string, foretold: number, measured: number): string[] {
  return [name, figure(foretold), figure(measured), figure(foretold / measured)];
}

function costsTable(rows: readonly CostRow[]): Table {
  return {
    title: "one request: as measured now, and in brackets as plans take it",
    columns: ["door, phase, request", "scripts", "Redis µs, each KB", "process µs, each KB", "bytes in", "bytes out"],
    rows: rows.map((seen) => {
      const known = OPERATION_COSTS.find(
        ({ door, phase, operation }) => door === seen.door && phase === seen.phase && operation === seen.operation,
      );
      const cell = (now: number, then: number | undefined) => `${figure(rounded(now))} (${figure(then ?? Number.NaN)})`;
      const text = ({ base, slope }: Line) => `${figure(rounded(base))} + ${figure(rounded(slope))}`;
      const at = (of: "redis" | "process") => `${text(seen[of])} (${known ? text(known[of]) : "?"})`;
      return [
        `${seen.door}, ${seen.phase}, ${seen.operation}`,
        cell(seen.scripts, known?.scripts),
        at("redis"),
        at("process"),
        cell(seen.received.base, known?.received.base),
        cell(seen.sent.base, known?.sent.base),
      ];
    }),
  };
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}

function jobsTable(legacy: LegacyName, runs: readonly JobRun[]): Table {
  const micros = (seconds: number, { sessions }: JobRun) => ((seconds - CONSTANTS.jobStart.value) / sessions) * 1e6;
  return {
    title: `${legacy}: microseconds a session, and in brackets as plans take them`,
    columns: ["sessions of bytes", "backfill", "check", "probe"],
    rows: runs.map((run) => {
      const bytes = valueBytes(run.bytes);
      const known = (job: "backfill" | "check" | "probe") => {
        const { base, slope } = JOB_TIMES[legacy][job];
        return figure(base + (slope * bytes) / 1000);
      };
      return [
        `${run.sessions} of ${bytes}`,
        `${figure(micros(run.backfill, run))} (${known("backfill")})`,
        `${figure(micros(run.check, run))} (${known("check")})`,
        `${figure(1e6 / run.probed)} (${known("probe")})`,
      ];
    }),
  };
}

function comparison(run: JobRun): { table: Table; found: { id: string; ratio: number }[] } {
  const { legacy, sessions, probed } = run;
  const bytes = valueBytes(run.bytes);
  const keyBytes = `plan-${legacy[0]}-${sessions}-${run.bytes}:${sidOf(1)}`.length;
  const site = { ...SITE, legacy, sessions, valueBytes: [bytes], keyBytes };
  const { base, slope } = JOB_TIMES[legacy].probe;
  const speed = (probed * (base + (slope * bytes) / 1000)) / 1e6;
  const plain = planFor(site);
  const corrected = planFor({ ...site, speed });
  const added = (of: Plan) => of.memory.atRest - CONSTANTS.emptyRedis.value;
  const lines: [string, number, number][] = [
    ["memory", added(plain), run.memory.after - run.memory.before],
    ["network", plain.network.backfill * (sessions / plain.backfill.rate), run.received + run.sent],
    ["backfill", plain.backfill.seconds, run.backfill],
    ["check", plain.check.seconds, run.check],
    ["backfill-corrected", corrected.backfill.seconds, run.backfill],
    ["check-corrected", corrected.check.seconds, run.check],
  ];
  return {
    table: {
      title: `${legacy}: ${sessions} sessions of ${bytes} bytes, foretold and measured (this machine reads ${figure(speed)} times as fast as the constants')`,
      columns: ["of", "foretold", "measured", "ratio"],
      rows: lines.map(([name, foretold, measured]) => row(name, foretold, measured)),
    },
    found: lines.map(([name, foretold, measured]) => ({ id: `${name}/${legacy}`, ratio: foretold / measured })),
  };
}

function valueBytes(bytes: number): number {
  return Buffer.byteLength(JSON.stringify(payloadOf(bytes, 1)));
}
