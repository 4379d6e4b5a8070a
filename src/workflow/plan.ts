import type { PhaseName } from "../core/phase.js";
import { CONSTANTS, JOB_TIMES, OPERATION_COSTS, type OperationCost } from "./plan-constants.js";
import { allocated, dictionaries, keyWithLifetime } from "./plan-memory.js";

/** What a site is, as far as sizing asks. */
export interface PlanInput {
  /** Live sessions. */
  readonly sessions: number;
  /** Sizes of some sessions' values, in bytes: all of them count alike. */
  readonly valueBytes: readonly number[];
  /** Of a session's key in Redis, its prefix included. */
  readonly keyBytes: number;
  readonly legacy: "postgres" | "memcached";
  readonly door: "library" | "proxy";
  /** Requests a second of all processes together. A destroy costs what a write costs. */
  readonly reads: number;
  readonly writes: number;
  readonly touches: number;
  /** Share of the sessions for which Redis also keeps what only memcached's clients know of an item. */
  readonly companions: number;
  /** Seconds for which changes may wait to be drained to the legacy store. */
  readonly undrained: number;
  /** Sessions a second that backfill and check may do at most; 0 for no limit. */
  readonly jobRate: number;
  /** How many times as fast as the machine of the constants; 1 where nothing was measured. */
  readonly speed: number;
  /** Share of its maxmemory that Redis may use. */
  readonly memoryShare: number;
}

export interface Plan {
  readonly sessions: number;
  /** Bytes. */
  readonly memory: {
    readonly phase: PhaseName;
    /** One session at rest, its share of the tables included. */
    readonly session: number;
    readonly atRest: number;
    readonly marks: number;
    readonly companions: number;
    readonly most: number;
    /** What `maxmemory` should be at least. */
    readonly maxmemory: number;
  };
  readonly redis: {
    readonly phase: PhaseName;
    /** Scripts a second at most: those that come together travel as one. */
    readonly scripts: number;
    readonly reads: number;
    /** Processors of Redis that this keeps busy. */
    readonly processors: number;
    readonly shards: number;
    readonly shardsFor: "memory" | "processor";
  };
  readonly backfill: JobPlan;
  readonly check: JobPlan;
  readonly processes: {
    readonly phase: PhaseName;
    /** Processors that sessionferry's own work takes, in the proxies or in the application. */
    readonly processors: number;
    /** Null where the application has the library in its own processes. */
    readonly proxies: number | null;
  };
  /** Bytes a second at Redis' network. */
  readonly network: {
    readonly phase: PhaseName;
    readonly received: number;
    readonly sent: number;
    readonly backfill: number;
  };
}

export interface JobPlan {
  readonly seconds: number;
  /** Sessions a second. */
  readonly rate: number;
}

/** What the phases between the two ends have in common is that both stores are written: the dearest is one of them. */
export function planFor(input: PlanInput): Plan {
  const memory = memoryOf(input);
  const redis = dearest(
    input,
    ({ redis }) => redis.base,
    ({ redis }) => redis.slope / 1000,
  );
  const scripts = dearest(input, ({ scripts }) => scripts);
  const processes = dearest(input, baseOfProcess, slopeOfProcess);
  const network = dearest(
    input,
    (cost) => cost.received.base + cost.sent.base,
    (cost) => cost.received.slope + cost.sent.slope,
  );
  const processors = redis.sum / 1e6;
  const forMemory = Math.ceil(memory.maxmemory / CONSTANTS.shardMemory.value);
  const forProcessor = Math.ceil(processors / CONSTANTS.busyRedis.value);
  // What the application spends on its old store by itself is no cost of ours; a proxy is ours as a whole.
  const before = input.door === "library" ? inPhase(input, "legacy", baseOfProcess, slopeOfProcess) : 0;
  const own = Math.max(0, processes.sum - before) / 1e6;
  const backfill = jobOf("backfill", input);
  return {
    sessions: input.sessions,
    memory,
    redis: {
      phase: scripts.phase,
      scripts: scripts.sum,
      reads: input.reads,
      processors,
      shards: Math.max(1, forMemory, forProcessor),
      shardsFor: forMemory > forProcessor ? "memory" : "processor",
    },
    backfill,
    check: jobOf("check", input),
    processes: {
      phase: processes.phase,
      processors: own,
      proxies:
        input.door === "proxy"
          ? Math.max(CONSTANTS.fewestProxies.value, Math.ceil(own / CONSTANTS.busyProcess.value))
          : null,
    },
    network: {
      phase: network.phase,
      received: inPhase(
        input,
        network.phase,
        (cost) => cost.received.base,
        (cost) => cost.received.slope,
      ),
      sent: inPhase(
        input,
        network.phase,
        (cost) => cost.sent.base,
        (cost) => cost.sent.slope,
      ),
      backfill: backfill.rate * (mean(input.valueBytes) + CONSTANTS.backfillTraffic.value),
    },
  };
}

function memoryOf(input: PlanInput): Plan["memory"] {
  const { sessions, keyBytes, valueBytes, companions, undrained, memoryShare } = input;
  const tables = dictionaries(sessions);
  const session =
    mean(valueBytes.map((bytes) => keyWithLifetime(keyBytes, bytes))) + tables.settled / Math.max(1, sessions);
  const atRest = CONSTANTS.emptyRedis.value + sessions * session;
  // A session is dirty once, however often it changes meanwhile.
  const dirty = Math.min(sessions, (input.writes + input.touches) * undrained);
  const longer = (of: number) => of + allocated(keyBytes) - allocated(CONSTANTS.measuredKey.value);
  const marks = dirty * (longer(CONSTANTS.sidecar.value) + longer(CONSTANTS.dirtyEntry.value));
  const kept = sessions * companions * longer(CONSTANTS.companion.value);
  const most = atRest + marks + kept + (tables.growing - tables.settled);
  return {
    // Marks that stay until they are drained are those of the phases in which Redis is ahead.
    phase: "redis-first",
    session,
    atRest,
    marks,
    companions: kept,
    most,
    maxmemory: most / memoryShare,
  };
}

function jobOf(job: "backfill" | "check", { sessions, valueBytes, legacy, jobRate, speed }: PlanInput): JobPlan {
  const { base, slope } = JOB_TIMES[legacy][job];
  const micros = (base + (slope * mean(valueBytes)) / 1000) / speed;
  const free = 1e6 / micros;
  const rate = jobRate === 0 ? free : Math.min(jobRate, free);
  return { seconds: CONSTANTS.jobStart.value + sessions / rate, rate };
}

type Part = (cost: OperationCost) => number;

const baseOfProcess: Part = ({ process }) => process.base;
const slopeOfProcess: Part = ({ process }) => process.slope / 1000;

/** The phase in which the requests of a second cost most, and how much that is. */
function dearest(input: PlanInput, base: Part, slope: Part = () => 0): { phase: PhaseName; sum: number } {
  const phases = [...new Set(OPERATION_COSTS.map(({ phase }) => phase))];
  const sums = phases.map((phase) => ({ phase, sum: inPhase(input, phase, base, slope) }));
  return sums.reduce((most, each) => (each.sum > most.sum ? each : most));
}

function inPhase(input: PlanInput, phase: PhaseName, base: Part, slope: Part): number {
  const { door, reads, writes, touches, valueBytes } = input;
  const often = { get: reads, set: writes, touch: touches };
  const bytes = mean(valueBytes);
  return OPERATION_COSTS.filter((cost) => cost.door === door && cost.phase === phase).reduce(
    (sum, cost) => sum + often[cost.operation] * (base(cost) + slope(cost) * bytes),
    0,
  );
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
