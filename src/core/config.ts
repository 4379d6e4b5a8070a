import type { PhaseName } from "./phase.js";

/** The frozen configuration of one process. Durations are milliseconds, shares are 0 to 1, percentages 1 to 100. */
export interface Config {
  /** Namespace of everything we write. */
  readonly migration: string;
  readonly legacy: {
    readonly preset: string;
    readonly url: string;
    /** SQL: the session table, where it is not the preset's. */
    readonly table?: string;
    /** memcached: the key prefix, where it is not the preset's. */
    readonly prefix?: string;
    /** Several memcached servers: the client's own rule, or that only the client knows it. */
    readonly distribution?: "modulo" | "ketama" | "client";
    /** memcached: options of Node's tls.connect; none for plain connections. */
    readonly tls: Readonly<Record<string, unknown>>;
    readonly preparedStatements: boolean;
    /** Connections to the legacy store of one process. */
    readonly connections: number;
  };
  readonly redis: {
    readonly preset: string;
    readonly url: string;
    readonly prefix?: string;
    readonly wait: { readonly destroy: number; readonly open: number };
    readonly tls: Readonly<Record<string, unknown>>;
  };
  /** Where the fleet is steered from: the schema `sessionferry` of a PostgreSQL database, or a Redis. */
  readonly control: { readonly url: string };
  readonly onRedisDown: "demote" | "fail";
  readonly timeouts: {
    /** How long a request waits for Redis where it can go on without. */
    readonly redis: number;
    /** A request's deadline otherwise. */
    readonly legacy: number;
    readonly acknowledge: number;
    readonly drain: number;
  };
  readonly ramps: Readonly<Partial<Record<PhaseName, readonly number[]>>>;
  readonly gates: {
    readonly freshness: number;
    readonly maxMissing: number;
    readonly maxMismatched: number;
    readonly maxExpiry: number;
    readonly maxResurrected: number;
    readonly ttlTolerance: number;
    readonly minCoverage: number;
    readonly maxUnverified: number;
    readonly maxErrorRate: number;
    readonly maxP95: number;
    readonly maxRedisMemory: number;
    readonly maxDirtyAge: number;
    readonly minStay: Readonly<Partial<Record<PhaseName, number>>>;
  };
  readonly backfill: { readonly batch: number; readonly concurrency: number; readonly rate: number };
  /** `queue` is a Redis. */
  readonly workers: { readonly queue: string; readonly concurrency: number };
  readonly proxy: {
    readonly listeners: readonly { readonly listen: string; readonly server: string }[];
    /** Where /healthz, /readyz and /metrics are: host:port, or "none". */
    readonly http: string;
    readonly allowFlush: boolean;
    /** Nobody needs to authenticate where it is empty. */
    readonly sasl: readonly { readonly user: string; readonly password: string }[];
    /** Options of Node's tls.createServer; none for plain connections. */
    readonly tls: Readonly<Record<string, unknown>>;
    readonly tokens: boolean;
    /** Sizes in bytes. */
    readonly limits: {
      readonly connections: number;
      readonly itemSize: number;
      readonly memory: number;
      readonly idle: number;
      readonly stall: number;
    };
  };
  readonly drain: { readonly every: number; readonly rate: number };
  readonly touchEvery: number;
  readonly accept: readonly ("eviction" | "bypass")[];
}
