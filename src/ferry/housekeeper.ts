import { someBucket } from "../core/transition.js";
import type { CallLimits } from "../ports/redis-records.js";
import { type FerryContext, flushArrears } from "./context.js";
import { type EvictionStores, evict } from "./eviction.js";
import { isRedisFailure } from "./failures.js";
import { reclaim } from "./reclaim.js";
import { assistOneWay, demote, isDemotable, rearm, type Steerage } from "./recovery.js";
import { releaseOwed } from "./succession.js";

export interface HousekeeperOptions {
  readonly onRedisDown: "demote" | "fail";
  /** Milliseconds for which R must have been away before the fleet demotes itself. */
  readonly demoteAfter: number;
  /** Milliseconds without a renewal after which a node is taken for dead. */
  readonly overdueAfter: number;
}

/** Milliseconds between two looks for evictions that somebody began and did not end. */
const BEGUN_EVERY = 10_000;

/** A look whether R is there must not keep the node from doing something about it. */
const PROBE: CallLimits = { deadline: 1_000, hold: false };

/**
 * What a node does for the fleet beside serving: it looks whether R is there, tells R what it owes it, fences nodes
 * that went silent, arms an R that came back empty or with older data, and takes its part in a demotion. Every duty may be done by several
 * nodes at once and by any of them alone.
 */
export class Housekeeper {
  /** Nodes that were taken for dead and could not be fenced off wholly. */
  readonly #unfinished = new Set<string>();
  #soughtAt = Number.NEGATIVE_INFINITY;

  constructor(
    readonly ctx: FerryContext,
    readonly steerage: Steerage,
    readonly eviction: EvictionStores,
    readonly options: HousekeeperOptions,
  ) {}

  async tick(overdue: readonly string[]): Promise<void> {
    const { record } = this.ctx.routing;
    // First of all: requests wait for it, and what follows may take long, or fail.
    await assistOneWay(this.steerage, record);
    if (await tellRedis(this.ctx)) await this.#actOnLoss();
    await releaseOwed(this.steerage.control);
    await this.#fence(overdue, record.pending?.oneWay === true || this.ctx.health.state === "lost");
  }

  /**
   * An eviction that could not be ended (a store that is away cannot end the node's connections) is tried again. What
   * others began and did not end stands in the registry: it is looked for now and then, since the node's intents stand
   * as long, and always where the fleet waits for every node.
   */
  async #fence(overdue: readonly string[], isWaiting: boolean): Promise<void> {
    const begun = isWaiting || this.#isTime() ? await this.#begun() : [];
    const { overdueAfter } = this.options;
    for (const node of new Set([...overdue, ...this.#unfinished, ...begun])) {
      if (await evict(this.eviction, node, this.steerage.by, { overdueAfter })) this.#unfinished.delete(node);
      else this.#unfinished.add(node);
    }
  }

  #isTime(): boolean {
    const now = this.ctx.clock.elapsed();
    if (now - this.#soughtAt < BEGUN_EVERY) return false;
    this.#soughtAt = now;
    return true;
  }

  async #begun(): Promise<string[]> {
    const nodes = await this.steerage.control.nodes();
    return nodes.filter(({ state }) => state === "evicted").map(({ id }) => id);
  }

  async #actOnLoss(): Promise<void> {
    const { ctx, steerage, options } = this;
    if (ctx.health.state === "up") return;
    const demotable = options.onRedisDown === "demote" && isDemotable(ctx.routing.record, ctx.routing.phases);
    if (demotable && ctx.health.awayFor >= options.demoteAfter) await demote(steerage);
    if (ctx.health.state === "lost" && !(await rearm(steerage, this.eviction))) {
      await reclaim(steerage, this.eviction);
    }
  }
}

/**
 * Looks whether R is there, and tells it what this node owes it. Every node does that for itself, jobs too: until then it
 * cannot acknowledge where R is read.
 *
 * @returns false where nobody asks R, so that nothing was done
 */
export async function tellRedis(ctx: FerryContext): Promise<boolean> {
  const { record, phases } = ctx.routing;
  if (!someBucket(record, phases, ({ write }) => write !== "legacy")) return false;
  try {
    await ctx.records.ping(PROBE);
    ctx.health.probed(null);
    await flushArrears(ctx);
  } catch (error) {
    if (!isRedisFailure(error)) throw error;
    ctx.health.probed(error);
  }
  return true;
}
