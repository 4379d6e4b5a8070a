import { drawn } from "../core/drawn.js";
import type { Sid } from "../core/session.js";
import { redisIsDrained } from "../core/transition.js";
import type { ControlStore } from "../ports/control-store.js";
import type { RedisRecords } from "../ports/redis-records.js";
import type { FerryContext } from "./context.js";
import { cleanIn, drainByServer, serverOf } from "./drain.js";
import type { DrainRate } from "./drain-rate.js";
import type { Refusal } from "./refused.js";

/**
 * So many sids are drained in one batch of round trips. Requests wait for a batch that is being written or read, by this
 * process and by the stores: with 250 of them, a 95th percentile of 5 ms became one of 25 (`npm run bench -- door`).
 */
const BATCH = 50;
/**
 * So many are asked of the dirty index at one time: from its front; and once a batch did not move so many from its end, and
 * then from somewhere in it. For its front may never move: be it hundreds of thousands of a server of L that is away, or
 * what L does not take. What others of its servers are to get is behind them, and comes at the end.
 */
const WINDOWS = [
  { from: "front", most: 200 },
  { from: "end", most: 1_000 },
  { from: "anywhere", most: 1_000 },
] as const;
/**
 * Milliseconds for which a server of L that failed is let be: each try may last a deadline, in which nothing else of the
 * batch goes on.
 */
const AWAY_FOR = 10_000;
/** After so many batches of which nothing moved a drain gives up for now. */
const MOST_STUCK = 5;

/**
 * Drains the dirty index until it is empty or nothing moves. Several nodes drain at once: each takes a window in an order
 * of its own, so that they seldom take the same sids, and another window once it finds that somebody was faster. Where
 * they do take the same, rule 4 sorts it out.
 *
 * On a busy site the index is never empty: others fill it as fast as it is drained.
 *
 * Of several servers of L one that fails is let be for a while. Rejects where nothing was drained for that.
 *
 * @param rate how many it may take; all unless given.
 * @param goOn asked before each batch; false ends it.
 * @returns how many sids were found clean or made so.
 */
export async function drainIndex(
  ctx: FerryContext,
  rate?: DrainRate,
  goOn: () => boolean = () => true,
): Promise<number> {
  // Elsewhere nothing can be dirty, and R need not be there, or sealed, to be asked.
  const isDrained = () => redisIsDrained(ctx.routing.record);
  if (!isDrained()) return 0;
  const limit = rate === undefined ? Number.POSITIVE_INFINITY : await rate.next();
  const { away } = ctx.drains;
  const isAway = (sid: Sid) => (away.get(serverOf(ctx, sid)) ?? 0) > ctx.clock.elapsed();
  const failures = new Map<object | null, unknown>();
  let total = 0;
  for (let stuck = 0; total < limit && stuck < MOST_STUCK && goOn(); ) {
    const { from, most } = WINDOWS[Math.min(stuck, WINDOWS.length - 1)]!;
    const named = await ctx.records.dirtySids(most, { from });
    if (named.length === 0) break;
    const window = drawn(named).filter((sid) => !isAway(sid));
    if (window.length === 0) stuck++;
    for (let at = 0; at < window.length && total < limit && goOn(); at += BATCH) {
      // Where none follows, others rely on it that none was begun (rule 8; standstill.ts).
      if (!isDrained()) return total;
      const batch = window.slice(at, at + Math.min(BATCH, limit - total));
      const { outcomes, failed } = await drainByServer(ctx, batch);
      for (const [server, error] of failed) {
        failures.set(server, error);
        // There is no other.
        if (server !== null) away.set(server, ctx.clock.elapsed() + AWAY_FOR);
      }
      const clean = cleanIn(outcomes);
      total += clean;
      stuck = clean === 0 ? stuck + 1 : 0;
      if (stuck > 0 || failed.size > 0 || outcomes.includes("unmarked")) break;
    }
    if (failures.has(null)) break;
  }
  for (const error of failures.values()) {
    if (total === 0) throw error;
    ctx.observer.event({ type: "background-error", task: "drain", error });
  }
  return total;
}

/** What was dirty when R was last asked. */
export interface DirtyNote {
  readonly count: number;
  /** Milliseconds since the epoch by the control store's clock. */
  readonly at: number;
  /** What L never takes of them; absent in notes of older builds. */
  readonly refused?: readonly Refusal[];
}

/** Rule 10: keeps the count where it survives R, for whoever has to leave R for lost. */
export async function noteDirty(
  records: RedisRecords,
  control: ControlStore,
  refused: (now: number) => Promise<readonly Refusal[]> = async () => [],
): Promise<void> {
  const { count } = await records.dirtyState({ roughly: true });
  const at = await control.now();
  const note: DirtyNote = { count, at, refused: count === 0 ? [] : await refused(at) };
  await control.putDocument("dirty", "latest", note);
}

export async function notedDirty(control: ControlStore): Promise<DirtyNote | null> {
  return control.getDocument<DirtyNote>("dirty", "latest");
}
