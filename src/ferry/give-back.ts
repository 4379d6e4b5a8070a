import type { Routes } from "../core/phase.js";
import type { Sid } from "../core/session.js";
import type { ConditionalChange } from "../ports/legacy-store.js";
import type { CallLimits } from "../ports/redis-records.js";
import type { FerryContext } from "./context.js";
import { isLegacyFailure, isRedisFailure } from "./failures.js";

/**
 * Rule 9 where L forgets by itself (memcached evicts, restarts) and R is read: L's word that there is no such session is
 * no proof, since R may keep a copy that L has lost. So a verb that L refuses for want of the session gives it back first:
 *
 * 1. The verb's intent stands *alone*: it is opened only when no other stands, and waits for its turn where one does. Two
 *    touches at once would otherwise make each other's hidden value unknown (`cont`), and the copy would be dropped.
 * 2. L says "absent". Under the same intent L's token is taken (a placeholder's, where there is nothing), *then* R is
 *    looked at: only if our intent stands and no other ever stood beside it (`cont` = 0) is the hidden `v` the session.
 *    No `v`: the session is nowhere, and "absent" was the answer.
 * 3. `v` is written to L only if the token still stands; then the verb runs on L again. Else the intent is closed with
 *    *keep*, since it changed nothing, and all begins anew.
 *
 * Nothing that was destroyed comes back by it. A destroy opens an intent before it changes L, and closes it after. One
 * that reached L before our token was taken was opened before R was looked at: either it ended before our intent was
 * opened, then there is no `v`, or it overlapped ours, then `cont` is set. One that reaches L later takes the placeholder
 * away, or meets the session that was given back and removes that. A write with the gap liberty is no case: nobody has it
 * while anybody reads R.
 *
 * A read that meets intents and is told "absent" by L waits for them to end, for the same reason: then R knows.
 *
 * An intent whose outcome is unknown, or whose node died, may stand for long. Nobody waits for it longer than `Turn`
 * allows; what L has forgotten is lost then, as it is where it forgets while two writes overlap.
 */
export function forgets({ legacy }: FerryContext, routes: Routes): boolean {
  return legacy.lossy && routes.read === "through";
}

/** Which of these L has not, though R may keep them. */
export async function missingInLegacy(ctx: FerryContext, sids: readonly Sid[]): Promise<Sid[]> {
  const doubtful = sids.filter((sid) => forgets(ctx, ctx.routing.placement(sid).routes));
  if (doubtful.length === 0) return [];
  const held = await ctx.legacy.holds(doubtful);
  return doubtful.filter((_, i) => !held[i]);
}

/** Milliseconds at most between two looks whether it is our turn. */
const LONGEST_PAUSE = 8;

/** Waits for the intents of others to end: for half of a request's time, so that the other half is left to go on. */
export class Turn {
  #until = Number.POSITIVE_INFINITY;
  #pause = 1;

  constructor(readonly ctx: FerryContext) {}

  get isOver(): boolean {
    return this.ctx.clock.elapsed() >= this.#until;
  }

  async pause(): Promise<void> {
    const { clock, limits } = this.ctx;
    this.#until = Math.min(this.#until, clock.elapsed() + limits.request / 2);
    await clock.sleep(this.#pause);
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
  }
}

/**
 * Steps 2 and 3, under an open intent of ours.
 *
 * @returns `absent`: neither store has the session. `unsure`: another writer came between, or a store did not answer.
 */
export async function giveBack(
  { legacy, records }: FerryContext,
  sid: Sid,
  intent: string,
  limits: CallLimits,
): Promise<"given" | "absent" | "unsure"> {
  const hidden = async () => {
    const [view] = await records.view([sid], limits);
    return view!.state === `I${intent}` ? view!.session : "unsure";
  };
  try {
    // What is nowhere needs no placeholder.
    const seen = await hidden();
    if (seen === null) return "absent";
    if (seen === "unsure") return seen;
    const [token] = await legacy.tokens([sid]);
    if (!token) return "unsure";
    const session = await hidden();
    if (session === "unsure") return session;
    if (session === null) return "absent";
    const [given] = await legacy.applyIf([{ token, session }]);
    return given === "applied" ? "given" : "unsure";
  } catch (error) {
    if (isRedisFailure(error) || isLegacyFailure(error)) return "unsure";
    throw error;
  }
}

/**
 * The same for many sessions without an intent of ours, before L alone is read again. A session that is there when our
 * token was taken needs none of it; where it is not, the token is a placeholder's, which no touch ever moves, so that
 * steps 2 and 3 hold here, too: what reached L before was opened before R is looked at, and either ended before, then `v`
 * tells of it, or stands as an intent. No mark is left in R: nothing is ever ahead of L in read-through, and an R that is
 * lost in the middle of it costs nothing. Each call is an operation under the routes of its moment, so that no barrier
 * is passed before it has ended: afterwards, in the gap, `v` would be no proof.
 *
 * @returns the sids that L may lack still, to be tried again.
 */
export async function giveBackMany(ctx: FerryContext, sids: readonly Sid[]): Promise<Sid[]> {
  const { legacy, records, routing } = ctx;
  const end = routing.enter();
  try {
    const missing = await missingInLegacy(ctx, sids);
    if (missing.length === 0) return [];
    const tokens = await legacy.tokens(missing);
    const [come, views] = [await legacy.getMany(missing), await records.view(missing)];
    const changes: ConditionalChange[] = [];
    const left = new Set<Sid>();
    missing.forEach((sid, i) => {
      const { mark, session } = views[i]!;
      if (come[i] !== null || mark === "dirty") return;
      if (mark === "intents" || !tokens[i]) left.add(sid);
      else if (session !== null) changes.push({ token: tokens[i], session });
    });
    const given = changes.length === 0 ? [] : await legacy.applyIf(changes);
    changes.forEach(({ token }, i) => {
      if (given[i] !== "applied") left.add(token.sid);
    });
    return [...left];
  } finally {
    end();
  }
}
