import { redisMayBeAhead } from "../core/transition.js";
import type { FerryContext } from "./context.js";
import { drain } from "./drain.js";

/** So many sids are drained in one batch of round trips, out of a window of so many from the dirty index. */
const BATCH = 250;
const WINDOW = 1000;

/**
 * Drains the dirty index until it is empty or nothing moves. Several nodes drain at once: each picks at random from
 * the window, so that they seldom take the same sids; where they do, rule 4 sorts it out.
 *
 * @returns how many sids were found clean or made so.
 */
export async function drainIndex(ctx: FerryContext, limit = Number.POSITIVE_INFINITY): Promise<number> {
  if (!redisMayBeAhead(ctx.routing.record) && ctx.routing.record.pending === null) return 0;
  let total = 0;
  while (total < limit) {
    const window = await ctx.records.dirtySids(WINDOW);
    if (window.length === 0) return total;
    const batch = window.length <= BATCH ? window : sample(window, BATCH);
    const clean = await drain(ctx, batch);
    total += clean;
    if (clean === 0) return total;
  }
  return total;
}

function sample<T>(from: readonly T[], count: number): T[] {
  const pool = [...from];
  for (let i = 0; i < count; i++) {
    const at = i + Math.floor(Math.random() * (pool.length - i));
    [pool[i], pool[at]] = [pool[at]!, pool[i]!];
  }
  return pool.slice(0, count);
}
