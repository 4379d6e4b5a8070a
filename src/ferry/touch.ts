import type { Sid } from "../core/session.js";
import { FerryError } from "../errors.js";
import { type ConditionalAnswer, type Outcome, RedisUnreachable } from "../ports/redis-records.js";
import { type FerryContext, passing, redisLimits } from "./context.js";
import { isRedisFailure } from "./failures.js";
import { Hold, isRepeatable } from "./hold.js";
import { writeInGap, writeLegacy, writeMirrored } from "./write.js";

/** So often an unknown state is made known before the request gives up: each try needs a writer to come between. */
const TRIES = 16;

/**
 * Rule 9: a touch is a write whose result depends on what is there, so it goes by rule 13. In mode L, L decides, and
 * the hidden value comes back with the new expiry if L had the session. In mode R, R decides as soon as its state is
 * known; where it is not, L is read under a lease: an absence there is the answer, a session is filled and tried again.
 * A lost reply is an error, never a retry.
 */
export async function touch(ctx: FerryContext, sid: Sid, expiresAt: number): Promise<boolean> {
  const hold = new Hold(ctx);
  const touchLegacy = () => ctx.legacy.touch(sid, expiresAt);
  for (let tries = 0; tries < TRIES; ) {
    const operation = ctx.routing.begin(sid);
    const { routes } = operation.placement;
    if (routes.write === "legacy") return writeLegacy(operation, touchLegacy);
    if (routes.write === "alone") {
      try {
        return await ctx.records.touchAlone(sid, expiresAt);
      } finally {
        operation.end();
      }
    }
    const intent = ctx.ids.next();
    if (routes.liberty === "gap" && ctx.health.state !== "up") {
      return writeInGap(ctx, operation, sid, intent, touchLegacy);
    }
    let answer: ConditionalAnswer;
    try {
      const known = routes.read === "R";
      const verb = { verb: "touch", expiresAt } as const;
      const limits = redisLimits(ctx, routes);
      answer = await ctx.records.openIf(sid, intent, routes.write, verb, null, known, ctx.ids.next(), limits);
      ctx.health.succeeded();
    } catch (error) {
      if (!isRedisFailure(error)) {
        operation.end();
        throw error;
      }
      ctx.health.failed(error);
      ctx.observer.event({ type: "mirror-failure", failedOn: "redis", verb: "openIf", error });
      if (routes.liberty === "gap") return writeInGap(ctx, operation, sid, intent, touchLegacy);
      if (error instanceof RedisUnreachable && error.sent) ctx.arrears.strayIntent(sid, intent, "opened");
      operation.end();
      await hold.after(error, isRepeatable(error, routes));
      continue;
    }
    if (answer.answer === "L") {
      await passing(ctx, "write:opened", sid);
      const outcome = (had: boolean): Outcome =>
        had && routes.close === "value" ? { kind: "keep", expiresAt } : { kind: "none" };
      return writeMirrored(ctx, operation, sid, intent, touchLegacy, outcome);
    }
    if (answer.answer === "R") {
      operation.end();
      return answer.applied;
    }
    tries++;
    try {
      if (!(await makeKnown(ctx, sid))) return false;
    } finally {
      operation.end();
    }
  }
  throw new FerryError("DEADLINE", `The session kept changing under ${TRIES} attempts to touch it.`);
}

/** Brings L's state into R (rule 2); false when L answered that there is no such session. */
async function makeKnown(ctx: FerryContext, sid: Sid): Promise<boolean> {
  const answer = await ctx.records.read(sid, ctx.ids.next());
  if (answer.from === "R") return true;
  const session = await ctx.legacy.get(sid);
  if (answer.lease !== null) await ctx.records.fill(sid, answer.lease, session);
  return session !== null;
}
