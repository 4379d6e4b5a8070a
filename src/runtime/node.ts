import { hostname } from "node:os";
import type { Config } from "../core/config.js";
import { IdSource, newNodeId } from "../core/ids.js";
import type { Phases } from "../core/phase.js";
import type { Sid } from "../core/session.js";
import { redisMayBeAhead } from "../core/transition.js";
import { FerryError } from "../errors.js";
import { Arrears } from "../ferry/arrears.js";
import { type FerryContext, flushArrears } from "../ferry/context.js";
import { DrainRate } from "../ferry/drain-rate.js";
import { drainIndex, noteDirty } from "../ferry/drainer.js";
import type { EvictionStores } from "../ferry/eviction.js";
import { asFerryError } from "../ferry/failures.js";
import { Ferry } from "../ferry/ferry.js";
import { Follower, trust } from "../ferry/follower.js";
import { Housekeeper, tellRedis } from "../ferry/housekeeper.js";
import { Membership } from "../ferry/membership.js";
import { resume, type Steerage } from "../ferry/recovery.js";
import { RedisHealth } from "../ferry/redis-health.js";
import { Refused } from "../ferry/refused.js";
import { Routing } from "../ferry/routing.js";
import { SharedDrains } from "../ferry/shared-drains.js";
import { awaitPresence, GRACE, Silence } from "../ferry/silence.js";
import { loadSecrets } from "../jobs/secrets.js";
import { fanOut, Metrics } from "../observe/index.js";
import { loadPhases } from "../phases.js";
import { type ControlStore, type NodeRole, PROTOCOL_NUMBER } from "../ports/control-store.js";
import type { Fence } from "../ports/fence.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import { type Observer, SILENT } from "../ports/observer.js";
import type { RedisRecords } from "../ports/redis-records.js";
import { systemClock } from "./clock.js";
import { Loop } from "./loop.js";
import { legacyItemsOf, openControlOf, openLegacy, openRecords } from "./open.js";
import { keepPoolMap } from "./pool-map.js";
import { sessionDefaults } from "./session-defaults.js";
import { StoreClocks } from "./store-clocks.js";
import { VERSION } from "./version.js";

/** A settled node looks at the control store this often (milliseconds); changes reach every node within a second. */
const POLL = 400;
/** While a transition waits for acknowledgements. */
const POLL_BUSY = 40;
/** R must have been away this long before the fleet demotes itself: longer than a restart of a healthy server. */
const DEMOTE_AFTER = 2_000;
/** A node is overdue when it was silent for longer than its longest command, and this; together with `GRACE` 5 s. */
const SILENCE_MARGIN = 5_000 - GRACE;
/** How old the count of dirty sessions in the control store may be, which is all that is left of them if R is lost. */
const NOTE_DIRTY_EVERY = 2_000;
/** Expired rows are pruned about this often by every node, as connect-pg-simple does. */
const PRUNE_EVERY = 15 * 60_000;

export interface NodeOptions {
  readonly role: NodeRole;
  readonly observer?: Observer;
  /** Counts this process' requests over all the nodes it is one after another. */
  readonly metrics?: Metrics;
  /** The highest revision this process has followed: a control store that shows a lower one was restored (rule 11). */
  readonly notBelow?: number;
  /** Called once, when the control store refused this node's renewal. */
  readonly onEvicted?: () => void;
}

/** Milliseconds after which a node's silence counts; it is taken for dead when that has lasted for `GRACE`. */
export function overdueAfter({ timeouts }: Config): number {
  return Math.max(timeouts.legacy, timeouts.redis) + SILENCE_MARGIN;
}

/** One registered node with its stores, verbs and background work. */
export class FerryNode {
  readonly #loops: Loop[] = [];
  readonly #silence = new Silence(systemClock);
  #overdue: readonly string[] = [];
  #controlDown = false;
  #closing = false;
  /** False where the last drain was ended by its time alone. */
  #drainedAll = true;
  #noteDirtyAt = Number.NEGATIVE_INFINITY;

  private constructor(
    readonly config: Config,
    readonly id: string,
    readonly role: NodeRole,
    readonly phases: Phases,
    readonly control: ControlStore,
    readonly legacy: LegacyStore,
    readonly records: RedisRecords,
    readonly membership: Membership,
    readonly ctx: FerryContext,
    readonly ferry: Ferry,
    readonly follower: Follower,
    readonly metrics: Metrics,
    /** What L never takes of this node's drains. */
    private readonly refusedByLegacy: Refused,
  ) {}

  /**
   * Joins the fleet, opens the stores behind the fence, and starts following.
   * @throws FerryError NOT_SET_UP, CONTROL_UNREACHABLE, ...
   */
  static async open(config: Config, options: NodeOptions): Promise<FerryNode> {
    const { role, observer = SILENT, metrics = new Metrics(), notBelow = 0, onEvicted } = options;
    const id = newNodeId();
    const phases = loadPhases();
    const observed = fanOut(metrics, observer);
    const control = await openControlOf(config, id);
    let node: FerryNode | null = null;
    const opened: { close(): Promise<void> }[] = [control];
    try {
      if (notBelow > 0) await requireRevision(control, notBelow);
      const silence = overdueAfter(config);
      if (role !== "job") await awaitPresence(control, silence, systemClock);
      const membership = await Membership.join(
        control,
        { id, role, protocol: PROTOCOL_NUMBER, host: hostname(), pid: process.pid, version: VERSION },
        { presence: silence, overdueAfter: silence },
        () => {
          observed.event({ type: "evicted" });
          if (node === null) return;
          node.ferry.refuse(evicted());
          onEvicted?.();
        },
      );
      await keepPoolMap(config, control, { id, role });
      const fence: Fence = membership.fence;
      const refused = new Refused(systemClock);
      const report = (error: FerryError, sid: Sid) => {
        refused.note(sid, error.code);
        observed.event({ type: "background-error", task: "drain", error });
      };
      const clocks = new StoreClocks();
      const owners = async (sids: readonly Sid[]) => (await node?.records.locate?.(sids)) ?? sids;
      const legacy = clocks.legacy(await openLegacy(config, { node: id, fence, report, owners }));
      opened.push(legacy);
      const records = clocks.redis(await openRecords(config, { node: id, fence }));
      opened.push({ close: () => records.end() });
      await clocks.look();

      trust(records, membership.joined);
      const record = role === "job" ? membership.joined : await resume({ control, records, phases, by: id });
      trust(records, record);
      const ctx: FerryContext = {
        legacy,
        records,
        routing: new Routing(phases, record),
        arrears: new Arrears(),
        drains: new SharedDrains(),
        health: new RedisHealth(systemClock, observed),
        ids: new IdSource(id),
        clock: systemClock,
        observer: observed,
        limits: { redis: config.timeouts.redis, request: config.timeouts.legacy },
      };
      const ferry = new Ferry(ctx, sessionDefaults(config), legacyItemsOf(legacy));
      const follower = new Follower(ctx, membership, () => metrics.figures());
      // Taken for dead before it was one: nobody would hear of it any more.
      if (membership.evicted) throw evicted();
      node = new FerryNode(
        config,
        id,
        role,
        phases,
        control,
        legacy,
        records,
        membership,
        ctx,
        ferry,
        follower,
        metrics,
        refused,
      );
      // Figures are asked for before anything changes; the log tells changes alone.
      const { position, revision } = record;
      metrics.event({ type: "routes", revision, ...position });
      metrics.event({ type: "acknowledged", revision });
      node.#start(clocks);
      return node;
    } catch (error) {
      await control.leave(id).catch(() => {});
      await Promise.allSettled(opened.reverse().map((store) => store.close()));
      throw asFerryError(error);
    }
  }

  /** Whether nothing may be begun any more: the node was evicted, or is closing. */
  get refused(): boolean {
    return this.#closing || this.membership.evicted;
  }

  get steerage(): Steerage {
    return { control: this.control, records: this.records, phases: this.phases, by: this.id };
  }

  get eviction(): EvictionStores {
    const { control, legacy, records, phases } = this;
    return { control, legacy, records, phases, observer: this.ctx.observer };
  }

  /**
   * Finishes what is in flight, tells R what it is owed, leaves, and closes the stores. A node that cannot tell R stays
   * registered: the others will evict it, sweep its intents, and take its gap for lost.
   */
  async close(): Promise<void> {
    this.#closing = true;
    this.ferry.refuse(new FerryError("CLOSED", "This ferry is closed."));
    const until = systemClock.elapsed() + this.config.timeouts.legacy;
    while (this.ctx.routing.inFlight > 0 && systemClock.elapsed() < until) await systemClock.sleep(10);
    await Promise.all(this.#loops.map((loop) => loop.stop()));
    await flushArrears(this.ctx).catch(() => {});
    const { arrears, routing } = this.ctx;
    const isLevel = arrears.isForgiven((sid) => routing.placement(sid).routes);
    if (isLevel && routing.inFlight === 0) await this.membership.leave().catch(() => {});
    await this.#closeStores();
  }

  /** What an evicted node does: its connections are dead, its registration is gone. */
  async abandon(): Promise<void> {
    await Promise.all(this.#loops.map((loop) => loop.stop()));
    await this.#closeStores();
  }

  async #closeStores(): Promise<void> {
    await Promise.allSettled([this.legacy.close(), this.records.end(), this.control.close()]);
  }

  #start(clocks: StoreClocks): void {
    this.#every(
      "clocks",
      () => clocks.pause,
      () => clocks.look(),
    );
    this.#every(
      "follow",
      () => (this.follower.behind ? POLL_BUSY : POLL),
      () => this.#follow(),
    );
    if (this.role === "job") {
      this.#every(
        "housekeeping",
        () => POLL,
        async () => void (await tellRedis(this.ctx)),
      );
      return;
    }
    const housekeeper = new Housekeeper(this.ctx, this.steerage, this.eviction, {
      onRedisDown: this.config.onRedisDown,
      demoteAfter: DEMOTE_AFTER,
      overdueAfter: overdueAfter(this.config),
    });
    this.#every(
      "housekeeping",
      () => POLL,
      () => housekeeper.tick(this.#overdue),
    );
    const rate = new DrainRate(this.control, systemClock, this.config.drain);
    this.#every(
      "drain",
      // What a rate allows for the pause must not be had without it.
      () => (this.#drainedAll || this.config.drain.rate > 0 ? this.config.drain.every : 0),
      () => this.#drain(rate),
    );
    this.#every(
      "prune",
      () => PRUNE_EVERY * (0.5 + Math.random()),
      async () => {
        // A table that was never pruned takes minutes, which a node that leaves does not have.
        const goOn = () => !this.refused && this.ctx.routing.record.position.phase !== "complete";
        if (goOn()) await this.legacy.prune(goOn);
      },
    );
  }

  async #drain(rate: DrainRate): Promise<void> {
    // However much there is to drain, the count is noted in time, and a node that leaves does not wait for the last of it.
    const until = systemClock.elapsed() + NOTE_DIRTY_EVERY;
    this.#drainedAll = true;
    try {
      await drainIndex(this.ctx, rate, () => {
        this.#drainedAll = systemClock.elapsed() < until;
        return this.#drainedAll && !this.refused;
      });
    } finally {
      // Above all where nothing can be drained.
      await this.#noteDirty();
    }
  }

  async #noteDirty(): Promise<void> {
    if (!redisMayBeAhead(this.ctx.routing.record) || systemClock.elapsed() < this.#noteDirtyAt) return;
    this.#noteDirtyAt = systemClock.elapsed() + NOTE_DIRTY_EVERY;
    await noteDirty(this.ctx.records, this.control, async (now) => {
      const secrets = await loadSecrets(this.control, systemClock);
      return this.refusedByLegacy.told(now, (sid) => secrets.digest(sid));
    });
  }

  async #follow(): Promise<void> {
    try {
      this.#overdue = this.#silence.proven(await this.follower.poll());
      if (this.#controlDown) this.#tellControl(false);
    } catch (error) {
      this.#overdue = [];
      this.#silence.interrupted();
      if (!this.#controlDown) this.#tellControl(true);
      throw error;
    }
  }

  #tellControl(down: boolean): void {
    this.#controlDown = down;
    this.ctx.observer.event({ type: "control", state: down ? "down" : "up" });
  }

  #every(task: string, pause: () => number, run: () => Promise<void>): void {
    const onError = (error: unknown) => this.ctx.observer.event({ type: "background-error", task, error });
    this.#loops.push(new Loop(run, pause, onError).start());
  }
}

/** What every request of a node is told that was taken for dead. */
export function evicted(): FerryError {
  return new FerryError("NODE_EVICTED", "This process was taken for dead and fenced off.");
}

/** Asked before joining, which by itself would raise a restored record's revision. */
async function requireRevision(control: ControlStore, notBelow: number): Promise<void> {
  const { revision } = await control.read();
  if (revision >= notBelow) return;
  throw new FerryError(
    "REVISION_WENT_BACK",
    `The control record has revision ${revision}; this process has followed ${notBelow} already.`,
  );
}
