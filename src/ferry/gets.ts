import { newToken } from "../core/ids.js";
import type { Sid } from "../core/session.js";
import { FerryError } from "../errors.js";
import type { Item, ItemStore } from "../ports/items.js";
import type { GetsAnswer } from "../ports/redis-records.js";
import { type FerryContext, passing, redisLimits } from "./context.js";
import { drainOne } from "./drain.js";
import { isRedisFailure } from "./failures.js";
import { Hold } from "./hold.js";
import { fillBehind } from "./read.js";
import type { Operation } from "./routing.js";
import { isWriteThrough, settle } from "./settle.js";

/** So often a read that needs a token begins anew because the session was written meanwhile. */
const TRIES = 16;
/** Milliseconds at most before a session that another drainer has under its hands is looked at again. */
const PAUSE = 50;

/**
 * Rule 2 for a read that asks for a token, which must come from the store that a cas would be decided in.
 *
 * In mode L that is L: where R is ahead, the session is drained first, so that L's answer is the truth. In mode R it is
 * R: a session that R does not know is brought there first, by rule 3; only intents, which keep the authority in L until
 * they end, leave the token to L.
 */
export async function gets(ctx: FerryContext, legacy: ItemStore, sid: Sid): Promise<Item | null> {
  const hold = new Hold(ctx);
  const until = ctx.clock.elapsed() + ctx.limits.request;
  let isRefused = false;
  for (let tries = 0; tries < TRIES; ) {
    const operation = ctx.routing.begin(sid);
    const { routes } = operation.placement;
    const limits = redisLimits(ctx, routes);
    // What L never takes is answered by R (settle.ts).
    const mode = routes.write === "L" && !isRefused ? "L" : "R";
    const fallback = routes.liberty === "fallback";
    if (routes.read === "L" || (fallback && ctx.health.state !== "up")) return readLegacy(legacy, operation, sid);
    let answer: GetsAnswer;
    try {
      const run = ctx.records.runOf(sid);
      answer = await ctx.records.gets(sid, mode, ctx.ids.next(), routes.read === "R", newToken(), limits);
      ctx.health.succeeded();
      const mustSettle = answer.from === "R" && answer.ahead && isWriteThrough(routes);
      if (mustSettle && (await settle(ctx, sid, run)) === "unknown") {
        operation.end();
        continue;
      }
      if (answer.from === "L" && answer.lease !== null) {
        const { lease } = answer;
        await passing(ctx, "read:leased", sid);
        const item = await one(legacy, sid);
        // In mode R an item has no token before R has the item.
        if (mode === "L" || item === null) {
          void fillBehind(ctx, operation, sid, lease, item);
          return item;
        }
        await passing(ctx, "read:loaded", sid);
        await ctx.records.fill(sid, lease, item, limits);
      }
    } catch (error) {
      if (isRedisFailure(error)) {
        ctx.health.failed(error);
        if (fallback) return readLegacy(legacy, operation, sid);
        operation.end();
        await hold.after(error, true);
        continue;
      }
      operation.end();
      throw error;
    }
    if (answer.from === "L" && answer.lease === null) return readLegacy(legacy, operation, sid);
    operation.end();
    if (answer.from === "R") return answer.item;
    if (answer.from === "dirty") {
      const drained = await drainOne(ctx, sid, until);
      isRefused = drained === "refused";
      if (drained === "left" || drained === "outrun") await ctx.clock.sleep(Math.min(2 ** tries, PAUSE));
    }
    tries++;
  }
  throw new FerryError("DEADLINE", `The session kept changing under ${TRIES} attempts to read it.`);
}

async function readLegacy(legacy: ItemStore, operation: Operation, sid: Sid): Promise<Item | null> {
  try {
    return await one(legacy, sid);
  } finally {
    operation.end();
  }
}

async function one(legacy: ItemStore, sid: Sid): Promise<Item | null> {
  const [item] = await legacy.read([sid], { token: true });
  return item ?? null;
}
