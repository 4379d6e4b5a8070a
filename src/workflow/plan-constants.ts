import type { PhaseName } from "../core/phase.js";

/**
 * The figures that plans are made of, as data. Each names the command that measured it; `npm run bench -- plan`
 * measures them all again and prints them beside these. Counts, bytes and memory are the same on every machine; times
 * are those of the machine named here.
 */
export const MACHINE = "AMD EPYC, 2 cores for stores and sessionferry together, Node 20, Redis 7.0, PostgreSQL 15";

export interface Constant {
  readonly value: number;
  readonly unit: string;
  /** The command that measured it, or why it was chosen. */
  readonly source: string;
}

/** So much for a session, and so much more for each 1,000 bytes of its value. */
export interface Line {
  readonly base: number;
  readonly slope: number;
}

const MEMORY = "npm run bench -- plan (memory: INFO used_memory over 10,000 sessions)";
const JOBS = "npm run bench -- plan (jobs: one process, sessions of 300, 1,000 and 5,000 bytes)";
const PLAN = "the classic plan: 1 million users are 83,000 operations a second";
const CHOSEN = "chosen";

export const CONSTANTS = {
  emptyRedis: { value: 1_500_000, unit: "bytes", source: MEMORY },
  /** The length of a key by which the next three were measured; longer keys make them larger. */
  measuredKey: { value: 37, unit: "bytes", source: MEMORY },
  sidecar: { value: 155, unit: "bytes", source: MEMORY },
  dirtyEntry: { value: 144, unit: "bytes", source: MEMORY },
  companion: { value: 191, unit: "bytes", source: MEMORY },
  backfillTraffic: { value: 440, unit: "bytes a session besides its value", source: JOBS },
  assumedValue: { value: 2_000, unit: "bytes", source: `${CHOSEN}: sessions of 2 to 10 KB are usual, small ones most` },
  assumedSid: { value: 32, unit: "bytes", source: `${CHOSEN}: what express-session and PHP draw` },
  readsEach: { value: 0.0415, unit: "reads a second and session", source: `${PLAN}, half of them reads` },
  writesEach: { value: 0.0083, unit: "writes a second and session", source: `${PLAN}, a tenth of them writes` },
  touchesEach: { value: 0.0332, unit: "touches a second and session", source: `${PLAN}, the rest touches` },
  companionShare: {
    value: 1,
    unit: "share of the sessions",
    source: `${CHOSEN}: a client that asks for tokens at all (gets) may ask for them everywhere`,
  },
  busyRedis: { value: 0.6, unit: "of one processor", source: `${CHOSEN}: above it every burst waits` },
  busyProcess: { value: 0.6, unit: "of one processor", source: `${CHOSEN}: the same` },
  fewestProxies: { value: 2, unit: "processes", source: `${CHOSEN}: one at a time can be restarted` },
  shardMemory: {
    value: 25 * 1024 ** 3,
    unit: "bytes",
    source: `${CHOSEN}: a snapshot or a new replica of more takes many minutes`,
  },
  jobStart: { value: 0.1, unit: "seconds", source: JOBS },
} as const satisfies Record<string, Constant>;

export type JobName = "backfill" | "check" | "probe";

/** Microseconds for a session. `probe` is what `--measure` does, by which the other two are corrected. */
export const JOB_TIMES: Readonly<Record<"postgres" | "memcached", Readonly<Record<JobName, Line>>>> = {
  postgres: {
    backfill: { base: 15, slope: 3.6 },
    check: { base: 12, slope: 4.5 },
    probe: { base: 3.9, slope: 1.5 },
  },
  memcached: {
    backfill: { base: 13.5, slope: 3.6 },
    check: { base: 13.5, slope: 3.2 },
    probe: { base: 5.2, slope: 0.8 },
  },
};
export const JOB_TIMES_SOURCE = JOBS;

export type Operation = "get" | "set" | "touch";

/** What one request costs in a phase, the drain of what it changed included. */
export interface OperationCost {
  readonly door: "library" | "proxy";
  readonly phase: PhaseName;
  readonly operation: Operation;
  /** Calls of scripts, where nothing comes together with it. */
  readonly scripts: number;
  /** Microseconds of Redis' processor. */
  readonly redis: Line;
  /** Microseconds of the processor of the application's process or the proxy, with 64 requests under way. */
  readonly process: Line;
  /** Bytes that Redis receives: besides values, and how many times the value. */
  readonly received: Line;
  readonly sent: Line;
}

export const OPERATION_COSTS_SOURCE =
  "npm run bench -- plan (operations: INFO commandstats, used_cpu and total_net bytes for each request)";

type Row = readonly [OperationCost["door"], PhaseName, Operation, ...figures: number[]];

/** door, phase, request; scripts; Redis µs, + for each KB; process µs, + for each KB; bytes in, values in; bytes out, values out. */
// biome-ignore format: a table is read by its columns.
const ROWS: readonly Row[] = [
  ["library", "legacy", "get", 0, 0, 0, 10.5, 4.7, 0, 0, 0, 0],
  ["library", "legacy", "set", 0, 0.1, 0, 27, 4.1, 0, 0, 0, 0],
  ["library", "legacy", "touch", 0, 0.1, 0, 21.9, 1.9, 0, 0, 0, 0],
  ["library", "dual-write", "get", 0, 0, 0, 12.5, 4.4, 0, 0, 0, 0],
  ["library", "dual-write", "set", 2, 17.2, 1.5, 55.9, 4.6, 1020, 1, 20, 0],
  ["library", "dual-write", "touch", 2, 15, 0.2, 48.5, 0, 1090, 0, 20, 0],
  ["library", "read-through", "get", 0, 1.9, 0.5, 6, 4.8, 210, 0, 190, 1],
  ["library", "read-through", "set", 2, 17.4, 1.3, 55.3, 3.5, 1040, 1, 20, 0],
  ["library", "read-through", "touch", 2, 14, 0.1, 42.8, 0.1, 1110, 0, 20, 0],
  ["library", "redis-first", "get", 0, 1.8, 0.4, 6.1, 3.9, 210, 0, 190, 1],
  ["library", "redis-first", "set", 1, 9.2, 3.2, 10, 2.9, 810, 1, 50, 1],
  ["library", "redis-first", "touch", 1, 13.3, 0.2, 12.9, 0, 860, 0, 220, 1],
  ["library", "full-redis", "get", 0, 1.6, 0.3, 5.2, 3.9, 110, 0, 180, 1],
  ["library", "full-redis", "set", 1, 9.2, 4.1, 9.7, 4, 800, 1, 30, 1],
  ["library", "full-redis", "touch", 1, 11.1, 0.5, 12, 0.1, 850, 0, 140, 1],
  ["library", "complete", "get", 0, 1.2, 0.4, 5.2, 3.6, 110, 0, 180, 1],
  ["library", "complete", "set", 1, 3.7, 1.5, 7.9, 3.4, 460, 1, 10, 0],
  ["library", "complete", "touch", 1, 3.9, 0, 8.7, 0.1, 480, 0, 30, 0],
  ["proxy", "legacy", "get", 0, 0, 0, 16.8, 1.1, 0, 0, 0, 0],
  ["proxy", "legacy", "set", 0, 0, 0, 19.4, 0.2, 0, 0, 0, 0],
  ["proxy", "legacy", "touch", 0, 0, 0, 18.3, 0, 0, 0, 0, 0],
  ["proxy", "dual-write", "get", 0, 0, 0, 16.6, 1.4, 0, 0, 0, 0],
  ["proxy", "dual-write", "set", 2, 14.4, 0.9, 32.8, 0.3, 1200, 1, 20, 0],
  ["proxy", "dual-write", "touch", 2, 11.1, 0, 30.3, 0.3, 1240, 0, 20, 0],
  ["proxy", "read-through", "get", 0, 3.1, 0.3, 18.9, 1.1, 380, 0, 210, 1],
  ["proxy", "read-through", "set", 2, 13.2, 1.4, 31.1, 0.6, 1230, 1, 20, 0],
  ["proxy", "read-through", "touch", 2, 11.5, 0, 33.6, 0, 1270, 0, 20, 0],
  ["proxy", "redis-first", "get", 0, 3.5, 0.3, 19.1, 1.6, 370, 0, 210, 1],
  ["proxy", "redis-first", "set", 1, 15.2, 2, 22.9, 0.4, 1220, 1, 120, 1],
  ["proxy", "redis-first", "touch", 1, 14.3, 0.5, 23.7, 0.2, 1240, 0, 150, 1],
  ["proxy", "full-redis", "get", 0, 3.1, 0.2, 18.8, 0.9, 280, 0, 200, 1],
  ["proxy", "full-redis", "set", 1, 14.7, 1.7, 22.1, 0.4, 1200, 1, 120, 1],
  ["proxy", "full-redis", "touch", 1, 13.1, 0.2, 21.4, 0, 1220, 0, 150, 1],
  ["proxy", "complete", "get", 0, 2.5, 0.3, 22.6, 0.5, 270, 0, 200, 1],
  ["proxy", "complete", "set", 1, 6.8, 1.4, 21.2, 0.1, 540, 1, 20, 0],
  ["proxy", "complete", "touch", 1, 6.3, 0.3, 19, 1, 550, 0, 40, 0],
];

export const OPERATION_COSTS: readonly OperationCost[] = ROWS.map(
  ([door, phase, operation, scripts = 0, r0 = 0, r1 = 0, p0 = 0, p1 = 0, in0 = 0, in1 = 0, out0 = 0, out1 = 0]) => ({
    ...{ door, phase, operation, scripts },
    redis: { base: r0, slope: r1 },
    process: { base: p0, slope: p1 },
    received: { base: in0, slope: in1 },
    sent: { base: out0, slope: out1 },
  }),
);

/** Every figure with its source, as `--json` tells them. */
export function constantsList(): (Constant & { readonly name: string })[] {
  const scalars = Object.entries(CONSTANTS).map(([name, constant]) => ({ name, ...constant }));
  const jobs = Object.entries(JOB_TIMES).flatMap(([legacy, times]) =>
    Object.entries(times).flatMap(([job, { base, slope }]) => [
      { name: `${job} from ${legacy}`, value: base, unit: "microseconds a session", source: JOBS },
      {
        name: `${job} from ${legacy}, size`,
        value: slope,
        unit: "microseconds a session and 1,000 bytes",
        source: JOBS,
      },
    ]),
  );
  const costs = OPERATION_COSTS.flatMap(({ door, phase, operation, scripts, redis, process }) => {
    const name = (what: string) => `${door}, ${phase}, ${operation}: ${what}`;
    return [
      { name: name("scripts"), value: scripts, unit: "calls", source: OPERATION_COSTS_SOURCE },
      { name: name("redis"), value: redis.base, unit: "microseconds", source: OPERATION_COSTS_SOURCE },
      { name: name("process"), value: process.base, unit: "microseconds", source: OPERATION_COSTS_SOURCE },
    ];
  });
  return [...scalars, ...jobs, ...costs];
}
