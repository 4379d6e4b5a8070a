import { BUCKETS, bucketsBelow } from "./cohort.js";
import type { Position, Transition } from "./phase.js";

/** How the copies of a backfill ended, in sids. */
export interface BackfillCounts {
  readonly copied: number;
  readonly hit: number;
  readonly dirty: number;
  /** Listed, but gone from L when it was read. */
  readonly absent: number;
  readonly notYet: number;
  /** Cannot move: too large, an ignored key. */
  readonly skipped: number;
  /** Refused fills that were repeated; each sid ends in another count as well. */
  readonly refused: number;
  readonly failed: number;
}

export const NO_COUNTS: BackfillCounts = {
  copied: 0,
  hit: 0,
  dirty: 0,
  absent: 0,
  notYet: 0,
  skipped: 0,
  refused: 0,
  failed: 0,
};

/**
 * - `running`, `paused`: a process is at it, if `updatedAt` is young.
 * - `stopped`: ended before its end, by hand or by an error; the next backfill goes on from the cursor.
 * - `complete`: every sid listed was copied, or needed no copy.
 * - `incomplete`: it reached the end, but some sids failed; the next backfill begins anew.
 */
export type BackfillState = "running" | "paused" | "stopped" | "complete" | "incomplete";

/** Document kind `backfill`, id `current`. Times are the control store's, in milliseconds. */
export interface BackfillCheckpoint {
  readonly state: BackfillState;
  readonly startedAt: number;
  readonly updatedAt: number;
  readonly endedAt: number | null;
  /** The generation of R that it fills. */
  readonly generation: string;
  /** The buckets `[0, coveredBelow)` were in dual-write or above when it began. */
  readonly coveredBelow: number;
  /** The last sid of the last page that is done, sealed; null at the beginning. */
  readonly cursor: string | null;
  readonly counts: BackfillCounts;
  /** L's own count when it began. */
  readonly total: number;
  /** Sids a second, lately. */
  readonly rate: number;
  /** Whether it copies also what R holds already; absent in checkpoints of older builds. */
  readonly force?: boolean;
}

/**
 * True when R of this generation has had a whole backfill of the buckets below `below`, and has kept it.
 * @param copiesSince since when R has kept the copies of these buckets without a break; null: for ever
 */
export function isFilled(
  checkpoint: BackfillCheckpoint | null,
  generation: string,
  below: number,
  copiesSince: number | null = null,
): boolean {
  return (
    checkpoint !== null &&
    checkpoint.state === "complete" &&
    checkpoint.generation === generation &&
    checkpoint.coveredBelow >= below &&
    checkpoint.startedAt >= (copiesSince ?? 0)
  );
}

/** How many buckets, from 0 up, hold copies by this record: those in dual-write or above at both ends of what pends. */
export function coveredBelow(record: { readonly position: Position; readonly pending: Transition | null }): number {
  const { position, pending } = record;
  // A pending entry into dual-write, or a step down from it, counts when it has settled.
  const settled = pending?.ladder === "dual-write" ? pending.lower : position;
  if (settled.phase === "legacy") return 0;
  return settled.phase === "dual-write" ? bucketsBelow(settled.percent) : BUCKETS;
}
