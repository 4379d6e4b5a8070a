import { PHASE_NAMES, type PhaseName } from "../src/core/phase.js";

/** How much is measured. The sections are the same at every scale; only a full run is worth quoting. */
export interface Scale {
  readonly name: "full" | "quick" | "tiny";
  readonly operations: {
    readonly rounds: number;
    /** Milliseconds for which one operation of one store is repeated in a round. */
    readonly slice: number;
    /** Bytes of a session's value. */
    readonly sizes: readonly number[];
    /** Sessions that are worked on. */
    readonly sessions: number;
    readonly legacies: readonly LegacyName[];
    readonly phases: readonly PhaseName[];
  };
  readonly load: { readonly seconds: number; readonly rate: number; readonly legacies: readonly LegacyName[] };
  readonly door: { readonly seconds: number; readonly rate: number; readonly phases: readonly PhaseName[] };
  readonly backfill: { readonly sessions: number; readonly rounds: number; readonly legacies: readonly LegacyName[] };
  readonly transition: { readonly rounds: number; readonly rate: number };
  readonly growth: { readonly sessions: readonly number[] };
  readonly plan: {
    /** Sessions whose memory is measured. */
    readonly memory: number;
    /** Milliseconds for which one request is repeated. */
    readonly slice: number;
    readonly phases: readonly PhaseName[];
    /** By which the times of jobs are measured. */
    readonly sizes: readonly { readonly sessions: number; readonly bytes: number }[];
    /** Sessions for which everything is foretold and compared. */
    readonly sessions: number;
  };
}

export type LegacyName = "postgres" | "memcached";

const sized = (sessions: number) => [300, 1_000, 5_000].map((bytes) => ({ sessions, bytes }));

const BOTH = ["postgres", "memcached"] as const;

export const SCALES: Readonly<Record<Scale["name"], Scale>> = {
  full: {
    name: "full",
    operations: {
      rounds: 9,
      slice: 1_000,
      sizes: [1_000, 5_000],
      sessions: 10_000,
      legacies: BOTH,
      phases: PHASE_NAMES,
    },
    load: { seconds: 60, rate: 6_000, legacies: BOTH },
    door: { seconds: 60, rate: 6_000, phases: PHASE_NAMES },
    backfill: { sessions: 300_000, rounds: 3, legacies: BOTH },
    transition: { rounds: 10, rate: 1_000 },
    growth: { sessions: [10_000, 100_000, 1_000_000] },
    plan: { memory: 10_000, slice: 1_000, phases: PHASE_NAMES, sizes: sized(150_000), sessions: 300_000 },
  },
  quick: {
    name: "quick",
    operations: { rounds: 3, slice: 250, sizes: [1_000], sessions: 5_000, legacies: BOTH, phases: PHASE_NAMES },
    load: { seconds: 3, rate: 6_000, legacies: BOTH },
    door: { seconds: 5, rate: 6_000, phases: PHASE_NAMES },
    backfill: { sessions: 20_000, rounds: 2, legacies: BOTH },
    transition: { rounds: 2, rate: 1_000 },
    growth: { sessions: [5_000, 10_000, 30_000] },
    plan: { memory: 10_000, slice: 300, phases: PHASE_NAMES, sizes: sized(20_000), sessions: 50_000 },
  },
  // For the test of the bench itself: it shows that everything runs, its figures mean nothing.
  tiny: {
    name: "tiny",
    operations: {
      rounds: 2,
      slice: 30,
      sizes: [1_000],
      sessions: 50,
      legacies: ["postgres"],
      phases: ["dual-write", "full-redis"],
    },
    load: { seconds: 1, rate: 100, legacies: ["postgres"] },
    door: { seconds: 1, rate: 100, phases: ["dual-write"] },
    backfill: { sessions: 500, rounds: 1, legacies: BOTH },
    transition: { rounds: 1, rate: 100 },
    growth: { sessions: [200, 500] },
    plan: { memory: 10_000, slice: 30, phases: ["dual-write"], sizes: [], sessions: 3_000 },
  },
};
