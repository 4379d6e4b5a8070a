import type { Session, Sid } from "../core/session.js";
import { OutcomeUnknown } from "../ports/legacy-store.js";
import { type Mode, type Outcome, RedisUnreachable } from "../ports/redis-records.js";
import { closeIntent, type FerryContext, passing, redisLimits } from "./context.js";
import { drainOwnDestroy } from "./drain.js";
import { isRedisFailure } from "./failures.js";
import { Hold, isRepeatable } from "./hold.js";
import type { Operation } from "./routing.js";

/**
 * Rule 1, write (or, with null, destroy). `open` in R; answer "R": it is done. Answer "L": write L, acknowledge, then
 * close the intent with what L holds now; the close may run after the acknowledgement.
 *
 * Rule 7, where R cannot be asked: with the gap liberty L is written anyway, after the sid and the intent were put
 * into the gap; without it L is not written.
 */
export async function write(ctx: FerryContext, sid: Sid, session: Session | null): Promise<unknown> {
  const hold = new Hold(ctx);
  for (;;) {
    const operation = ctx.routing.begin(sid);
    const { routes, phase } = operation.placement;
    if (routes.write === "legacy") return writeLegacy(operation, () => changeLegacy(ctx, sid, session));
    if (routes.write === "alone") return ending(operation, () => changeAlone(ctx, sid, session));

    const intent = ctx.ids.next();
    if (routes.liberty === "gap" && ctx.health.state !== "up") {
      return writeInGap(ctx, operation, sid, intent, () => changeLegacy(ctx, sid, session));
    }
    let mode: Mode;
    try {
      mode = await ctx.records.open(sid, intent, routes.write, session, ctx.ids.next(), redisLimits(ctx, routes));
      ctx.health.succeeded();
    } catch (error) {
      if (!isRedisFailure(error)) {
        operation.end();
        throw error;
      }
      ctx.health.failed(error);
      ctx.observer.event({ type: "mirror-failure", failedOn: "redis", verb: "open", error });
      if (routes.liberty === "gap")
        return writeInGap(ctx, operation, sid, intent, () => changeLegacy(ctx, sid, session));
      if (error instanceof RedisUnreachable && error.sent) ctx.arrears.strayIntent(sid, intent, "opened");
      operation.end();
      await hold.after(error, isRepeatable(error, routes));
      continue;
    }
    if (mode === "L") {
      await passing(ctx, "write:opened", sid);
      const outcome: Outcome =
        session !== null && routes.close === "value" ? { kind: "value", session } : { kind: "none" };
      return writeMirrored(
        ctx,
        operation,
        sid,
        intent,
        () => changeLegacy(ctx, sid, session),
        () => outcome,
      );
    }
    // Rule 5: in redis-first a destroy is acknowledged only after L has lost the session too, since a node that still
    // reads L on a miss, or a rollback, must not find it there. In full-redis the dirty mark alone is enough.
    if (session === null && phase !== "full-redis") {
      return ending(operation, () => drainOwnDestroy(ctx, sid));
    }
    operation.end();
    return;
  }
}

function changeLegacy(ctx: FerryContext, sid: Sid, session: Session | null): Promise<unknown> {
  return session === null ? ctx.legacy.destroy(sid) : ctx.legacy.set(sid, session);
}

function changeAlone(ctx: FerryContext, sid: Sid, session: Session | null): Promise<unknown> {
  return session === null ? ctx.records.destroyAlone(sid) : ctx.records.setAlone(sid, session);
}

async function ending(operation: Operation, perform: () => Promise<unknown>): Promise<void> {
  try {
    await perform();
  } finally {
    operation.end();
  }
}

/**
 * Runs a write on L. `ended` is called exactly once, when the write can no longer take effect: at once when L answered,
 * and after L's word on it when the reply was lost (rule 6), with what L answered or null where that is not known.
 */
export async function onLegacy<T>(perform: () => Promise<T>, ended: (result: { value: T } | null) => void): Promise<T> {
  let value: T;
  try {
    value = await perform();
  } catch (error) {
    if (error instanceof OutcomeUnknown) void error.settled.then(() => ended(null));
    else ended(null);
    throw error;
  }
  ended({ value });
  return value;
}

/** A write while `legacy` routes hold: R is not contacted. */
export async function writeLegacy<T>(operation: Operation, perform: () => Promise<T>): Promise<T> {
  return onLegacy(perform, () => operation.end());
}

/** A write with the gap liberty: the entry stands before L is written, and settles when the write has ended. */
export async function writeInGap<T>(
  ctx: FerryContext,
  operation: Operation,
  sid: Sid,
  intent: string,
  perform: () => Promise<T>,
): Promise<T> {
  ctx.arrears.openGap(sid, intent);
  ctx.observer.event({ type: "gap", size: ctx.arrears.gapSize });
  return onLegacy(perform, () => {
    ctx.arrears.settleGap(sid, intent);
    operation.end();
  });
}

/** A write between an open answered "L" and its close, which ends the operation. */
export async function writeMirrored<T>(
  ctx: FerryContext,
  operation: Operation,
  sid: Sid,
  intent: string,
  perform: () => Promise<T>,
  outcomeOf: (value: T) => Outcome,
): Promise<T> {
  const finish = async (result: { value: T } | null) => {
    await passing(ctx, "write:written", sid);
    await closeIntent(ctx, sid, intent, result === null ? { kind: "none" } : outcomeOf(result.value));
    operation.end();
  };
  return onLegacy(perform, (result) => void finish(result));
}
