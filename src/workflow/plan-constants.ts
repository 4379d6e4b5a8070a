import type { PhaseName } from "../core/phase.js";

/**
 * The figures that plans are made of, as data. Each names the command that measured it; `npm run bench -- plan`
 * measures them all again and prints them beside these. Counts, bytes and memory are the same on every machine; times
 * are those of the machine named here.
 */
export const MACHINE =
  "Intel Xeon 2.5 GHz, 2 cores for stores and sessionferry together, Node 20, Redis 7.0, PostgreSQL 15";

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
    backfill: { base: 29, slope: 5 },
    check: { base: 37, slope: 8 },
    probe: { base: 10, slope: 3.3 },
  },
  memcached: {
    backfill: { base: 40, slope: 3.5 },
    check: { base: 44, slope: 8 },
    probe: { base: 6.5, slope: 1.6 },
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
  ["library", "legacy", "get", 0, 1, 0, 157, 6.3, 0, 0, 20, 0],
  ["library", "legacy", "set", 0, 0, 0.1, 117, 11.8, 0, 0, 80, 0],
  ["library", "legacy", "touch", 0, 1, 0, 137, 0, 0, 0, 90, 0],
  ["library", "dual-write", "get", 0, 1, 0, 237, 0, 0, 0, 10, 0],
  ["library", "dual-write", "set", 2, 44, 1.8, 248, 0, 1020, 1, 50, 0],
  ["library", "dual-write", "touch", 2, 37, 2.1, 246, 9.3, 1090, 0, 0, 0],
  ["library", "read-through", "get", 0, 3, 0.6, 26, 7.2, 210, 0, 290, 1],
  ["library", "read-through", "set", 2, 45, 2.6, 223, 10.9, 1090, 1, 90, 0],
  ["library", "read-through", "touch", 2, 51, 0, 362, 0, 1120, 0, 230, 0],
  ["library", "redis-first", "get", 0, 4, 0.4, 64, 1.8, 210, 0, 280, 1],
  ["library", "redis-first", "set", 1, 28, 4.3, 30, 7.4, 940, 1, 180, 1],
  ["library", "redis-first", "touch", 1, 39, 0, 37, 0, 990, 0, 230, 1],
  ["library", "full-redis", "get", 0, 2, 0.9, 16, 9.8, 210, 0, 220, 1],
  ["library", "full-redis", "set", 1, 47, 3.8, 41, 14.2, 930, 1, 160, 1],
  ["library", "full-redis", "touch", 1, 29, 1.3, 40, 0, 1000, 0, 230, 1],
  ["library", "complete", "get", 0, 3, 0.8, 23, 9.1, 200, 0, 210, 1],
  ["library", "complete", "set", 1, 9, 2.5, 28, 7.9, 460, 1, 30, 0],
  ["library", "complete", "touch", 1, 10, 0, 31, 0, 480, 0, 40, 0],
  ["proxy", "legacy", "get", 0, 0, 0, 62, 0, 0, 0, 20, 0],
  ["proxy", "legacy", "set", 0, 0, 0, 37, 0, 0, 0, 0, 0],
  ["proxy", "legacy", "touch", 0, 0, 0, 41, 0, 0, 0, 0, 0],
  ["proxy", "dual-write", "get", 0, 1, 0.1, 112, 3.3, 0, 0, 0, 0],
  ["proxy", "dual-write", "set", 2, 33, 3.1, 117, 0, 1200, 1, 120, 0],
  ["proxy", "dual-write", "touch", 2, 36, 0, 115, 0, 1240, 0, 40, 0],
  ["proxy", "read-through", "get", 0, 10, 0.4, 100, 0, 380, 0, 230, 1],
  ["proxy", "read-through", "set", 2, 36, 1.4, 112, 0, 1230, 1, 20, 0],
  ["proxy", "read-through", "touch", 2, 28, 1.5, 124, 0, 1260, 0, 0, 0],
  ["proxy", "redis-first", "get", 0, 9, 0, 68, 0, 380, 0, 640, 1],
  ["proxy", "redis-first", "set", 1.05, 48, 2.5, 79, 0, 1370, 1, 610, 1],
  ["proxy", "redis-first", "touch", 1, 42, 0, 73, 0, 1250, 0, 260, 1],
  ["proxy", "full-redis", "get", 0, 9, 0.2, 75, 0, 370, 0, 220, 1],
  ["proxy", "full-redis", "set", 1, 45, 6, 74, 9.1, 1210, 1, 160, 1],
  ["proxy", "full-redis", "touch", 1.05, 66, 0, 95, 0, 1220, 0, 180, 1],
  ["proxy", "complete", "get", 0, 6, 0.8, 80, 0, 350, 0, 610, 1],
  ["proxy", "complete", "set", 1, 24, 1.2, 71, 0, 540, 1, 40, 0],
  ["proxy", "complete", "touch", 1, 14, 0, 48, 0, 550, 0, 10, 0],
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
