import type { Session, Sid } from "../core/session.js";
import { type FerryContext, redisLimits } from "./context.js";
import { mutate } from "./mutate.js";

/** Rule 1: writes a session, or destroys it with null, whatever was there before. */
export async function write(ctx: FerryContext, sid: Sid, session: Session | null): Promise<void> {
  const { legacy, records, ids } = ctx;
  await mutate<unknown>(ctx, sid, {
    script: "open",
    legacy: () => (session === null ? legacy.destroy(sid) : legacy.set(sid, session)),
    alone: () => (session === null ? records.destroyAlone(sid) : records.setAlone(sid, session)),
    open: async (intent, mode, routes) => {
      const limits = redisLimits(ctx, routes);
      const answer = await records.open(sid, intent, mode, session, ids.next(), limits, routes.read === "R");
      return answer === "R" ? { to: answer, value: undefined } : { to: answer };
    },
    outcome: () => (session === null ? { kind: "none" } : { kind: "value", session }),
    ends: () => session === null,
  });
}
