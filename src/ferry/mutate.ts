import type { Placement, Routes } from "../core/phase.js";
import type { Sid } from "../core/session.js";
import { redisIsDrained } from "../core/transition.js";
import { FerryError } from "../errors.js";
import { LegacyRefused, LegacyUnreachable, OutcomeUnknown } from "../ports/legacy-store.js";
import { type OpenMode, type Outcome, RedisUnreachable } from "../ports/redis-records.js";
import { closeIntent, type FerryContext, passing, redisLimits } from "./context.js";
import { drainOne } from "./drain.js";
import { isRedisFailure } from "./failures.js";
import { forgets, giveBack, Turn } from "./give-back.js";
import { Hold, isRepeatable } from "./hold.js";
import type { Operation } from "./routing.js";
import { isWriteThrough, settle } from "./settle.js";
import type { Drained } from "./shared-drains.js";

/** What R's `open` or `openIf` said. */
export type Opened<T> =
  | { readonly to: "L" }
  | { readonly to: "R"; readonly value: T }
  /** It was to be opened alone, and others stand. */
  | { readonly to: "busy" }
  /** It was to be opened clean, and R is ahead. */
  | { readonly to: "dirty" }
  /** Rule 13 (3): R must learn L's state first; with a value it was the answer already. */
  | { readonly to: "unknown"; readonly learn: () => Promise<{ readonly value: T } | null> };

/** One verb that changes a session, as each store carries it out. */
export interface Mutation<T> {
  readonly script: "open" | "openIf";
  /** On L. */
  legacy(): Promise<T>;
  /** On R without marks, in complete. */
  alone(): Promise<T>;
  /** @param alone the intent must not stand beside others (rule 9); asked of verbs with `lacks` only. */
  open(intent: string, mode: OpenMode, routes: Routes, alone: boolean): Promise<Opened<T>>;
  /** Whether L refused the verb because it has no such session. Absent where the verb needs none. */
  lacks?(answered: T): boolean;
  /** Whether L, refusing the verb, may have dropped what it had, as memcached does with a `set`. */
  readonly isBlind?: boolean;
  /** What L holds once it has answered so. */
  outcome(answered: T): Outcome;
  /** Whether R, having answered so, keeps nothing of the session. Absent where the verb always leaves something. */
  ends?(answered: T): boolean;
}

/**
 * So often an unknown state is made known without a pause: each try needs a writer to come between. Or what R has belongs to
 * another server of a pool, which L gets only when somebody drains it.
 */
const TRIES = 16;

/** Milliseconds at most before it is tried again. */
const LONGEST_PAUSE = 50;

/** So often a session is drained before it is changed: in a pool it may stay dirty for another server all the same. */
const DRAINS = 4;

/**
 * Rule 1. `open` in R; answer "R": it is done, once L has it where that is asked (rule 5; settle.ts). Answer "L": write L,
 * acknowledge, then close the intent with what L holds now; the close may run after the acknowledgement. If the value that L
 * holds is not known, close with none.
 *
 * Whoever in mode L meets a session of which R is ahead drains it first: on the way down R is written no more then, so that
 * what is dirty comes to an end, however often it is written. Only where that does not help (L refuses what R has, or
 * others are faster all the time) R takes the change as well, and is as far ahead as before.
 *
 * Rule 7, where R cannot be asked: with the gap liberty L is written anyway, after the sid and the intent were put
 * into the gap; without it L is not written, and the request is held. A lost reply is an error, never a retry.
 *
 * Nothing is begun anew once the request's time is over: whoever was told so may have logged out meanwhile.
 */
export async function mutate<T>(ctx: FerryContext, sid: Sid, mutation: Mutation<T>): Promise<T> {
  const hold = new Hold(ctx);
  const turn = new Turn(ctx);
  const until = ctx.clock.elapsed() + ctx.limits.request;
  let unproven = 0;
  let drains = 0;
  let tries = 0;
  for (let isFirst = true; isFirst || ctx.clock.elapsed() < until; isFirst = false) {
    const operation = ctx.routing.begin(sid);
    const { placement } = operation;
    const { routes } = placement;
    if (routes.write === "legacy") return onLegacy(mutation.legacy, () => operation.end());
    if (routes.write === "alone") return ending(operation, mutation.alone);

    const intent = ctx.ids.next();
    let run: string | null = null;
    const inGap = (mayStand: boolean) => writeInGap(ctx, operation, sid, intent, mayStand, mutation.legacy);
    if (routes.liberty === "gap" && ctx.health.state !== "up") return inGap(false);
    let opened: Opened<T>;
    try {
      run = ctx.records.runOf(sid);
      const alone = mutation.lacks !== undefined && forgets(ctx, routes) && !turn.isOver;
      const isDrained = drains < DRAINS && !turn.isOver && redisIsDrained(ctx.routing.record);
      const mode = routes.write === "R" ? "R" : isDrained ? "L-if-clean" : "L";
      opened = await mutation.open(intent, mode, routes, alone);
      run ??= ctx.records.runOf(sid);
      ctx.health.succeeded();
    } catch (error) {
      if (!isRedisFailure(error)) {
        operation.end();
        throw error;
      }
      ctx.health.failed(error);
      ctx.observer.event({ type: "mirror-failure", failedOn: "redis", verb: mutation.script, error });
      const mayStand = error instanceof RedisUnreachable && error.sent;
      if (routes.liberty === "gap") return inGap(mayStand);
      if (mayStand) ctx.arrears.strayIntent(sid, intent, "opened");
      operation.end();
      await hold.after(error, isRepeatable(error, routes));
      continue;
    }
    if (opened.to === "busy") {
      operation.end();
      await turn.pause();
      continue;
    }
    if (opened.to === "dirty") {
      operation.end();
      try {
        const outcome = await drainFirst(ctx, sid, until);
        // Of one that is left another drainer has hold.
        if (outcome !== "left") drains += outcome === "refused" ? DRAINS : 1;
        await turn.pause();
      } catch (error) {
        if (!isRedisFailure(error)) throw error;
        ctx.health.failed(error);
        await hold.after(error, true);
      }
      continue;
    }
    if (opened.to === "L") {
      const answered = await writeMirrored(ctx, operation, sid, intent, mutation);
      if (answered.isProven || turn.isOver || ++unproven > TRIES) return answered.value;
      await turn.pause();
      continue;
    }
    if (opened.to === "R") {
      const { value } = opened;
      if (!mustSettle(placement, mutation.ends?.(value) ?? false)) operation.end();
      else await ending(operation, () => settleChange(ctx, sid, run));
      return value;
    }
    let answer: { readonly value: T } | null;
    try {
      answer = await ending(operation, opened.learn);
    } catch (error) {
      if (!isRedisFailure(error)) throw error;
      ctx.health.failed(error);
      // What was learned, or filled under a lease that stood, changed nothing.
      await hold.after(error, true);
      continue;
    }
    if (answer !== null) return answer.value;
    if (++tries > TRIES) await ctx.clock.sleep(Math.min(tries - TRIES, LONGEST_PAUSE));
  }
  throw new FerryError("DEADLINE", "The session could not be changed in time; nothing was changed.");
}

/**
 * Rule 5: in redis-first what ends a session is acknowledged only after L has lost it too, since a node that still reads L
 * on a miss, or a rollback, must not find it there. In full-redis the dirty mark alone is enough.
 */
function mustSettle({ phase, routes }: Placement, ends: boolean): boolean {
  return isWriteThrough(routes) || (ends && phase !== "full-redis");
}

/** Nothing that the request asks for has been changed by then. */
async function drainFirst(ctx: FerryContext, sid: Sid, until: number): Promise<Drained> {
  try {
    return await drainOne(ctx, sid, until);
  } catch (error) {
    throw error instanceof OutcomeUnknown ? new LegacyUnreachable(error.message) : error;
  }
}

const UNSETTLED = {
  unknown: "Redis restarted, or failed over, meanwhile.",
  refused: "The legacy store does not take it.",
};

/** Whatever goes wrong now, R has been changed. */
async function settleChange(ctx: FerryContext, sid: Sid, run: string | null): Promise<void> {
  let cause: unknown;
  try {
    const settled = await settle(ctx, sid, run);
    if (settled === "settled") return;
    cause = new Error(UNSETTLED[settled]);
  } catch (error) {
    if (isRedisFailure(error)) ctx.health.failed(error);
    cause = error;
  }
  throw new FerryError("OUTCOME_UNKNOWN", "Redis was changed; whether the legacy store has it is not known.", {
    cause,
  });
}

async function ending<T>(operation: Operation, perform: () => Promise<T>): Promise<T> {
  try {
    return await perform();
  } finally {
    operation.end();
  }
}

/** What L answered; that it refused; that it was not reached, and so has changed nothing; or that nobody knows. */
type Ended<T> = { readonly value: T } | "refused" | "unreached" | "unknown";

/**
 * Runs a write on L. `ended` is called exactly once, when the write can no longer take effect: at once when L answered,
 * and after L's word on it when the reply was lost (rule 6).
 */
async function onLegacy<T>(perform: () => Promise<T>, ended: (result: Ended<T>) => void): Promise<T> {
  let value: T;
  try {
    value = await perform();
  } catch (error) {
    if (error instanceof OutcomeUnknown) void error.settled.then(() => ended("unknown"));
    else if (error instanceof LegacyUnreachable) ended("unreached");
    else ended(error instanceof LegacyRefused ? "refused" : "unknown");
    throw error;
  }
  ended({ value });
  return value;
}

/** A write with the gap liberty: the entry stands before L is written, and settles when the write has ended. */
async function writeInGap<T>(
  ctx: FerryContext,
  operation: Operation,
  sid: Sid,
  intent: string,
  mayStand: boolean,
  perform: () => Promise<T>,
): Promise<T> {
  ctx.arrears.openGap(sid, intent, mayStand);
  ctx.observer.event({ type: "gap", size: ctx.arrears.gapSize });
  return onLegacy(perform, () => {
    ctx.arrears.settleGap(sid, intent);
    operation.end();
  });
}

/** What L said in the end. Not proven: it lacks the session, changed nothing, and R may still keep it. */
interface Answered<T> {
  readonly value: T;
  readonly isProven: boolean;
}

/** A write between an open answered "L" and its close, which ends the operation. What is not proven is better begun anew. */
async function writeMirrored<T>(
  ctx: FerryContext,
  operation: Operation,
  sid: Sid,
  intent: string,
  mutation: Mutation<T>,
): Promise<Answered<T>> {
  const { routes } = operation.placement;
  const outcomeOf = (result: Ended<Answered<T>>): Outcome => {
    if (routes.close !== "value" || result === "unknown") return { kind: "none" };
    // L may come back without what R has.
    if (result === "unreached") return { kind: "keep" };
    if (result === "refused") return { kind: mutation.isBlind ? "none" : "keep" };
    return result.value.isProven ? mutation.outcome(result.value.value) : { kind: "keep" };
  };
  const finish = async (result: Ended<Answered<T>>) => {
    await passing(ctx, "write:written", sid);
    await closeIntent(ctx, sid, intent, outcomeOf(result));
    operation.end();
  };
  const perform = async (): Promise<Answered<T>> => {
    const value = await mutation.legacy();
    if (!mutation.lacks?.(value) || !forgets(ctx, routes)) return { value, isProven: true };
    const outcome = await giveBack(ctx, sid, intent, redisLimits(ctx, routes));
    if (outcome !== "given") return { value, isProven: outcome === "absent" };
    const again = await mutation.legacy();
    return { value: again, isProven: !mutation.lacks(again) };
  };
  await passing(ctx, "write:opened", sid);
  return onLegacy(perform, (result) => void finish(result));
}
