import { fileURLToPath } from "node:url";
import type { BackfillDocument } from "../../src/cli/documents/jobs.js";
import type { RunningServer } from "../../src/servers/index.js";
import type { Measure } from "../goals.js";
import { type Ran, rival, run, sessionferry } from "../programs.js";
import { figure, type SectionResult, spread, type Table } from "../report.js";
import type { LegacyName, Scale } from "../scale.js";
import { type Stage, tableOf } from "../stage.js";
import { sampleOf } from "../statistics.js";

/**
 * A backfill and a check of the same sessions, beside what people use instead: the stores' own tools piped together,
 * which keep nothing apart, and the usual script. Every run has an empty Redis of its own and counts from the start of
 * its process to its end.
 */
const BYTES = 1_000;

/** Sessions a second by what was run. */
type Rates = Map<string, number[]>;

export async function backfill(stage: Stage, scale: Scale, tell: (line: string) => void): Promise<SectionResult> {
  const { sessions, rounds, legacies } = scale.backfill;
  const tables: Table[] = [];
  const measures: Measure[] = [];
  for (const legacy of legacies) {
    const table = tableOf("fill");
    tell(`backfill, ${legacy}: writing ${sessions} sessions`);
    await stage.seed(legacy, table, sessions, BYTES);
    const rates: Rates = new Map();
    for (let round = 1; round <= rounds; round++) {
      const programs = programsFor(stage, legacy, table, `fill-${legacy[0]}-${round}`);
      const order = round % 2 === 1 ? programs : [...programs].reverse();
      for (const { name, perform } of order) {
        const redis = await stage.anotherRedis();
        for (const [what, seconds] of Object.entries(await perform(redis, sessions))) {
          const named = what === "" ? name : what;
          rates.set(named, [...(rates.get(named) ?? []), sessions / seconds]);
          tell(`backfill, ${legacy}, round ${round} of ${rounds}: ${named} ${Math.round(sessions / seconds)}/s`);
        }
        await redis.stop();
      }
    }
    tables.push(tableFor(legacy, sessions, rates));
    measures.push(...measuresOf(legacy, rates));
  }
  return {
    section: "backfill",
    tables,
    measures,
    notes: ["Each run has an empty Redis of its own, and counts from the start of its process to its end."],
  };
}

interface Program {
  readonly name: string;
  /** Seconds, by name; "" for its own. */
  perform(redis: RunningServer, sessions: number): Promise<Readonly<Record<string, number>>>;
}

function programsFor(stage: Stage, legacy: LegacyName, table: string, migration: string): Program[] {
  const { postgres, memcached } = stage;
  const ours: Program = {
    name: "sessionferry backfill",
    async perform(redis, sessions) {
      const settings = stage.settings(migration, legacy, redis, table);
      await stage.migration(settings, "dual-write");
      const folder = await stage.folder(settings);
      const filled = await sessionferry<BackfillDocument>(folder, ["backfill"]);
      const copied = filled.document.result!.counts.copied;
      if (copied !== sessions) throw new Error(`the backfill copied ${copied} of ${sessions} sessions`);
      const checked = await sessionferry<{ counts: { equal: number } }>(folder, ["check"]);
      const { equal } = checked.document.counts;
      if (equal < sessions) throw new Error(`the check found ${equal} of ${sessions} sessions equal`);
      return { "": filled.seconds, "sessionferry check": checked.seconds };
    },
  };
  const plain = (name: string, perform: (redis: RunningServer) => Promise<Ran>): Program => ({
    name,
    async perform(redis) {
      const ran = await perform(redis);
      if (ran.code !== 0) throw new Error(`${name} ended with ${ran.code}:\n${ran.stdout}${ran.stderr}`);
      return { "": ran.seconds };
    },
  });
  const prefix = `${migration}:`;
  if (legacy === "postgres") {
    const pipe = fileURLToPath(new URL("../rivals/pipe.sh", import.meta.url));
    return [
      plain("psql COPY | redis-cli --pipe", ({ port }) => run("sh", [pipe, postgres.url, table, String(port), prefix])),
      ours,
      plain("the usual script", ({ url }) => rival("from-postgres", [postgres.url, table, url, prefix])),
    ];
  }
  const address = `${memcached.host}:${memcached.port}`;
  return [ours, plain("the usual script", ({ url }) => rival("from-memcached", [address, `${table}:`, url, prefix]))];
}

function tableFor(legacy: LegacyName, sessions: number, rates: Rates): Table {
  const ours = rates.get("sessionferry backfill")!;
  return {
    title: `${legacy}: ${sessions} sessions of ${BYTES} bytes`,
    columns: ["program", "sessions/s", "spread", "backfill by it"],
    rows: [...rates].map(([name, values]) => {
      const sample = sampleOf(values);
      const ratio = sampleOf(values.map((value, round) => ours[round]! / value));
      return [name, figure(sample.median), spread(sample), figure(ratio.median)];
    }),
  };
}

function measuresOf(legacy: LegacyName, rates: Rates): Measure[] {
  const ours = rates.get("sessionferry backfill")!;
  const ratio = (id: string, unit: string, above: number[] | undefined, below: number[] | undefined): Measure[] =>
    above && below ? [{ id, unit, sample: sampleOf(above.map((value, round) => value / below[round]!)) }] : [];
  return [
    ...ratio(`backfill/${legacy}/limit`, "of the pipe", ours, rates.get("psql COPY | redis-cli --pipe")),
    ...ratio(`backfill/${legacy}/script`, "of the script", ours, rates.get("the usual script")),
    ...ratio(`check/${legacy}`, "of the backfill", rates.get("sessionferry check"), ours),
  ];
}
