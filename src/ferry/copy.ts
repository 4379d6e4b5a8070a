import type { Routes } from "../core/phase.js";
import type { Sid } from "../core/session.js";
import type { CopyOutcome } from "../ports/copier.js";
import { type FerryContext, passing } from "./context.js";
import { missingInLegacy } from "./give-back.js";

/** A bucket takes copies once every node closes with values (rule 8) and until marks are gone. */
function takesCopies(routes: Routes): boolean {
  return (routes.write === "L" || routes.write === "R") && routes.close === "value";
}

/**
 * Rule 3. The lease is taken before L is read, so that any write that begins meanwhile makes the fill refuse. A copy
 * is done only when the read said hit, or `d` stands, or the fill was accepted; a refused one is for the caller to
 * repeat. A forced copy marks first, which drops what R holds unless R is ahead; only where L is the authority, because
 * in full-redis a reader would take the moment's absence for an answer. What a forgetful L has lost R may have alone
 * once it is read, and keeps.
 */
export async function copy(
  ctx: FerryContext,
  sids: readonly Sid[],
  { force = false }: { force?: boolean } = {},
): Promise<CopyOutcome[]> {
  const end = ctx.routing.enter();
  try {
    const outcomes: CopyOutcome[] = sids.map(() => "not-yet");
    const places = sids.flatMap((sid, at) => (takesCopies(ctx.routing.placement(sid).routes) ? [at] : []));
    if (places.length === 0) return outcomes;
    const eligible = places.map((at) => sids[at]!);

    if (force) {
      const marked = await replaceable(ctx, eligible);
      if (marked.length > 0) await ctx.records.mark(marked);
    }
    const answers = await ctx.records.leaseMany(
      eligible,
      eligible.map(() => ctx.ids.next()),
    );
    const leased: { sid: Sid; at: number; lease: string }[] = [];
    answers.forEach((answer, i) => {
      const at = places[i]!;
      if (answer.state === "intents") outcomes[at] = "refused";
      else if (answer.state !== "leased") outcomes[at] = answer.state;
      else leased.push({ sid: eligible[i]!, at, lease: answer.lease });
    });
    if (leased.length === 0) return outcomes;

    await passing(ctx, "copy:leased", null);
    const sessions = await ctx.legacy.getMany(leased.map((entry) => entry.sid));
    await passing(ctx, "copy:loaded", null);
    const accepted = await ctx.records.fillMany(
      leased.map(({ sid, lease }, i) => ({ sid, lease, session: sessions[i] ?? null })),
    );
    leased.forEach(({ at }, i) => {
      outcomes[at] = !accepted[i] ? "refused" : sessions[i] ? "filled" : "absent";
    });
    return outcomes;
  } finally {
    end();
  }
}

async function replaceable(ctx: FerryContext, sids: readonly Sid[]): Promise<Sid[]> {
  const ofLegacy = sids.filter((sid) => ctx.routing.placement(sid).routes.write === "L");
  const missing = new Set(await missingInLegacy(ctx, ofLegacy));
  return ofLegacy.filter((sid) => !missing.has(sid));
}
