import type { PhaseName } from "../src/core/phase.js";

/** What a measured process is asked over its channel, and what it answers. */

/** Which store a process measures: ours by its configuration, or what the application had and will have. */
export type StoreSpec =
  | { readonly kind: "ferry"; readonly config: object; readonly phase: PhaseName }
  | { readonly kind: "connect-pg-simple"; readonly url: string; readonly table: string; readonly connections: number }
  | {
      readonly kind: "connect-memcached";
      readonly address: string;
      readonly prefix: string;
      readonly connections: number;
    }
  /** A client of memcached's text protocol, of a server or a proxy on loopback. */
  | { readonly kind: "memcached-text"; readonly port: number; readonly prefix: string; readonly connections: number }
  | { readonly kind: "connect-memjs"; readonly address: string; readonly prefix: string }
  | { readonly kind: "connect-redis"; readonly url: string; readonly prefix: string };

export type Operation = "get" | "set" | "touch";

export type Ask =
  | { readonly verb: "fill"; readonly sessions: number; readonly bytes: number }
  | {
      readonly verb: "repeat";
      readonly operation: Operation;
      readonly milliseconds: number;
      readonly concurrency: number;
      readonly sessions: number;
      readonly bytes: number;
    }
  | {
      readonly verb: "pace";
      /** Operations a second, begun at their own times whatever became of those before. */
      readonly rate: number;
      /** At most: `stop` ends it before. */
      readonly milliseconds: number;
      /** Shares of the operations, which add up to 1. */
      readonly mix: Readonly<Partial<Record<Operation, number>>>;
      readonly sessions: number;
      readonly bytes: number;
    }
  /** No question: it ends the pacing that is under way, which answers. */
  | { readonly verb: "stop" }
  | { readonly verb: "memory" }
  | { readonly verb: "close" };

/** Latencies in milliseconds. */
export interface Slice {
  readonly operations: number;
  readonly errors: number;
  readonly seconds: number;
  /** Of this process; microseconds. */
  readonly processor: number;
  readonly p50: number;
  readonly p95: number;
  readonly p999: number;
  readonly slowest: number;
}

export interface Paced extends Slice {
  /** When each operation was due, milliseconds since the epoch, ascending. */
  readonly due: Float64Array;
  /** From then until its answer. */
  readonly latencies: Float64Array;
  /** When this process took new routes, milliseconds since the epoch. */
  readonly routes: readonly number[];
  /** What the first failures said. */
  readonly failures: readonly string[];
}

export interface Answers {
  readonly fill: null;
  readonly repeat: Slice;
  readonly pace: Paced;
  /** Bytes, now and at most so far. */
  readonly stop: null;
  readonly memory: { readonly resident: number; readonly peak: number };
  readonly close: null;
}
