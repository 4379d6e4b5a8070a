import type { Routes } from "../core/phase.js";
import type { Session, Sid } from "../core/session.js";
import type { ReadAnswer } from "../ports/redis-records.js";
import { afterthought, type FerryContext, passing, redisLimits } from "./context.js";
import { isRedisFailure } from "./failures.js";
import { forgets, Turn } from "./give-back.js";
import { Hold } from "./hold.js";
import type { Operation } from "./routing.js";
import { isWriteThrough, settle } from "./settle.js";

/**
 * Rule 2. Where R is read: a hit is the answer, once L has it where R must not be ahead (settle.ts); else L is read and
 * answered, and with a lease R is filled in the background. Where L forgets, its "absent" beside intents is no proof
 * (give-back.ts). If R cannot be asked, L answers while the fallback liberty holds (which is given only while nothing is
 * dirty); otherwise the read is held and fails at its deadline. `expiry` false: nobody will look at that of a hit.
 */
export async function read(ctx: FerryContext, sid: Sid, expiry = true): Promise<Session | null> {
  const hold = new Hold(ctx);
  const turn = new Turn(ctx);
  for (;;) {
    const operation = ctx.routing.begin(sid);
    const { routes } = operation.placement;
    const fallback = routes.liberty === "fallback";
    if (routes.read === "L") return readLegacy(ctx, operation, sid);
    if (fallback && ctx.health.state !== "up") return readFallback(ctx, operation, sid);
    let answer: ReadAnswer;
    let isStanding = true;
    try {
      const run = ctx.records.runOf(sid);
      answer = await readRedis(ctx, routes, sid, expiry);
      const mustSettle = answer.from === "R" && answer.ahead && isWriteThrough(routes);
      if (mustSettle) isStanding = (await settle(ctx, sid, run)) !== "unknown";
    } catch (error) {
      if (!isRedisFailure(error)) {
        operation.end();
        throw error;
      }
      ctx.health.failed(error);
      if (fallback) return readFallback(ctx, operation, sid);
      operation.end();
      // A read has no effect, so it may always be begun anew.
      await hold.after(error, true);
      continue;
    }
    ctx.health.succeeded();
    if (!isStanding) {
      operation.end();
      continue;
    }
    if (routes.read === "through") {
      ctx.observer.event({ type: "read-through", result: answer.from === "R" ? "hit" : "miss" });
    }
    if (answer.from === "R") {
      operation.end();
      return answer.session;
    }
    const session = await readAnswered(ctx, operation, sid, answer.lease);
    const isProven = session !== null || answer.lease !== null;
    if (isProven || !forgets(ctx, routes) || turn.isOver) return session;
    await turn.pause();
  }
}

async function readRedis(ctx: FerryContext, routes: Routes, sid: Sid, expiry: boolean): Promise<ReadAnswer> {
  const limits = redisLimits(ctx, routes);
  if (routes.read !== "R") return ctx.records.read(sid, ctx.ids.next(), limits, expiry);
  return { from: "R", session: await ctx.records.readAlone(sid, limits, expiry), ahead: false };
}

async function readLegacy(ctx: FerryContext, operation: Operation, sid: Sid): Promise<Session | null> {
  try {
    return await ctx.legacy.get(sid);
  } finally {
    operation.end();
  }
}

function readFallback(ctx: FerryContext, operation: Operation, sid: Sid): Promise<Session | null> {
  ctx.observer.event({ type: "read-through", result: "fallback" });
  return readLegacy(ctx, operation, sid);
}

async function readAnswered(
  ctx: FerryContext,
  operation: Operation,
  sid: Sid,
  lease: string | null,
): Promise<Session | null> {
  if (lease === null) return readLegacy(ctx, operation, sid);
  let session: Session | null;
  try {
    await passing(ctx, "read:leased", sid);
    session = await ctx.legacy.get(sid);
  } catch (error) {
    operation.end();
    throw error;
  }
  void fillBehind(ctx, operation, sid, lease, session);
  return session;
}

/** Fills after the answer. A fill that fails is harmless: the lease runs out and the next read takes another. */
export async function fillBehind(
  ctx: FerryContext,
  operation: Operation,
  sid: Sid,
  lease: string,
  session: Session | null,
): Promise<void> {
  try {
    await passing(ctx, "read:loaded", sid);
    await ctx.records.fill(sid, lease, session, afterthought(ctx));
  } catch (error) {
    ctx.observer.event({ type: "mirror-failure", failedOn: "redis", verb: "fill", error });
  } finally {
    operation.end();
  }
}
