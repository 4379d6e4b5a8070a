import type { BackfillDocument } from "../../src/cli/documents/jobs.js";
import { sessionferry } from "../programs.js";
import { figure, type SectionResult } from "../report.js";
import type { Scale } from "../scale.js";
import { type Stage, tableOf } from "../stage.js";
import { sampleOf } from "../statistics.js";
import { Subject } from "../subjects.js";

/** Backfill and check of ever more sessions, with a node that serves them: time and memory. */
const BYTES = 300;
const READS = { operation: "get", concurrency: 64, milliseconds: 3_000 } as const;

interface Size {
  readonly sessions: number;
  readonly backfill: { readonly seconds: number; readonly peak: number };
  readonly check: { readonly seconds: number; readonly peak: number };
  readonly node: number;
}

export async function growth(stage: Stage, scale: Scale, tell: (line: string) => void): Promise<SectionResult> {
  const sizes: Size[] = [];
  for (const sessions of scale.growth.sessions) {
    tell(`growth: ${sessions} sessions`);
    sizes.push(await measure(stage, sessions));
  }
  const [last, before] = [sizes.at(-1)!, sizes.at(-2)!];
  // The first size fits into caches and pages that the others do not, and starting up is most of its time.
  const each = (of: "backfill" | "check", { [of]: job, sessions }: Size) => job.seconds / sessions;
  const time = (of: "backfill" | "check") => ({
    id: `growth/time/${of}`,
    unit: "of the time for one session at the size before",
    sample: sampleOf([each(of, last) / each(of, before)]),
  });
  const memory = (what: string, of: (size: Size) => number) => ({
    id: `growth/memory/${what}`,
    unit: "of the memory at the size before",
    sample: sampleOf([of(last) / of(before)]),
  });
  return {
    section: "growth",
    tables: [
      {
        title: `sessions of ${BYTES} bytes in PostgreSQL: seconds, and megabytes of memory at most`,
        columns: ["sessions", "backfill s", "µs each", "MB", "check s", "µs each", "MB", "node MB"],
        rows: sizes.map((size) => [
          String(size.sessions),
          ...(["backfill", "check"] as const).flatMap((of) => [
            figure(size[of].seconds),
            figure(each(of, size) * 1e6),
            megabytes(size[of].peak),
          ]),
          megabytes(size.node),
        ]),
      },
    ],
    measures: [
      time("backfill"),
      time("check"),
      memory("backfill", ({ backfill }) => backfill.peak),
      memory("check", ({ check }) => check.peak),
      memory("node", ({ node }) => node),
    ],
    notes: [
      "Each job is a process of its own, timed by itself without its start. Ratios are of the last size to the one before.",
    ],
  };
}

async function measure(stage: Stage, sessions: number): Promise<Size> {
  const redis = await stage.anotherRedis();
  const migration = `growth-${sessions}`;
  const table = tableOf(migration);
  await stage.seed("postgres", table, sessions, BYTES);
  const settings = stage.settings(migration, "postgres", redis, table);
  await stage.migration(settings, "dual-write");
  const folder = await stage.folder(settings);
  const filled = await sessionferry<BackfillDocument>(folder, ["backfill"]);
  const checked = await sessionferry<{ startedAt: number; endedAt: number }>(folder, ["check"]);
  const node = await Subject.start("node", { kind: "ferry", config: settings, phase: "dual-write" });
  try {
    await node.ask({ verb: "repeat", ...READS, sessions, bytes: BYTES });
    const { peak } = await node.ask({ verb: "memory" });
    const { startedAt, endedAt } = checked.document;
    return {
      sessions,
      backfill: { seconds: filled.document.result!.milliseconds / 1000, peak: filled.peak },
      check: { seconds: (endedAt - startedAt) / 1000, peak: checked.peak },
      node: peak,
    };
  } finally {
    await node.close();
    await redis.stop();
    await stage.pool.query(`DROP TABLE "${table}"`);
  }
}

function megabytes(bytes: number): string {
  return figure(Math.round(bytes / 1e6));
}
