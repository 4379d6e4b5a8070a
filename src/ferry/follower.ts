import type { Sid } from "../core/session.js";
import { redisIsSoleAuthority } from "../core/transition.js";
import type { ControlRecord, NodeReport } from "../ports/control-store.js";
import type { RedisRecords } from "../ports/redis-records.js";
import type { FerryContext } from "./context.js";
import type { Membership } from "./membership.js";

/** The figures of a renewal that the metrics know. */
export type Figures = Pick<NodeReport, "operations" | "errors" | "p95">;

/**
 * Keeps one node on the fleet's routes: a poll renews the registration, takes the newest record, and reports which
 * revision the node can vouch for. It acknowledges a revision only when nothing is left of what that revision's routes
 * forbid: no operation begun under earlier ones, no gap entry where they give no gap liberty (rule 8), and nothing at
 * all owed to R where R is read.
 */
export class Follower {
  #acknowledged: number;

  constructor(
    readonly ctx: FerryContext,
    readonly membership: Membership,
    readonly figures: () => Figures,
  ) {
    this.#acknowledged = ctx.routing.record.revision;
  }

  /** One poll. Returns the overdue nodes. Rejects when the control store is away. */
  async poll(): Promise<readonly string[]> {
    const { ctx } = this;
    const { record, accepted, overdue } = await this.membership.renew({
      ...this.figures(),
      acknowledged: this.acknowledged(),
      drained: ctx.routing.drainedRevision(),
      gap: ctx.arrears.gapSize,
      redis: ctx.health.state,
    });
    if (accepted && ctx.routing.follow(record)) {
      trust(ctx.records, record);
      const { phase, percent } = record.position;
      ctx.observer.event({ type: "routes", revision: record.revision, phase, percent });
    }
    return overdue;
  }

  /** True while the control store does not know yet what this node could acknowledge. */
  get behind(): boolean {
    const { record } = this.ctx.routing;
    return record.pending !== null || this.#acknowledged < record.revision;
  }

  acknowledged(): number {
    const { routing, arrears, observer } = this.ctx;
    const drained = routing.drainedRevision();
    const descending = routing.record.pending?.direction === "down";
    const routesOf = (sid: Sid) => routing.placement(sid).routes;
    const owes = () => arrears.owesAgainst(routesOf, { descending });
    arrears.forgive(routesOf);
    if (drained > this.#acknowledged && !owes()) {
      this.#acknowledged = drained;
      observer.event({ type: "acknowledged", revision: drained });
    }
    return this.#acknowledged;
  }
}

/** R is believed for the generation of the record; a restart of R is accepted only where L has no say any more. */
export function trust(records: RedisRecords, record: ControlRecord): void {
  records.generation = record.generation;
  records.trustRestarts = redisIsSoleAuthority(record);
}
