import type { Routes } from "../core/phase.js";
import type { Sid } from "../core/session.js";
import { FerryError } from "../errors.js";
import type { FerryContext } from "./context.js";
import { drainOne } from "./drain.js";

/** Milliseconds at most before a session that another drainer has under its hands is looked at again. */
const LONGEST_PAUSE = 50;

/**
 * Whether what R has is answered only once L has it: everywhere but where R may be ahead (`write-behind`). So wherever
 * somebody reads or writes L first, or is about to, R may be lost, or come back with what it held before, and be dropped:
 * nothing that anybody was told goes with it. (On the way down that is so as soon as what was answered before is drained;
 * until then R is its authority, and believed.)
 */
export function isWriteThrough({ write, liberty }: Routes): boolean {
  return write !== "alone" && liberty !== "write-behind";
}

/**
 * L has `settled` what R had, or something later; `unknown`: R is another one meanwhile, so that nobody knows; `refused`: L
 * never takes what R has.
 */
export type Settled = "settled" | "unknown" | "refused";

/**
 * Rules 4 and 5: waits until L has what R had of this session when this was called, or something later.
 *
 * What L refuses comes from redis-first, where R alone acknowledged it, or nobody was told that it was written. While such
 * a change stands the way down does not go on, and R is believed: so who reads is answered.
 *
 * @param run of R before it was asked for what is to be in L. That R is not ahead any more tells of a drain only while it
 *   is the one that was asked: one that restarted, or took over, may have forgotten it.
 * @throws FerryError OUTCOME_UNKNOWN where it takes longer than a request may.
 */
export async function settle(ctx: FerryContext, sid: Sid, run: string | null): Promise<Settled> {
  const until = ctx.clock.elapsed() + ctx.limits.request;
  for (let pause = 1; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
    const outcome = await drainOne(ctx, sid, until);
    const now = ctx.records.runOf(sid);
    if (run !== null && now !== null && now !== run) return "unknown";
    if (outcome !== "left") return outcome === "refused" ? outcome : "settled";
    if (ctx.clock.elapsed() >= until) {
      throw new FerryError("OUTCOME_UNKNOWN", "Redis has the change, the legacy store not yet.");
    }
    await ctx.clock.sleep(pause);
  }
}
