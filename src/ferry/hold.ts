import type { Routes } from "../core/phase.js";
import { RedisUnreachable } from "../ports/redis-records.js";
import type { FerryContext } from "./context.js";
import { asFerryError } from "./failures.js";

/** How often a held request looks whether R is back, in milliseconds. */
const RETRY = 100;

/** Whether a write or touch whose `open` failed may be begun anew. */
export function isRepeatable(failure: unknown, routes: Routes): boolean {
  const mayHaveTakenEffect = failure instanceof RedisUnreachable && failure.sent;
  return !mayHaveTakenEffect || (routes.write === "L" && routes.liberty !== "none");
}

/**
 * Rule 7 where no liberty lets a request go on without R: it is held, up to its deadline, for R to come back or for
 * the fleet to demote itself (rule 12), and then begun anew under the routes of that moment. A command that may have
 * reached R is begun anew only where it can have done no more than open an intent: in mode L with no dirty mark, which
 * is what any liberty implies.
 */
export class Hold {
  readonly #until: number;

  constructor(readonly ctx: FerryContext) {
    this.#until = ctx.clock.elapsed() + ctx.limits.request;
  }

  /** Resolves when the request should be tried again; rejects with the failure when it must not be. */
  async after(failure: unknown, repeatable: boolean): Promise<void> {
    const left = this.#until - this.ctx.clock.elapsed();
    if (!repeatable || left <= 0) throw asFerryError(failure);
    const awake = new AbortController();
    const { clock, routing } = this.ctx;
    await Promise.race([routing.changed(awake.signal), clock.sleep(Math.min(left, RETRY), awake.signal)]);
    awake.abort();
    if (clock.elapsed() >= this.#until) throw asFerryError(failure);
  }
}
