import { newGeneration } from "../core/ids.js";
import { type Phases, type Position, type Transition, targetOf, type WorkName } from "../core/phase.js";
import {
  abandonRedis,
  begin,
  isReversible,
  proceed,
  redisMayBeRead,
  reverse,
  type Steering,
  samePosition,
} from "../core/transition.js";
import { FerryError } from "../errors.js";
import { type EvictionStores, evict } from "../ferry/eviction.js";
import { allAcknowledge } from "../ferry/recovery.js";
import { Silence } from "../ferry/silence.js";
import { release, type Successor, succeed } from "../ferry/succession.js";
import type { Clock } from "../ports/clock.js";
import {
  type ControlRecord,
  type ControlStore,
  ControlUnreachable,
  type NodeInfo,
  PROTOCOL_NUMBER,
} from "../ports/control-store.js";
import type { Observer } from "../ports/observer.js";
import { RedisLost } from "../ports/redis-records.js";
import { tellArrival } from "./ledger.js";
import { WORKS, type WorkStores } from "./works.js";

/** Milliseconds. */
export interface CoordinatorTimes {
  readonly acknowledge: number;
  readonly drain: number;
  /** Age of a renewal after which the coordinator fences a node itself. */
  readonly overdueAfter: number;
}

export interface Progress {
  readonly transition: Transition;
  readonly step: { readonly barrier: readonly string[] } | { readonly work: WorkName; readonly count: number };
}

/** How often a waiting coordinator looks at the registry, in milliseconds. */
const LOOK = 50;
/** The lock outlives one renewal of it several times; it is renewed with every look. */
const LOCK_TTL = 15_000;

/**
 * Walks a migration from one position to a neighbouring one (rule 8): publish a rung, wait until every node has
 * acknowledged it, do the work that lies before the next. Everything it knows is in the control record, so a
 * coordinator that dies leaves a pending transition that the next command finishes or turns round.
 */
export class Coordinator {
  /** The operator gave R up: nothing waits for it. */
  #redisLost = false;
  #first: ControlRecord | null = null;
  #newest: ControlRecord | null = null;
  /** False: the newest was sent, and nobody answered. */
  #isCertain = true;

  constructor(
    readonly control: ControlStore,
    readonly phases: Phases,
    readonly works: WorkStores,
    readonly eviction: EvictionStores,
    readonly times: CoordinatorTimes,
    readonly clock: Clock,
    readonly observer: Observer,
    /** The holder of the lock and the author of the entries. */
    readonly by: string,
    readonly onProgress: (progress: Progress) => void = () => {},
    readonly signal?: AbortSignal,
  ) {}

  /** What is pending, as far as it knows. */
  get pending(): Transition | null {
    return this.#newest?.pending ?? null;
  }

  /** What is different by now from what it found, as far as it knows; null for nothing. For whoever tells how it ended. */
  get changed(): string | null {
    if (this.#first === null || this.#newest === null) return null;
    const { position, pending } = this.#newest;
    const may = this.#isCertain ? "is" : "may be";
    if (pending !== null) return `the transition ${describe(pending)} ${may} recorded and pending`;
    if (samePosition(position, this.#first.position)) return null;
    const was = this.#isCertain ? "was" : "may have been";
    return `the migration ${was} taken to ${position.phase} ${position.percent} %`;
  }

  /**
   * Walks to a neighbouring position. With a pending transition to that very position it goes on with it.
   *
   * @param judged the revision of the record for which this was decided, asked and found to pass the gates
   * @throws FerryError OVERTAKEN where it ended elsewhere, TRANSITION_PENDING, PROTOCOL_MISMATCH, HELD, ...
   */
  async moveTo(to: Position, reason: string, judged?: number): Promise<ControlRecord> {
    return this.#holding(async () => {
      const record = await this.#read();
      if (record.pending === null) {
        if (samePosition(record.position, to)) return record;
        if (judged !== undefined && record.revision !== judged) throw overtaken(record);
        requireEqualProtocols(await this.control.nodes());
        const author = { by: this.by, reason, at: await this.control.now() };
        await this.#publish(record, begin(record, to, this.phases, author), "begin", { to, reason });
      } else if (!samePosition(targetOf(record.pending), to)) {
        throw new FerryError("TRANSITION_PENDING", `A transition ${describe(record.pending)} is pending.`);
      }
      return this.#arriving(to);
    });
  }

  /** Goes on with whatever is pending, wherever that leads. */
  async finish(): Promise<ControlRecord> {
    return this.#holding(() => this.#walk());
  }

  /** Turns a pending transition round and walks back. */
  async reverse(reason: string): Promise<ControlRecord> {
    return this.#holding(async () => {
      const record = await this.#read();
      if (record.pending === null) return record;
      if (!isReversible(record.pending, this.phases)) {
        throw new FerryError("TRANSITION_PENDING", `The transition ${describe(record.pending)} can only be finished.`, {
          next: "sessionferry phase advance",
        });
      }
      const author = { by: this.by, reason, at: await this.control.now() };
      const back = reverse(record, this.phases, author);
      await this.#publish(record, back, "reverse", { reason });
      return this.#arriving(targetOf(back.pending!));
    });
  }

  /**
   * Rule 10, `--redis-lost`: leaves an R that will not come back, from whatever position, for dual-write under a new
   * generation. Works without R. `dirty` sids had not reached L, as far as was known.
   */
  async abandon(reason: string, dirty: number | null): Promise<ControlRecord> {
    this.#redisLost = true;
    return this.#holding(async () => {
      const record = await this.#read();
      requireRedisIsRead(record);
      if (!record.pending?.oneWay) {
        const author = { by: this.by, reason, at: await this.control.now() };
        const next = abandonRedis(record, this.phases, author, newGeneration());
        await this.#publish(record, next, "redis-lost", { from: record.position, reason, dirty });
      }
      return this.#walk();
    });
  }

  /** A demotion, or an operator who gave Redis up, may have taken the fleet elsewhere: then the walk did not arrive. */
  async #arriving(to: Position): Promise<ControlRecord> {
    const record = await this.#walk();
    if (samePosition(record.position, to)) return record;
    throw overtaken(record);
  }

  async #walk(): Promise<ControlRecord> {
    let patience = this.clock.elapsed() + this.times.acknowledge;
    for (;;) {
      const record = await this.#read();
      const { pending } = record;
      if (pending === null) {
        await tellArrival(this.control, record, this.by);
        return record;
      }
      if (!(await this.#barrier(record, pending))) continue;
      const works = worksOf(this.phases, pending);
      // What R is ahead with dates from the stamp that was given first; a later one would make it look older than it is.
      const stamp = pending.stamp ?? stampOf(record);
      try {
        if (!(await this.#work(record, pending, works, stamp))) continue;
      } catch (error) {
        // R restarted, and the nodes put it right before anybody trusts it: what was done on it is done again.
        if (error instanceof RedisLost && this.clock.elapsed() < patience) {
          await this.clock.sleep(LOOK, this.signal);
          continue;
        }
        // A gate that closed on the way: back to where the walk began, and tell.
        if (!(error instanceof FerryError && error.code === "GATE_REFUSED")) throw error;
        const author = { by: this.by, reason: error.message, at: await this.control.now() };
        await this.#publish(record, reverse(record, this.phases, author), "reverse", { reason: error.message });
        await this.#walk();
        throw error.having(this.changed ?? "the transition was begun and walked back");
      }
      // Somebody may have changed the record meanwhile (R armed anew, another node finishing a demotion): look again.
      const stamped = works.includes("redis-stands") ? stamp : undefined;
      const next = await this.#set(record, proceed(record, this.phases, stamped));
      if (next === null) continue;
      patience = this.clock.elapsed() + this.times.acknowledge;
      await this.observer.at?.("transition:published", null);
      if (next.pending === null) {
        await this.control.append({ by: this.by, action: "settled", detail: { position: next.position } });
      }
    }
  }

  /** @returns false where this record was followed by another: then the walk looks at that one. */
  async #barrier(record: ControlRecord, transition: Transition): Promise<boolean> {
    const until = this.clock.elapsed() + this.times.acknowledge;
    const silence = new Silence(this.clock);
    for (;;) {
      await this.#keepLock();
      const nodes = await this.control.nodes();
      // One that joined on the way may not know this rung; a way that leaves R for good waits for nobody's release.
      if (!transition.oneWay) requireEqualProtocols(nodes, `the transition ${describe(transition)} is pending`);
      if (allAcknowledge(record, nodes)) break;
      if (await this.#isOld(record, nodes)) return false;
      const behind = nodes.filter((node) => !allAcknowledge(record, [node]));
      this.onProgress({ transition, step: { barrier: behind.map(({ id }) => id) } });
      if (this.clock.elapsed() >= until) {
        throw new FerryError("TRANSITION_PENDING", `${behind.map(name).join(", ")} did not acknowledge in time.`, {
          changed: `the transition ${describe(transition)} is recorded and pending`,
        });
      }
      const now = await this.control.now();
      const overdue = behind.filter(
        ({ state, renewedAt }) => state === "live" && now - renewedAt > this.times.overdueAfter,
      );
      const evicted = behind.filter(({ state }) => state === "evicted");
      const gone = [...idsOf(evicted), ...silence.proven(idsOf(overdue))];
      const manner = { withoutRedis: this.#redisLost, overdueAfter: this.times.overdueAfter };
      await this.#keepingLock(async () => {
        for (const id of gone) await evict(this.eviction, id, this.by, manner);
      });
      await this.clock.sleep(LOOK, this.signal);
    }
    await this.observer.at?.("transition:acknowledged", null);
    return true;
  }

  /** Whether some node knows a later record than this one. */
  async #isOld({ revision }: ControlRecord, nodes: readonly NodeInfo[]): Promise<boolean> {
    if (newestKnown(nodes) <= revision) return false;
    await this.#requireNewest(nodes);
    return true;
  }

  /**
   * Rule 11: the revision never goes back. What a node has acknowledged under a record that the control store has
   * forgotten says nothing of the one that has its number now.
   *
   * @param nodes as they were read before
   */
  async #requireNewest(nodes: readonly NodeInfo[]): Promise<void> {
    const known = newestKnown(nodes);
    const { revision } = await this.control.read();
    if (known <= revision) return;
    throw new FerryError(
      "REVISION_WENT_BACK",
      `A process follows revision ${known}; the control record is at ${revision}.`,
    );
  }

  /** @returns false where the record was published anew for a barrier: then the walk looks at it again. */
  async #work(
    record: ControlRecord,
    transition: Transition,
    works: readonly WorkName[],
    stamp: string,
  ): Promise<boolean> {
    let published = record;
    const barrier = async () => {
      await this.#keepLock();
      const next = await this.#set(published, published);
      if (next === null) return false;
      published = next;
      return this.#isPassed(next, transition);
    };
    const { buckets } = transition;
    for (const name of works) {
      await this.observer.at?.("transition:work", null);
      await this.#keepingLock(() =>
        WORKS[name](this.works, {
          buckets,
          startedAt: transition.startedAt,
          stamp,
          patience: this.times.drain,
          progress: (work, count) => this.onProgress({ transition, step: { work, count } }),
          barrier,
          ...(this.signal && { signal: this.signal }),
        }),
      );
      if (published !== record) return false;
    }
    return true;
  }

  /** What may take longer than the lock lasts. */
  async #keepingLock(perform: () => Promise<void>): Promise<void> {
    let renewal: Promise<void> = Promise.resolve();
    const renewing = setInterval(() => {
      renewal = this.#keepLock().catch(() => {});
    }, LOCK_TTL / 3);
    try {
      await perform();
    } finally {
      clearInterval(renewing);
      // A renewal that lands after the lock was given back would hold it for nobody.
      await renewal;
    }
  }

  /** The same barrier in the midst of a work, which has a patience of its own. */
  async #isPassed(record: ControlRecord, transition: Transition): Promise<boolean> {
    try {
      return await this.#barrier(record, transition);
    } catch (error) {
      if (error instanceof FerryError && error.code === "TRANSITION_PENDING") return false;
      throw error;
    }
  }

  async #publish(
    record: ControlRecord,
    next: Steering,
    action: string,
    detail: Record<string, unknown>,
  ): Promise<void> {
    const published = await this.#set(record, next);
    if (published === null) throw new FerryError("HELD", "The control record was changed by somebody else meanwhile.");
    await this.control.append({ by: this.by, action, detail });
    await this.observer.at?.("transition:published", null);
  }

  /** Looks at the record. */
  async look(): Promise<void> {
    await this.#read();
  }

  async #read(): Promise<ControlRecord> {
    const record = await this.control.read();
    this.#first ??= record;
    this.#newest = record;
    this.#isCertain = true;
    return record;
  }

  async #set(record: ControlRecord, next: Steering): Promise<ControlRecord | null> {
    try {
      const published = await this.control.compareAndSet(record.revision, next);
      if (published !== null) this.#newest = published;
      return published;
    } catch (error) {
      // It may have been carried out: until the record is read again, that is what is told.
      if (error instanceof ControlUnreachable && error.sent) {
        this.#newest = { ...record, ...next };
        this.#isCertain = false;
      }
      throw error;
    }
  }

  async #holding<T>(perform: () => Promise<T>): Promise<T> {
    this.#requireUninterrupted();
    const { control, eviction, by } = this;
    const successor: Successor = { control, eviction, lock: "phase", holder: by, node: this.works.node, ttl: LOCK_TTL };
    const outcome = await succeed(successor, this.#redisLost);
    if (outcome === "taken") throw isHeld();
    if (outcome === "haunted") {
      throw new FerryError("HELD", "A command died in the middle of its work on Redis and cannot be fenced off yet.", {
        remedy: "Bring Redis back, then repeat the command.",
      });
    }
    try {
      await this.#requireNewest(await control.nodes());
      return await perform();
    } finally {
      await release(successor).catch(() => {});
    }
  }

  #requireUninterrupted(): void {
    if (this.signal?.aborted) throw new FerryError("INTERRUPTED", "Interrupted; what was recorded stays pending.");
  }

  async #keepLock(): Promise<void> {
    this.#requireUninterrupted();
    if (!(await this.control.lock("phase", this.by, LOCK_TTL))) throw isHeld();
  }
}

/** The latest revision that a living node has acknowledged. */
function newestKnown(nodes: readonly NodeInfo[]): number {
  const live = nodes.filter(({ state }) => state === "live");
  return Math.max(0, ...live.map(({ report }) => report.acknowledged));
}

/** What is to be done before the next rung is published, or the walk ends. */
function worksOf(phases: Phases, { ladder, rung, direction }: Transition): readonly WorkName[] {
  const { ladder: rungs, settle } = phases[ladder];
  const isTop = rung === rungs.length - 1;
  return (direction === "down" ? rungs[rung]?.leave : isTop ? settle : rungs[rung + 1]?.enter) ?? [];
}

/** Higher for each rung of each walk: of two stamps it is known which came first. */
function stampOf({ revision }: ControlRecord): string {
  return String(revision);
}

/** For --redis-lost: where nobody reads R, what is pending goes back without R by itself. */
export function requireRedisIsRead(record: ControlRecord): void {
  if (redisMayBeRead(record)) return;
  const { pending } = record;
  const during = pending === null ? "" : ` while ${describe(pending)} is pending`;
  throw new FerryError("GUARD_REFUSED", `Nobody reads Redis${during}, so there is nothing to leave behind.`, {
    remedy: "Go back without --redis-lost: below read-through that needs no Redis.",
    next: "sessionferry phase rollback",
  });
}

function overtaken({ position: { phase, percent } }: ControlRecord): FerryError {
  return new FerryError("OVERTAKEN", `The step was overtaken: the migration stands at ${phase} ${percent} % now.`, {
    changed: `not by this command: the migration was taken to ${phase} ${percent} % while it was under way`,
    next: "sessionferry phase history",
  });
}

function isHeld(): FerryError {
  return new FerryError("HELD", "Another command is changing the phase of this migration.");
}

export function describe({ lower, upper, direction }: Transition): string {
  const [from, to] = direction === "up" ? [lower, upper] : [upper, lower];
  return `${from.phase} ${from.percent} % -> ${to.phase} ${to.percent} %`;
}

/** Rule 11: a step needs equal numbers. */
function requireEqualProtocols(nodes: readonly NodeInfo[], changed?: string): void {
  const others = nodes.filter(({ state, protocol }) => state === "live" && protocol !== PROTOCOL_NUMBER);
  if (others.length === 0) return;
  const told = others.map((node) => `${name(node)} speaks ${node.protocol}`).join(", ");
  const message = `This build speaks protocol ${PROTOCOL_NUMBER}; ${told}.`;
  throw new FerryError("PROTOCOL_MISMATCH", message, changed === undefined ? {} : { changed });
}

function idsOf(nodes: readonly NodeInfo[]): string[] {
  return nodes.map(({ id }) => id);
}

function name({ id, host, pid }: NodeInfo): string {
  return `node ${id} (${host}, pid ${pid})`;
}
