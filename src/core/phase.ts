import { FerryError } from "../errors.js";
import { type BucketRange, bucketsBelow, inRange } from "./cohort.js";

export const PHASE_NAMES = ["legacy", "dual-write", "read-through", "redis-first", "full-redis", "complete"] as const;
export type PhaseName = (typeof PHASE_NAMES)[number];

/** What a node does with a session; the data of a phase's rungs. */
export interface Routes {
  /** `legacy`: L alone. `L` and `R`: the mode that `open` is asked with. `alone`: R alone, without marks. */
  readonly write: "legacy" | "L" | "R" | "alone";
  /** What a write in mode L closes with once L has it. */
  readonly close: "none" | "value";
  /** `L`: L alone. `through`: rule 2. `R`: R alone. */
  readonly read: "L" | "through" | "R";
  /**
   * `gap`: write L though R is away (rule 7). `fallback`: L answers reads while R is away (rule 2). `write-behind`:
   * answer what R has before L has it; without it a change in R is acknowledged, and told to readers, only once L has it.
   */
  readonly liberty: "none" | "gap" | "fallback" | "write-behind";
}

/** Work that the coordinator does between two rungs, while every node stands on the same one. */
export type WorkName =
  | "drop-records" // every R record of the changing buckets goes; all their nodes are in legacy
  | "evidence-stands" // refuse, and walk back, if evidence was voided since the transition began
  | "fleet-stands" // refuse, and walk back, if no application follows
  | "redis-stands" // R is the one that is trusted, and carries the stamp of this walk
  | "no-intents" // wait until no intent stands in R
  | "full-copy" // copy every live session of L until each ended as hit, dirty or filled
  | "push-missing" // give back to L every R record that it has lost
  | "drain-older" // wait until nothing is dirty any more that was when this began
  | "drain-dirty" // wait until the dirty index is empty
  | "clear-marks"; // remove leftover marks and seal R as complete

/**
 * One step of a phase's ladder. Rung 0 is the phase below with its liberty; the last rung is the phase itself. A
 * transition climbs or descends one rung at a time, and every rung is a barrier: it is left only when all nodes have
 * acknowledged it, which a node does once no operation begun under earlier routes is in flight any more and nothing
 * that the rung forbids (a gap) is left of it.
 */
export interface Rung {
  readonly name: string;
  readonly routes: Routes;
  /** Work done before this rung is published on the way up (from the rung below). */
  readonly enter?: readonly WorkName[];
  /** Work done while standing on this rung before the rung below is published, on the way down. */
  readonly leave?: readonly WorkName[];
}

export interface Phase {
  readonly name: PhaseName;
  readonly title: string;
  /** Empty for `legacy`, the ground. */
  readonly ladder: readonly Rung[];
  /** Work done after the last rung was acknowledged on the way up. */
  readonly settle?: readonly WorkName[];
  /** Default percentages; a config may change them. `legacy` and `complete` have none. */
  readonly ramp: readonly number[];
  /** False only for `complete`. */
  readonly reversible: boolean;
}

export type Phases = Readonly<Record<PhaseName, Phase>>;

export const LEGACY_ROUTES: Routes = { write: "legacy", close: "none", read: "L", liberty: "none" };

/** The buckets below `percent` are in `phase`, the rest in the phase below at 100 %. */
export interface Position {
  readonly phase: PhaseName;
  /** 1 to 100; always 100 for `legacy` and `complete`. */
  readonly percent: number;
}

/**
 * A change of position under way, between two neighbouring positions. Up it ends in `upper`, down in `lower`; reversing
 * it is turning the direction round, since the rungs between are the same.
 */
export interface Transition {
  readonly lower: Position;
  readonly upper: Position;
  /** The phase whose ladder is climbed or descended, by the buckets of `buckets` alone. */
  readonly ladder: PhaseName;
  readonly buckets: BucketRange;
  /** The published rung. */
  readonly rung: number;
  readonly direction: "up" | "down";
  /** Whether R was written first since the walk last stood on its lowest rung; absent in records of older builds. */
  readonly ahead?: boolean;
  /** Whether R may have what was answered and L has not: `write-behind` was in use, and not all is drained since. */
  readonly behind?: boolean;
  /**
   * What R's seal carries if R holds what it held when the authority moved to it in this walk (`redis-stands`): an R
   * without it restarted with data from before. Absent where the authority was R's before this walk, or is L's.
   */
  readonly stamp?: string;
  /** A jump that left Redis behind (demotion, redis-lost) can only be finished. */
  readonly oneWay: boolean;
  readonly by: string;
  readonly reason: string;
  /** Milliseconds since the epoch by the control store's clock. */
  readonly startedAt: number;
}

/** Where a transition ends if nobody reverses it. */
export function targetOf(transition: Transition): Position {
  return transition.direction === "up" ? transition.upper : transition.lower;
}

export function rankOf(phase: PhaseName): number {
  return PHASE_NAMES.indexOf(phase);
}

export function phaseBelow(phase: PhaseName): PhaseName {
  const below = PHASE_NAMES[rankOf(phase) - 1];
  if (below === undefined) throw new RangeError(`no phase lies below ${phase}`);
  return below;
}

export function finalRoutes(phase: Phase): Routes {
  return phase.ladder.at(-1)?.routes ?? LEGACY_ROUTES;
}

/** The phase that a bucket is in by a settled position. */
export function phaseOfBucket(position: Position, bucket: number): PhaseName {
  if (position.phase === "legacy" || bucket < bucketsBelow(position.percent)) return position.phase;
  return phaseBelow(position.phase);
}

export interface Placement {
  readonly phase: PhaseName;
  readonly routes: Routes;
}

/**
 * The rung that a pending transition stands on.
 * @throws FerryError PROTOCOL_MISMATCH where our ladder has none of that number: another release's, or damaged.
 */
export function publishedRung(phases: Phases, { ladder, rung }: Transition): Rung {
  const published = phases[ladder].ladder[rung];
  if (published !== undefined) return published;
  throw new FerryError(
    "PROTOCOL_MISMATCH",
    `The pending transition stands on rung ${rung} of ${ladder}, which this release does not have.`,
  );
}

/**
 * Where a bucket stands by a control record: its phase and the routes its nodes must take.
 * @throws FerryError PROTOCOL_MISMATCH as `publishedRung`.
 */
export function placementOf(
  phases: Phases,
  state: { readonly position: Position; readonly pending: Transition | null },
  bucket: number,
): Placement {
  const { position, pending } = state;
  if (pending !== null && inRange(bucket, pending.buckets)) {
    const rung = publishedRung(phases, pending);
    const arrived = pending.rung === phases[pending.ladder].ladder.length - 1;
    return { phase: arrived ? pending.ladder : phaseBelow(pending.ladder), routes: rung.routes };
  }
  const phase = phaseOfBucket(position, bucket);
  return { phase, routes: finalRoutes(phases[phase]) };
}
