import type { Sid } from "../core/session.js";
import { type FerryContext, redisLimits } from "./context.js";
import { learn } from "./learn.js";
import { mutate, type Opened } from "./mutate.js";

/**
 * Rule 9: a touch is a write whose result depends on what is there, so it goes by rule 13. In mode L, L decides, and
 * the hidden value comes back with the new expiry if L had the session; what L has merely forgotten, and R still keeps,
 * is given back to L first (give-back.ts). In mode R, R decides as soon as its state is known; where it is not, L is read
 * under a lease: an absence there is the answer, a session is filled and tried again.
 */
export function touch(ctx: FerryContext, sid: Sid, expiresAt: number): Promise<boolean> {
  const { legacy, records, ids } = ctx;
  return mutate<boolean>(ctx, sid, {
    script: "openIf",
    legacy: () => legacy.touch(sid, expiresAt),
    alone: () => records.touchAlone(sid, expiresAt),
    lacks: (had) => !had,
    open: async (intent, mode, routes, alone): Promise<Opened<boolean>> => {
      const known = routes.read === "R";
      const verb = { verb: "touch", expiresAt, alone } as const;
      const limits = redisLimits(ctx, routes);
      const opened = await records.openIf(sid, intent, mode, verb, null, known, ids.next(), limits);
      if (opened.answer === "R") return { to: "R", value: opened.result.result === "done" };
      if (opened.answer !== "unknown") return { to: opened.answer };
      return {
        to: "unknown",
        learn: async () => ((await learn(ctx, sid, limits)).state === "absent" ? { value: false } : null),
      };
    },
    ends: (had) => had && expiresAt <= ctx.clock.now(),
    outcome: (had) => (had ? { kind: "keep", expiresAt } : { kind: "none" }),
  });
}
