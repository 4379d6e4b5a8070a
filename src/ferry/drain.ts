import type { Sid } from "../core/session.js";
import { FerryError } from "../errors.js";
import type { ConditionalChange } from "../ports/legacy-store.js";
import { type FerryContext, passing } from "./context.js";

/** How many of the sids carry no mark any more, and how many carried none when they were looked at. */
export interface Drained {
  readonly clean: number;
  readonly unmarked: number;
}

/**
 * Rule 4. L's token is taken *before* R is read, so that a change of L that R does not know of makes the conditional
 * write refuse; `undirty` compares the nonce, so that a change of R that L does not hold keeps the mark. A sid without
 * a mark is left alone, unless the dirty index names it all the same: then its mark was lost, and the two are made to
 * agree, or whoever waits for the index would wait for ever. Any number of drainers may run.
 */
export async function drain(ctx: FerryContext, sids: readonly Sid[]): Promise<Drained> {
  if (sids.length === 0) return { clean: 0, unmarked: 0 };
  const end = ctx.routing.enter();
  try {
    const tokens = await ctx.legacy.tokens(sids);
    await passing(ctx, "drain:token", null);
    const records = await ctx.records.dirtyRecords(sids);
    await passing(ctx, "drain:read", null);

    const unmarked: { sid: Sid; dirty: string }[] = [];
    const changes: ConditionalChange[] = [];
    const marks: { sid: Sid; nonce: string }[] = [];
    records.forEach(({ sid, nonce, session }, i) => {
      const token = tokens[i];
      if (nonce === null) unmarked.push({ sid, dirty: ctx.ids.next() });
      else if (token) {
        changes.push({ token, session });
        marks.push({ sid, nonce });
      }
    });
    const agreed = unmarked.length === 0 ? [] : await ctx.records.reconcile(unmarked);
    let clean = agreed.filter(Boolean).length;
    if (changes.length === 0) return { clean, unmarked: unmarked.length };
    const applied = await ctx.legacy.applyIf(changes);
    await passing(ctx, "drain:applied", null);
    const carried = marks.filter((_, i) => applied[i]);
    const removed = carried.length === 0 ? [] : await ctx.records.undirty(carried);
    clean += removed.filter(Boolean).length;
    ctx.observer.event({ type: "drained", count: carried.length, refused: changes.length - carried.length });
    return { clean, unmarked: unmarked.length };
  } finally {
    end();
  }
}

/**
 * Rule 5: repeats until this destroy is in L, or another drainer has taken care of it, within the deadline. That it
 * carries no mark any more tells of another drainer only while R is the one that took it: one that restarted, or took over,
 * may have forgotten it.
 *
 * @param run of R before it was asked to destroy
 */
export async function drainOwnDestroy(ctx: FerryContext, sid: Sid, run: string | null): Promise<void> {
  const until = ctx.clock.elapsed() + ctx.limits.request;
  for (let pause = 1; ; pause = Math.min(pause * 2, 50)) {
    const { clean, unmarked } = await drain(ctx, [sid]);
    if (clean === 1 && unmarked === 0) return;
    const now = ctx.records.runOf(sid);
    if (run !== null && now !== null && now !== run) {
      throw new FerryError("OUTCOME_UNKNOWN", "Redis restarted, or failed over, while the session was destroyed.");
    }
    if (clean === 1) return;
    if (ctx.clock.elapsed() >= until) {
      throw new FerryError("OUTCOME_UNKNOWN", "Redis has destroyed the session, the legacy store not yet.");
    }
    await ctx.clock.sleep(pause);
  }
}
