import type { Sid } from "../core/session.js";
import { type ConditionalChange, OutcomeUnknown } from "../ports/legacy-store.js";
import { type FerryContext, passing } from "./context.js";
import { isRedisFailure } from "./failures.js";
import type { Drained } from "./shared-drains.js";

/**
 * Rule 4. L's token is taken *before* R is read, so that a change of L that R does not know of makes the conditional
 * write refuse; `undirty` compares the nonce, so that a change of R that L does not hold keeps the mark, and tells since
 * when. A sid without a mark is left alone, unless the dirty index names it all the same: then its mark was lost, and the
 * two are made to agree, or whoever waits for the index would wait for ever. Any number of drainers may run.
 *
 * Where L does not tell what became of the write, the drain is not over before it can no longer take effect: whoever waits
 * for it may drop the mark, which alone would make others carry over again what it overwrites.
 */
async function drainTogether(ctx: FerryContext, sids: readonly Sid[]): Promise<Drained[]> {
  const end = ctx.routing.enter();
  let over: Promise<void> = Promise.resolve();
  try {
    const tokens = await ctx.legacy.tokens(sids);
    await passing(ctx, "drain:token", null);
    const records = await ctx.records.dirtyRecords(sids);
    await passing(ctx, "drain:read", null);

    const outcomes = records.map((): Drained => "left");
    const unmarked: { at: number; sid: Sid; dirty: string }[] = [];
    const changes: ConditionalChange[] = [];
    const marks: { at: number; sid: Sid; nonce: string; seen: number }[] = [];
    records.forEach(({ sid, nonce, session, seen }, at) => {
      const token = tokens[at];
      if (nonce === null) unmarked.push({ at, sid, dirty: ctx.ids.next() });
      else if (token) {
        changes.push({ token, session });
        marks.push({ at, sid, nonce, seen });
      }
    });
    const agreed = unmarked.length === 0 ? [] : await ctx.records.reconcile(unmarked);
    unmarked.forEach(({ at }, i) => {
      if (agreed[i]) outcomes[at] = "unmarked";
    });
    if (changes.length === 0) return outcomes;
    const applied = await ctx.legacy.applyIf(changes);
    await passing(ctx, "drain:applied", null);
    marks.forEach(({ at }, i) => {
      if (applied[i] === "refused") outcomes[at] = "refused";
    });
    const carried = marks.filter((_, i) => applied[i] === "applied");
    const removed = carried.length === 0 ? [] : await ctx.records.undirty(carried);
    carried.forEach(({ at }, i) => {
      outcomes[at] = removed[i] ? "carried" : "outrun";
    });
    ctx.observer.event({ type: "drained", count: carried.length, refused: changes.length - carried.length });
    return outcomes;
  } catch (error) {
    if (error instanceof OutcomeUnknown) over = error.settled;
    throw error;
  } finally {
    void over.then(end);
  }
}

/** What became of each, and of L's servers those that did not serve theirs, which were left: with the error. */
export interface DrainedByServer {
  readonly outcomes: readonly Drained[];
  readonly failed: ReadonlyMap<object | null, unknown>;
}

/** Drains them by rule 4, each server of L for itself: one that is away, or hangs, takes nothing from the others. */
export async function drainByServer(ctx: FerryContext, sids: readonly Sid[]): Promise<DrainedByServer> {
  const placesOf = new Map<object | null, number[]>();
  sids.forEach((sid, at) => {
    const server = serverOf(ctx, sid);
    const places = placesOf.get(server);
    if (places === undefined) placesOf.set(server, [at]);
    else places.push(at);
  });
  const outcomes = sids.map((): Drained => "left");
  const failed = new Map<object | null, unknown>();
  await Promise.all(
    Array.from(placesOf, async ([server, places]) => {
      const theirs = places.map((at) => sids[at]!);
      const drained = await drainTogether(ctx, theirs).catch((error: unknown) => {
        // Also what keeps its connections from being made, such as a certificate that has expired.
        if (isRedisFailure(error)) throw error;
        failed.set(server, error);
        return null;
      });
      drained?.forEach((outcome, i) => {
        outcomes[places[i]!] = outcome;
      });
    }),
  );
  return { outcomes, failed };
}

/** The same for who waits for these very sessions: rejects where one of their servers fails. */
export async function drain(ctx: FerryContext, sids: readonly Sid[]): Promise<readonly Drained[]> {
  const { outcomes, failed } = await drainByServer(ctx, sids);
  for (const error of failed.values()) throw error;
  return outcomes;
}

/** Of L's servers the one that has it; null where there is but one. */
export function serverOf({ legacy }: FerryContext, sid: Sid): object | null {
  return legacy.serverOf?.(sid) ?? null;
}

/** Together with what other requests wait for, as long as it is not too late for it (by the clock that never goes back). */
export function drainOne(ctx: FerryContext, sid: Sid, until: number): Promise<Drained> {
  return ctx.drains.join(
    sid,
    serverOf(ctx, sid),
    (sids) => drainTogether(ctx, sids),
    () => ctx.clock.elapsed() >= until,
  );
}

/** How many of them carry no mark any more. */
export function cleanIn(outcomes: readonly Drained[]): number {
  return outcomes.filter((outcome) => outcome === "carried" || outcome === "unmarked").length;
}
