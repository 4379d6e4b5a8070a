import type { PhaseName } from "../../src/core/phase.js";
import type { Measure } from "../goals.js";
import { cpuOf, type RunningProxy, startNutcracker, startProxy } from "../proxies.js";
import { figure, type SectionResult } from "../report.js";
import type { Scale } from "../scale.js";
import type { Stage } from "../stage.js";
import { quantile, sampleOf } from "../statistics.js";
import { withSubjects } from "../subjects.js";

/**
 * The memcached door under the classic load: 6,000 writes a second by a client of memcached's text protocol, through
 * one proxy process, in every phase; and the same through nutcracker and without a proxy, which is what the machine has
 * to give. The stores, the proxy and the load share its cores.
 */
const SESSIONS = 20_000;
const BYTES = 2_000;
/** Each with one request under way. */
const CLIENTS = 64;
const PREFIX = "s.";
/** Milliseconds in legacy after which bytes are passed on as they are. */
const RELAY_OPENS = 13_000;

interface Way {
  readonly name: string;
  readonly port: number;
  readonly proxy: RunningProxy | null;
  readonly patience: number;
}

export async function door(stage: Stage, scale: Scale, tell: (line: string) => void): Promise<SectionResult> {
  const rows: string[][] = [];
  const measures: Measure[] = [];
  const { seconds, rate, phases } = scale.door;
  for (const name of ["memcached", "nutcracker", ...phases] as const) {
    const way = await open(stage, name);
    if (way === null) continue;
    tell(`door: ${name}, ${rate} writes/s for ${seconds} s`);
    try {
      const { paced, processors } = await oneRun(stage, way, rate, seconds);
      for (const failure of paced.failures) tell(`door: ${name} failed: ${failure}`);
      const latencies = paced.latencies.slice().sort();
      const achieved = latencies.length / paced.seconds;
      const [p50, p95, p999] = [0.5, 0.95, 0.999].map((share) => quantile(latencies, share));
      rows.push([
        name,
        ...[Math.round(achieved), p50!, p95!, p999!, latencies.at(-1)!].map(figure),
        String(paced.errors),
        ...processors.map((each) => (each === null ? "-" : figure((each * 1e6) / latencies.length))),
      ]);
      if (way.proxy === null || name === "nutcracker") continue;
      measures.push({ id: `door/p95/${name}`, unit: "ms", sample: sampleOf([p95!]) });
      measures.push({ id: `door/rate/${name}`, unit: "of the rate asked for", sample: sampleOf([achieved / rate]) });
      measures.push({ id: `door/errors/${name}`, unit: "writes", sample: sampleOf([paced.errors]) });
    } finally {
      await way.proxy?.stop();
    }
  }
  return {
    section: "door",
    tables: [
      {
        title: `${rate} writes/s of ${BYTES} bytes for ${seconds} s over ${CLIENTS} connections`,
        columns: [
          ...["through", "writes/s", "p50 ms", "p95 ms", "p99.9 ms", "slowest ms", "errors"],
          ...["µs proxy", "µs memcached", "µs Redis", "µs load"],
        ],
        rows,
      },
    ],
    measures,
    notes: [
      "Latencies count from when a write was due. µs: CPU time of each process for one write; the first two rows have no proxy of ours and show what the machine gives.",
      "Every request is a packet of its own on a connection that waits for its answer: the dearest way to ask, and the commonest.",
    ],
  };
}

async function open(stage: Stage, name: "memcached" | "nutcracker" | PhaseName): Promise<Way | null> {
  if (name === "memcached") return { name, port: stage.memcached.port, proxy: null, patience: 0 };
  const migration = `door-${name}`;
  const { memcached } = stage;
  const settings = {
    ...stage.settings(migration, "memcached"),
    legacy: { preset: "memcached", url: memcached.url, prefix: PREFIX },
    redis: { preset: "plain", url: stage.redis.url, prefix: `${migration}:` },
    proxy: { listeners: [{ listen: "127.0.0.1:0", server: `${memcached.host}:${memcached.port}` }] },
  };
  const folder = await stage.folder(settings);
  if (name === "nutcracker") {
    const proxy = await startNutcracker(folder, memcached.port);
    return proxy && { name, port: proxy.port, proxy, patience: 0 };
  }
  await stage.migration(settings, name);
  const proxy = await startProxy(folder);
  return { name, port: proxy.port, proxy, patience: name === "legacy" ? RELAY_OPENS : 0 };
}

async function oneRun(stage: Stage, { name, port, proxy, patience }: Way, rate: number, seconds: number) {
  const spec = { kind: "memcached-text", port, prefix: PREFIX, connections: CLIENTS } as const;
  return withSubjects([{ name, spec }], async ([load]) => {
    const ask = { verb: "pace", mix: { set: 1 }, rate, sessions: SESSIONS, bytes: BYTES } as const;
    // A fresh process has to be warm before it is judged.
    const warm = { ...ask, rate: rate / 2, milliseconds: 1_500 };
    await load!.ask<"pace">(warm);
    if (patience > 0 && rate >= 1_000) await new Promise((resolve) => setTimeout(resolve, patience));
    // Each client's own connection to memcached is made, fenced, when it first finds the way open.
    await load!.ask<"pace">(patience > 0 ? { ...warm, milliseconds: 6_000 } : warm);
    const pids = [proxy?.pid, stage.memcached.pid, stage.redis.pid, load!.child.pid];
    const before = pids.map((pid) => (pid === undefined ? 0 : cpuOf(pid)));
    const paced = await load!.ask<"pace">({ ...ask, milliseconds: seconds * 1000 });
    const processors = pids.map((pid, i) => (pid === undefined ? null : cpuOf(pid) - before[i]!));
    return { paced, processors };
  });
}
