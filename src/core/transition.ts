import { BUCKETS, type BucketRange, bucketsBelow } from "./cohort.js";
import {
  PHASE_NAMES,
  type PhaseName,
  type Phases,
  type Placement,
  type Position,
  phaseBelow,
  placementOf,
  publishedRung,
  type Routes,
  rankOf,
  type Transition,
  targetOf,
} from "./phase.js";

/**
 * The walk between positions (rule 8), as pure changes of the control record. The coordinator, and any node that
 * demotes the fleet, publishes them by compare-and-set.
 */
export interface Steering {
  readonly position: Position;
  readonly pending: Transition | null;
  readonly generation: string;
  readonly interrupted: boolean;
}

export interface Author {
  readonly by: string;
  readonly reason: string;
  /** The control store's clock, milliseconds since the epoch. */
  readonly at: number;
}

export function samePosition(a: Position, b: Position): boolean {
  return a.phase === b.phase && a.percent === b.percent;
}

/** Negative when `a` lies below `b`. */
export function comparePositions(a: Position, b: Position): number {
  return rankOf(a.phase) - rankOf(b.phase) || a.percent - b.percent;
}

/** Whose ladder, and which buckets, lie between two neighbouring positions; null when they are not neighbours. */
export function spanBetween(lower: Position, upper: Position): { ladder: PhaseName; buckets: BucketRange } | null {
  if (lower.phase === upper.phase && lower.percent < upper.percent) {
    return { ladder: upper.phase, buckets: [bucketsBelow(lower.percent), bucketsBelow(upper.percent)] };
  }
  if (rankOf(upper.phase) === rankOf(lower.phase) + 1 && lower.percent === 100) {
    return { ladder: upper.phase, buckets: [0, bucketsBelow(upper.percent)] };
  }
  return null;
}

/**
 * Begins the walk to a neighbouring position. The first rung published is the one all nodes stand on already: its
 * barrier makes sure that they do before any work begins.
 */
export function begin(state: Steering, to: Position, phases: Phases, author: Author): Steering {
  if (state.pending !== null) throw new RangeError("a transition is pending already");
  const direction = comparePositions(to, state.position) > 0 ? "up" : "down";
  const [lower, upper] = direction === "up" ? [state.position, to] : [to, state.position];
  const span = spanBetween(lower, upper);
  if (span === null) throw new RangeError(`${to.phase} ${to.percent} % is no neighbour`);
  const rung = direction === "up" ? 0 : phases[span.ladder].ladder.length - 1;
  const { by, reason, at } = author;
  const routes = phases[span.ladder].ladder[rung]?.routes;
  const ahead = routes?.write === "R";
  const behind = routes?.liberty === "write-behind";
  return {
    ...state,
    pending: { lower, upper, ...span, rung, direction, ahead, behind, oneWay: false, by, reason, startedAt: at },
  };
}

/**
 * The next rung in the transition's direction, or the settled position after the last.
 *
 * @param stamp that of the `redis-stands` that was done before the next rung.
 */
export function proceed(state: Steering, phases: Phases, stamp?: string): Steering {
  const { pending } = state;
  if (pending === null) throw new RangeError("no transition is pending");
  publishedRung(phases, pending);
  const last = pending.direction === "up" ? phases[pending.ladder].ladder.length - 1 : 0;
  if (pending.rung === last) return { ...state, position: targetOf(pending), pending: null };
  const rung = pending.rung + (pending.direction === "up" ? 1 : -1);
  const routesOf = (at: number) => phases[pending.ladder].ladder[at]!.routes;
  // What was ahead has been drained before the lowest rung is published.
  const ahead = rung > 0 && (pending.ahead || routesOf(rung).write === "R");
  // What was answered while others had the liberty has been drained where nobody has it any more, before the way goes on.
  const isDrained = pending.direction === "down" && routesOf(pending.rung).liberty !== "write-behind";
  const behind = routesOf(rung).liberty === "write-behind" || (mayBeBehind(pending) && !isDrained);
  const { stamp: before, ...others } = pending;
  // What R may be ahead with dates from before this stamp, which would make it look like data from before.
  const standing = mayBeBehind(pending) ? before : (stamp ?? before);
  return { ...state, pending: { ...others, rung, ahead, behind, ...(behind && standing && { stamp: standing }) } };
}

/** Whether R may have what was answered and L has not. Builds before `behind` knew only whether R was written first. */
export function mayBeBehind({ behind, ahead }: Transition): boolean {
  return behind ?? ahead ?? true;
}

/** Whether a pending transition may be turned round where it stands. */
export function isReversible(pending: Transition, phases: Phases): boolean {
  if (pending.oneWay) return false;
  if (pending.direction === "up") return phases[pending.ladder].reversible || pending.rung === 0;
  // At the lowest rung the lower phase's liberty has been given back: what it allowed may have happened already.
  return pending.rung > 0;
}

export function reverse(state: Steering, phases: Phases, author: Author): Steering {
  const { pending } = state;
  if (pending === null || !isReversible(pending, phases)) throw new RangeError("this transition cannot be reversed");
  const direction = pending.direction === "up" ? "down" : "up";
  return { ...state, pending: { ...pending, direction, by: author.by, reason: author.reason } };
}

/** The placements in force, each with the run of buckets that share it. */
export function segments(state: Steering, phases: Phases): { buckets: BucketRange; placement: Placement }[] {
  const edges = [0, bucketsBelow(state.position.percent), ...(state.pending?.buckets ?? []), BUCKETS];
  const starts = [...new Set(edges)].sort((a, b) => a - b);
  return starts.slice(0, -1).map((start, i) => ({
    buckets: [start, starts[i + 1]!] as const,
    placement: placementOf(phases, state, start),
  }));
}

export function someBucket(state: Steering, phases: Phases, holds: (routes: Routes) => boolean): boolean {
  return segments(state, phases).some(({ placement }) => holds(placement.routes));
}

/** Whether any bucket is read from R. */
export function someBucketReadsRedis(state: Steering, phases: Phases): boolean {
  return someBucket(state, phases, (routes) => routes.read !== "L");
}

/** Whether some node, a rung behind perhaps, may read R. */
export function redisMayBeRead({ position, pending }: Steering): boolean {
  return rankOf(position.phase) > rankOf("dual-write") || (pending !== null && pending.ladder !== "dual-write");
}

/**
 * Whether some bucket may hold changes in R that L has not got: then only --redis-lost leads down without R. On the way
 * between read-through and redis-first that begins with the rung on which R is written first, and ends with the drain:
 * before and after it an R that is lost is left as in read-through, or nobody who owes it anything could ever go on.
 */
export function redisMayBeAhead({ position, pending }: Steering): boolean {
  const authority = rankOf("redis-first");
  if (pending?.ladder === "redis-first" && pending.lower.phase === "read-through") return pending.ahead ?? true;
  return rankOf(position.phase) >= authority || (pending !== null && rankOf(pending.ladder) >= authority);
}

/** Whether what R is ahead with is carried to L: not where R is being left behind, since L alone counts from there. */
export function redisIsDrained(state: Steering): boolean {
  return redisMayBeAhead(state) && !state.pending?.oneWay;
}

/**
 * Whether R is the authority of every session, for every node that follows this record or a neighbouring one. Only then
 * may an R that restarted with what it had kept be taken as it is: wherever L is the authority, or was a moment ago for
 * a node that is a rung behind, an older R contradicts what L has acknowledged since.
 */
export function redisIsSoleAuthority({ position, pending }: Steering): boolean {
  if (pending !== null && (pending.oneWay || pending.ladder === "redis-first")) return false;
  return comparePositions(position, { phase: "redis-first", percent: 100 }) >= 0;
}

/** Whether R is the authority of some sessions and L of others: an R that restarted must be reclaimed (rule 10). */
export function authorityIsDivided(state: Steering): boolean {
  return redisIsDrained(state) && !redisIsSoleAuthority(state);
}

const DUAL_WRITE: Position = { phase: "dual-write", percent: 100 };

/**
 * Rule 12, and rollback --redis-lost: the buckets above dual-write jump to the rung of read-through's ladder on which
 * L is read and no gap is taken yet; the ordinary walk down then gives the gap liberty back. Where nothing is dirty
 * the routes of the jump mix freely with read-through's own: writes of both open intents, reads of both see L's value.
 */
export function abandonRedis(state: Steering, phases: Phases, author: Author, generation = state.generation): Steering {
  const ladder = "read-through";
  const rung = phases[ladder].ladder.findIndex(({ routes }) => routes.read === "L" && routes.liberty === "none");
  // Buckets that are in dual-write now keep their gap liberty.
  const percent = redisMayBeAhead(state)
    ? 100
    : Math.max(...standing(state).map((at) => (at.phase === ladder ? at.percent : 0)));
  return {
    ...state,
    generation,
    pending: {
      lower: DUAL_WRITE,
      upper: { phase: ladder, percent },
      ladder,
      buckets: [0, bucketsBelow(percent)],
      rung,
      direction: "down",
      ahead: false,
      behind: false,
      oneWay: true,
      by: author.by,
      reason: author.reason,
      startedAt: author.at,
    },
  };
}

/**
 * Rule 11, when the whole fleet was away: somebody may have written L behind our back, so R's records are worth
 * nothing wherever L is the authority. Where R is the authority of every session, nothing changes; where the two divide
 * them, the position stays, and a new generation asks for R to be reclaimed. Else R is left behind under a new
 * generation. Where R was read, that is the way down of a demotion, because a process of the old fleet may only have
 * been frozen: nobody writes L without R before it has acknowledged, or is fenced off.
 */
export function setBack(state: Steering, phases: Phases, author: Author, generation: string): Steering {
  const cleared = { ...state, interrupted: false };
  if (redisIsSoleAuthority(state)) return cleared;
  if (authorityIsDivided(state)) return { ...cleared, generation };
  const { position, pending } = state;
  if (pending?.oneWay) return redisMayBeAhead(state) ? cleared : { ...cleared, generation };
  const climbed = standing(state).some(({ phase }) => phase === "read-through");
  if (climbed) return abandonRedis(cleared, phases, author, generation);
  return { ...cleared, position: pending?.lower ?? position, pending: null, generation };
}

/** The settled position, and both ends of the walk. */
function standing({ position, pending }: Steering): Position[] {
  return pending === null ? [position] : [position, pending.lower, pending.upper];
}

/** The position one ramp step up, or null at the top. */
export function nextPosition(
  position: Position,
  ramps: Readonly<Record<PhaseName, readonly number[]>>,
): Position | null {
  if (position.phase === "complete") return null;
  const higher = ramps[position.phase].find((percent) => percent > position.percent);
  if (higher !== undefined && position.phase !== "legacy") return { phase: position.phase, percent: higher };
  return firstStepOf(phaseAbove(position.phase), ramps);
}

export function firstStepOf(phase: PhaseName, ramps: Readonly<Record<PhaseName, readonly number[]>>): Position {
  return { phase, percent: ramps[phase][0] ?? 100 };
}

function phaseAbove(phase: PhaseName): PhaseName {
  return PHASE_NAMES[rankOf(phase) + 1]!;
}

/** The position that one rollback leads to: the phase below at 100 %; null in legacy. */
export function positionBelow(position: Position): Position | null {
  return position.phase === "legacy" ? null : { phase: phaseBelow(position.phase), percent: 100 };
}
