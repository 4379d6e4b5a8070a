import type { IdSource } from "../core/ids.js";
import type { Routes } from "../core/phase.js";
import type { Sid } from "../core/session.js";
import type { Clock } from "../ports/clock.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { Observer, Point } from "../ports/observer.js";
import type { CallLimits, Outcome, RedisRecords } from "../ports/redis-records.js";
import type { Arrears } from "./arrears.js";
import type { RedisHealth } from "./redis-health.js";
import type { Routing } from "./routing.js";
import type { SharedDrains } from "./shared-drains.js";

/** Milliseconds. */
export interface Limits {
  /** How long a request waits for R where it can go on without. */
  readonly redis: number;
  /** A request's deadline otherwise. */
  readonly request: number;
}

/** Everything the verbs of one node work with. */
export interface FerryContext {
  readonly legacy: LegacyStore;
  readonly records: RedisRecords;
  readonly routing: Routing;
  readonly arrears: Arrears;
  readonly drains: SharedDrains;
  readonly health: RedisHealth;
  readonly ids: IdSource;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly limits: Limits;
}

/**
 * Where the site can go on without R it waits for R but briefly. While R is known to be away no call waits for it: a
 * request that cannot go on without is held by `Hold`, which also sees when the fleet leaves R behind.
 */
export function redisLimits(ctx: FerryContext, routes: Routes): CallLimits {
  const goesOn = routes.liberty === "gap" || routes.liberty === "fallback";
  return { deadline: goesOn ? ctx.limits.redis : ctx.limits.request, hold: false };
}

/**
 * For what R is told after the answer. It belongs to its operation, which every barrier waits for: a demotion must not
 * wait for an R that is away, and what could not be told is owed to R anyway.
 */
export function afterthought(ctx: FerryContext): CallLimits {
  return { deadline: ctx.limits.request, hold: false, later: true };
}

/** Lets a test hold the operation here; costs nothing where nobody looks. */
export function passing(ctx: FerryContext, point: Point, sid: Sid | null): Promise<void> | undefined {
  return ctx.observer.at?.(point, sid);
}

/**
 * Ends an intent. It never rejects: an intent whose close got no reply is owed to R and closed later (rule 6), and
 * until then R trusts L for this sid, which is right.
 */
export async function closeIntent(ctx: FerryContext, sid: Sid, intent: string, outcome: Outcome): Promise<void> {
  try {
    await ctx.records.close(sid, intent, outcome, afterthought(ctx));
  } catch (error) {
    ctx.arrears.strayIntent(sid, intent, "closed");
    ctx.observer.event({ type: "mirror-failure", failedOn: "redis", verb: "close", error });
  }
}

/**
 * Tells R what this node owes it. The flush counts as an operation: one begun under earlier routes must not land after
 * a barrier that relies on it.
 */
export async function flushArrears(ctx: FerryContext): Promise<number> {
  if (ctx.arrears.size === 0) return 0;
  const end = ctx.routing.enter();
  try {
    const routesOf = (sid: Sid) => ctx.routing.placement(sid).routes;
    return await ctx.arrears.flush(ctx.records, routesOf, afterthought(ctx));
  } finally {
    end();
  }
}
