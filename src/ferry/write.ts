import type { Session, Sid } from "../core/session.js";
import { type FerryContext, redisLimits } from "./context.js";
import { drainOwnDestroy } from "./drain.js";
import { mutate } from "./mutate.js";

/** Rule 1: writes a session, or destroys it with null, whatever was there before. */
export async function write(ctx: FerryContext, sid: Sid, session: Session | null): Promise<void> {
  const { legacy, records, ids } = ctx;
  let run: string | null = null;
  await mutate<unknown>(ctx, sid, {
    script: "open",
    legacy: () => (session === null ? legacy.destroy(sid) : legacy.set(sid, session)),
    alone: () => (session === null ? records.destroyAlone(sid) : records.setAlone(sid, session)),
    open: async (intent, routes) => {
      const mode = routes.write === "R" ? "R" : "L";
      const limits = redisLimits(ctx, routes);
      run = records.runOf(sid);
      const answer = await records.open(sid, intent, mode, session, ids.next(), limits, routes.read === "R");
      run ??= records.runOf(sid);
      return answer === "L" ? { to: "L" } : { to: "R", value: undefined };
    },
    outcome: () => (session === null ? { kind: "none" } : { kind: "value", session }),
    // Rule 5: in redis-first a destroy is acknowledged only after L has lost the session too, since a node that still
    // reads L on a miss, or a rollback, must not find it there. In full-redis the dirty mark alone is enough.
    settle: async ({ phase }) => {
      if (session === null && phase !== "full-redis") await drainOwnDestroy(ctx, sid, run);
    },
  });
}
