import { PHASE_NAMES, type PhaseName } from "../../src/core/phase.js";
import type { Visitor } from "../../src/runtime/visitor.js";
import type { Measure } from "../goals.js";
import type { Paced, StoreSpec } from "../messages.js";
import { figure, type SectionResult, type Table } from "../report.js";
import type { LegacyName, Scale } from "../scale.js";
import { CONNECTIONS, type Stage } from "../stage.js";
import { quantile, sampleOf } from "../statistics.js";
import { withSubjects } from "../subjects.js";

/**
 * The classic plan's floor: 6,000 writes a second for a minute in every phase. Two processes share the load as two
 * nodes would. A write counts from when it was due, so that whoever falls behind cannot hide it.
 */
const NODES = 2;
const SESSIONS = 20_000;
const BYTES = 2_000;

interface Run {
  readonly name: string;
  readonly spec: StoreSpec;
  readonly visitor: Visitor | null;
}

export async function load(stage: Stage, scale: Scale, tell: (line: string) => void): Promise<SectionResult> {
  const tables: Table[] = [];
  const measures: Measure[] = [];
  const { seconds, rate, legacies } = scale.load;
  for (const legacy of legacies) {
    const rows: string[][] = [];
    for (const run of await runs(stage, legacy)) {
      tell(`load, ${legacy}: ${run.name}, ${rate} writes/s for ${seconds} s`);
      const { paced, dirty } = await oneRun(run, rate, seconds);
      const latencies = Float64Array.from(paced.flatMap((each) => [...each.latencies])).sort();
      const errors = paced.reduce((sum, each) => sum + each.errors, 0);
      const achieved = latencies.length / Math.max(...paced.map((each) => each.seconds));
      const processor = paced.reduce((sum, each) => sum + each.processor, 0) / latencies.length;
      const [p50, p95, p999] = [0.5, 0.95, 0.999].map((share) => quantile(latencies, share));
      rows.push([
        run.name,
        figure(Math.round(achieved)),
        ...[p50!, p95!, p999!, latencies.at(-1)!].map(figure),
        String(errors),
        figure(processor),
        dirty === null ? "-" : `${dirty.count}, ${figure(dirty.oldestAge / 1000)} s`,
      ]);
      // Only ours is judged; the plain stores show what the machine can do.
      if (run.visitor === null) continue;
      const of = `${legacy}/${run.name}`;
      measures.push({ id: `load/p95/${of}`, unit: "ms", sample: sampleOf([p95!]) });
      measures.push({ id: `load/rate/${of}`, unit: "of the rate asked for", sample: sampleOf([achieved / rate]) });
      measures.push({ id: `load/errors/${of}`, unit: "writes", sample: sampleOf([errors]) });
    }
    tables.push({
      title: `${legacy}: ${rate} writes/s of ${BYTES} bytes for ${seconds} s by ${NODES} nodes`,
      columns: [
        "store",
        "writes/s",
        "p50 ms",
        "p95 ms",
        "p99.9 ms",
        "slowest ms",
        "errors",
        "µs CPU/write",
        "dirty at the end",
      ],
      rows,
    });
  }
  return {
    section: "load",
    tables,
    measures,
    notes: [
      "The load is made in the nodes' own processes: the stores, two nodes and the load share two cores, and a third process for the load would only take from both. Latencies count from when a write was due.",
      "An error of ours is a request that was not answered within its deadline of 5 s; the plain stores have none and wait.",
    ],
  };
}

async function runs(stage: Stage, legacy: LegacyName): Promise<Run[]> {
  const plain = (name: string, spec: StoreSpec): Run => ({ name, spec, visitor: null });
  const found: Run[] = [];
  if (legacy === "postgres") {
    await stage.table("plain_load");
    const { url } = stage.postgres;
    found.push(
      plain("connect-pg-simple", { kind: "connect-pg-simple", url, table: "plain_load", connections: CONNECTIONS }),
    );
  } else {
    const address = `${stage.memcached.host}:${stage.memcached.port}`;
    const spec = { kind: "connect-memcached", address, prefix: "load:", connections: CONNECTIONS } as const;
    found.push(plain("connect-memcached", spec));
  }
  for (const phase of PHASE_NAMES) found.push(await ours(stage, legacy, phase));
  found.push(plain("connect-redis", { kind: "connect-redis", url: stage.redis.url, prefix: `load-${legacy}:` }));
  return found;
}

async function ours(stage: Stage, legacy: LegacyName, phase: PhaseName): Promise<Run> {
  const settings = stage.settings(`load-${legacy[0]}-${phase}`, legacy);
  if (legacy === "postgres") await stage.table((settings.legacy as { table: string }).table);
  const visitor = await stage.migration(settings, phase);
  return { name: phase, spec: { kind: "ferry", config: settings, phase }, visitor };
}

async function oneRun({ name, spec, visitor }: Run, rate: number, seconds: number) {
  const starting = Array.from({ length: NODES }, () => ({ name, spec }));
  return withSubjects(starting, async (subjects) => {
    const ask = { verb: "pace", mix: { set: 1 }, rate: rate / NODES, sessions: SESSIONS, bytes: BYTES } as const;
    // Fresh processes have to be warm before a minute of them is judged.
    await Promise.all(subjects.map((subject) => subject.ask<"pace">({ ...ask, milliseconds: 1_500 })));
    const milliseconds = seconds * 1000;
    const paced: Paced[] = await Promise.all(subjects.map((subject) => subject.ask<"pace">({ ...ask, milliseconds })));
    const dirty = visitor === null || name === "complete" ? null : await visitor.records.dirtyState();
    return { paced, dirty };
  });
}
