import {
  PHASE_NAMES,
  type PhaseName,
  type Phases,
  type Position,
  rankOf,
  type Transition,
  targetOf,
} from "../core/phase.js";
import {
  comparePositions,
  firstStepOf,
  isReversible,
  nextPosition,
  positionBelow,
  type Steering,
  samePosition,
} from "../core/transition.js";
import { FerryError } from "../errors.js";

/** The way as it is laid out: the phases' ladders, and the percentages of the configuration. */
export interface Way {
  readonly phases: Phases;
  readonly ramps: Readonly<Record<PhaseName, readonly number[]>>;
}

export interface AdvanceGoal {
  readonly to?: PhaseName | undefined;
  readonly percent?: number | undefined;
}

/** What a phase command should do, decided by the record alone. */
export type Decision =
  /** Nothing: it stands there, or beyond. */
  | { readonly kind: "stay"; readonly target: Position }
  | { readonly kind: "move"; readonly target: Position }
  /** The same transition is pending: go on with it. */
  | { readonly kind: "finish"; readonly target: Position }
  /** The opposite one is pending: turn it round. */
  | { readonly kind: "reverse"; readonly target: Position };

/**
 * `phase advance [--to NAME] [--percent N]`. Naming a phase enters it at the first step of its ramp and asks for no
 * more, so that a script that repeats its command never moves twice; a percentage names the position exactly.
 *
 * @throws FerryError USAGE where the position is not the next one up, TRANSITION_PENDING, IRREVERSIBLE
 */
export function decideAdvance({ position, pending }: Steering, way: Way, goal: AdvanceGoal): Decision {
  const { phases, ramps } = way;
  if (pending !== null) {
    const { lower, upper, direction } = pending;
    const meant = askedPosition(lower, ramps, goal) ?? upper;
    const isMeant = samePosition(upper, meant) || (goal.percent === undefined && goal.to === upper.phase);
    if (isMeant && direction === "up") return { kind: "finish", target: upper };
    if (isMeant && isReversible(pending, phases)) return { kind: "reverse", target: upper };
    if (!isMeant && comparePositions(meant, lower) <= 0) return { kind: "stay", target: lower };
    throw pendingElsewhere(pending, way);
  }
  const target = askedPosition(position, ramps, goal) ?? nextPosition(position, ramps);
  if (target === null || comparePositions(target, position) <= 0) return { kind: "stay", target: position };
  const gap = rankOf(target.phase) - rankOf(position.phase);
  if (gap > 1 || (gap === 1 && position.percent < 100)) {
    const next = nextPosition(position, ramps);
    throw new FerryError("USAGE", `${shown(target)} is not next after ${shown(position)}: no phase is skipped.`, {
      remedy: "Take the steps between one by one.",
      ...(next === null ? {} : { next: advanceCommand(next, ramps) }),
    });
  }
  return { kind: "move", target };
}

/** The position that an advance names, or null where it names none: the next one then. */
function askedPosition(position: Position, ramps: Way["ramps"], { to, percent }: AdvanceGoal): Position | null {
  if (to === undefined && percent === undefined) return null;
  const phase = to ?? nextPosition(position, ramps)?.phase ?? position.phase;
  if (phase !== "legacy" && phase !== "complete") {
    return percent === undefined ? firstStepOf(phase, ramps) : { phase, percent };
  }
  if (percent === undefined || percent === 100) return { phase, percent: 100 };
  throw new FerryError("USAGE", `${phase} has no percentage: everybody is in it at once.`);
}

/**
 * `phase rollback [--to NAME]`: the next step down on the way to NAME, or to the phase below. Called again after each
 * step until it answers "stay".
 *
 * @param start where the command found the migration: without a name it goes one phase down from there.
 * @throws FerryError USAGE, IRREVERSIBLE
 */
export function decideRollback(
  { position, pending }: Steering,
  asked: { readonly to?: PhaseName | undefined; readonly start: Steering },
): Decision {
  if (position.phase === "complete") throw new FerryError("IRREVERSIBLE", "complete cannot be undone.");
  const goal = asked.to === undefined ? goalBelow(asked.start) : { phase: asked.to, percent: 100 };
  if (pending !== null) {
    const { lower, upper, direction } = pending;
    if (direction === "down") {
      if (comparePositions(targetOf(pending), goal) < 0 && asked.to !== undefined) throw leadsBelow(pending, goal);
      return { kind: "finish", target: targetOf(pending) };
    }
    if (pending.ladder === "complete" && pending.rung > 0) {
      throw new FerryError("IRREVERSIBLE", "The step to complete has begun and cannot be undone.", {
        remedy: "Finish it.",
        next: "sessionferry phase advance --to complete",
      });
    }
    // Asked to stay in the very phase that is being entered: then its own step up is no business of a rollback.
    if (comparePositions(upper, goal) <= 0) return { kind: "stay", target: lower };
    return { kind: "reverse", target: lower };
  }
  if (comparePositions(position, goal) <= 0) return { kind: "stay", target: position };
  // Whoever names a phase wants to be in it; who names none wants the step undone that he found pending.
  if (position.phase === goal.phase) {
    return asked.to === undefined ? { kind: "move", target: goal } : { kind: "stay", target: position };
  }
  const below = positionBelow(position);
  if (below === null) return { kind: "stay", target: position };
  return { kind: "move", target: below };
}

function leadsBelow(pending: Transition, goal: Position): FerryError {
  const target = shown(targetOf(pending));
  return new FerryError("TRANSITION_PENDING", `A step to ${target} is pending, which leads below ${shown(goal)}.`, {
    remedy: "Finish it by a rollback that names no higher phase, or turn it round by an advance to where it came from.",
    next: "sessionferry status",
  });
}

/** Without a name: out of a pending step, or one phase down. */
function goalBelow({ position, pending }: Steering): Position {
  if (pending !== null) return pending.lower;
  return positionBelow(position) ?? position;
}

/** The positions that a rollback passes, for its plan. */
export function wayDown(state: Steering, to: PhaseName | undefined): Position[] {
  const way: Position[] = [];
  let at: Steering = state;
  for (;;) {
    const decision = decideRollback(at, { to, start: state });
    if (decision.kind === "stay") return way;
    way.push(decision.target);
    at = { ...at, position: decision.target, pending: null };
  }
}

/** The phases that a rollback may be told to go to. */
export const ROLLBACK_GOALS = PHASE_NAMES.filter((name) => name !== "complete" && name !== "full-redis");

const ROLLBACK = "sessionferry phase rollback";

/** The command that leads to a position. */
export function advanceCommand(target: Position, ramps: Way["ramps"]): string {
  const exact = samePosition(firstStepOf(target.phase, ramps), target) ? "" : ` --percent ${target.percent}`;
  return `sessionferry phase advance --to ${target.phase}${exact}`;
}

export function shown({ phase, percent }: Position): string {
  return phase === "legacy" || phase === "complete" ? phase : `${phase} ${percent} %`;
}

function pendingElsewhere(pending: Transition, way: Way): FerryError {
  const { ramps } = way;
  const [from, to] = pending.direction === "up" ? [pending.lower, pending.upper] : [pending.upper, pending.lower];
  const told = `the step from ${shown(from)} to ${shown(to)} is recorded and pending`;
  const finish = pending.direction === "up" ? advanceCommand(to, ramps) : ROLLBACK;
  return new FerryError("TRANSITION_PENDING", `The step from ${shown(from)} to ${shown(to)} is pending.`, {
    remedy: `Finish it with: ${finish}${orReverse(pending, way)}`,
    changed: told,
    next: finish,
  });
}

/** What to do about a transition that the same command would go on with. */
export function wayOut(pending: Transition, way: Way): string {
  return `Repeat the same command to finish the transition${orReverse(pending, way)}`;
}

/** A rollback takes a step up back, and finishes a step down. */
function orReverse(pending: Transition, { phases, ramps }: Way): string {
  if (!isReversible(pending, phases)) return "; it cannot be reversed any more.";
  return `, or reverse it with: ${pending.direction === "up" ? ROLLBACK : advanceCommand(pending.upper, ramps)}`;
}
