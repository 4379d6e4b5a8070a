import type { DoctorPlan } from "./documents/plan.js";
import { bytes, type Paint, span, table } from "./terminal.js";

type Row = DoctorPlan["plans"][number];

/** The table of `doctor --plan`: a column for each number of sessions. */
export function planText({ site, plans, notes }: DoctorPlan, paint: Paint): string {
  const memcached = plans.some(({ memory }) => memory.companions > 0);
  const lines: [string, (row: Row) => string][] = [
    ["requests a second", ({ load }) => whole(load.reads + load.writes + load.touches)],
    ["Redis memory", ({ memory }) => bytes(memory.most)],
    ["  sessions at rest", ({ memory }) => bytes(memory.atRest)],
    ["  changes on their way", ({ memory }) => bytes(memory.marks)],
    ...(memcached
      ? [["  flags and tokens", ({ memory }: Row) => bytes(memory.companions)] as [string, (row: Row) => string]]
      : []),
    ["  maxmemory at least", ({ memory }) => bytes(memory.maxmemory)],
    ["scripts a second", ({ redis }) => `${whole(redis.scripts)} (${redis.phase})`],
    ["Redis processors", ({ redis }) => redis.processors.toFixed(2)],
    ["Redis shards", ({ redis }) => `${redis.shards}${redis.shards > 1 ? ` (for ${redis.shardsFor})` : ""}`],
    ["backfill", ({ backfill }) => `${span(backfill.seconds * 1000)}, ${whole(backfill.rate)}/s`],
    ["check", ({ check }) => `${span(check.seconds * 1000)}, ${whole(check.rate)}/s`],
    [
      site.door.value === "proxy" ? "proxies" : "application",
      ({ processes }) =>
        processes.proxies === null
          ? `${processes.processors.toFixed(2)} processors more (${processes.phase})`
          : `${processes.proxies} (${processes.processors.toFixed(2)} processors)`,
    ],
    ["Redis network in", ({ network }) => `${bytes(network.received)}/s (${network.phase})`],
    ["Redis network out", ({ network }) => `${bytes(network.sent)}/s`],
    ["  and by a backfill", ({ network }) => `${bytes(network.backfill)}/s`],
  ];
  const heading = ["live sessions", ...plans.map(({ sessions }) => headed(sessions))];
  const rows = lines.map(([name, cell]) => [name, ...plans.map(cell)]);
  return [
    ...siteLines(site),
    "",
    table([heading.map((text) => paint("dim", text)), ...rows]),
    "",
    ...notes.map((note) => `- ${note}`),
  ].join("\n");
}

function siteLines(site: DoctorPlan["site"]): string[] {
  const { legacy, door, valueBytes, keyBytes, reads, writes, touches, speed } = site;
  const rate = (name: string, { value, origin }: DoctorPlan["site"]["reads"]) =>
    value === null ? `${name} in proportion (assumed)` : `${whole(value)} ${name}/s (${origin})`;
  return [
    `From ${legacy.value} through the ${door.value} (${legacy.origin}): values of ${valueBytes.value} bytes (${valueBytes.origin}), ` +
      `keys of ${keyBytes.value} (${keyBytes.origin})`,
    `${rate("reads", reads)}, ${rate("writes", writes)}, ${rate("touches", touches)}; ` +
      (speed.origin === "measured"
        ? `this machine reads sessions ${speed.value.toFixed(2)} times as fast as the constants' (measured)`
        : "the machine as fast as the constants' (assumed)"),
  ];
}

function headed({ value, origin }: Row["sessions"]): string {
  return origin === "measured" ? `${whole(value)} (yours)` : whole(value);
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
