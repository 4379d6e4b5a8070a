import type { Scheduler } from "fast-check";
import { MemoryControlStore } from "../../src/control/memory.js";
import { bucketOf, inRange } from "../../src/core/cohort.js";
import { IdSource } from "../../src/core/ids.js";
import { type Phases, type Position, placementOf } from "../../src/core/phase.js";
import type { Session, Sid } from "../../src/core/session.js";
import { mayBeBehind, someBucket } from "../../src/core/transition.js";
import { Arrears } from "../../src/ferry/arrears.js";
import { type FerryContext, flushArrears } from "../../src/ferry/context.js";
import { type EvictionStores, evict } from "../../src/ferry/eviction.js";
import { Ferry } from "../../src/ferry/ferry.js";
import { Follower, trust } from "../../src/ferry/follower.js";
import { Housekeeper } from "../../src/ferry/housekeeper.js";
import { Membership } from "../../src/ferry/membership.js";
import { read } from "../../src/ferry/read.js";
import { resume } from "../../src/ferry/recovery.js";
import { RedisHealth } from "../../src/ferry/redis-health.js";
import { Routing } from "../../src/ferry/routing.js";
import { SharedDrains } from "../../src/ferry/shared-drains.js";
import { touch } from "../../src/ferry/touch.js";
import { lastVoiding } from "../../src/ferry/void.js";
import { write } from "../../src/ferry/write.js";
import type { Clock } from "../../src/ports/clock.js";
import { type ControlRecord, type ControlStore, PROTOCOL_NUMBER } from "../../src/ports/control-store.js";
import { type LegacyStore, OutcomeUnknown } from "../../src/ports/legacy-store.js";
import { type Observer, type Point, SILENT } from "../../src/ports/observer.js";
import { type RedisRecords, RedisUnreachable } from "../../src/ports/redis-records.js";
import { MemoryLegacyStore } from "../../src/stores/legacy-memory.js";
import { MemoryRedisRecords } from "../../src/stores/records-memory.js";
import { Coordinator } from "../../src/workflow/coordinator.js";
import { type Call, isLinearizable, type Recorded, type State } from "../support/linearizability.js";

/** Far away: these tests leave real time to others. */
const FAR = 10_000_000;
const OVERDUE_AFTER = 6_000;
/** Time passes by steps here; R is away for as long as some dozen of them. */
/** So many steps a fleet stands still. */
const STILL = 40;
export const DEMOTE_AFTER = 400;

export interface WorldOptions {
  readonly sids: readonly Sid[];
  readonly nodes: number;
  readonly start: Position;
  readonly phases: Phases;
  /** L forgets by itself. */
  readonly lossy?: boolean;
  /** Milliseconds. */
  readonly limits?: FerryContext["limits"];
  /** So many extra steps pass between a write on L and its close: slow closes make rare overlaps common. */
  readonly linger?: number;
  /** So many extra steps pass between an open answered "L" and its write on L. */
  readonly hesitate?: number;
  /** The second node hears of changes so many steps later than the first, the third twice as many. */
  readonly lag?: number;
  /** Subclasses that leave out one rule. */
  readonly records?: typeof MemoryRedisRecords;
  readonly legacy?: typeof MemoryLegacyStore;
  readonly control?: typeof MemoryControlStore;
}

interface WorldNode {
  readonly id: string;
  readonly role: "app" | "job";
  readonly ferry: Ferry;
  readonly ctx: FerryContext;
  readonly follower: Follower;
  readonly line: Line;
  polling: boolean;
}

/** The connections of one node: once they were ended, nothing it sent lands any more and no answer comes back. */
interface Line {
  crashed: boolean;
  /** The node knows that it was taken for dead, and serves no more. */
  refused?: boolean;
  /** While the process is frozen: nothing of it moves before this resolves. */
  frozen?: Promise<void>;
  /** It still reaches an R that nobody else reaches. */
  hasRedis?: boolean;
  readonly cut: Set<"legacy" | "redis" | "control">;
}

/** What a command may end with, to be repeated. */
const PASSING = ["FerryError", "RedisUnreachable", "RedisLost", "OutcomeUnknown"];

const NEVER_ANSWERED = new Promise<never>(() => {});

/** Everything of a small migration in memory, where a scheduler decides in which order commands and replies pass. */
export class World {
  #now = 1_000_000;
  readonly clock: Clock;
  readonly legacy: MemoryLegacyStore;
  readonly records: MemoryRedisRecords;
  readonly control: MemoryControlStore;
  readonly nodes: WorldNode[] = [];
  readonly history = new Map<Sid, Recorded[]>();
  /** While true no command reaches R. */
  redisDown = false;
  /** While true, writes on L lose their replies, and some land late. */
  legacyVague = false;
  /** Nothing new goes wrong any more. */
  isOver = false;
  /** What L has forgotten: it need not have it any more. */
  readonly #forgotten = new Set<Sid>();
  #snapshot: ReadonlyMap<Sid, unknown> = new Map();
  #repairedAt = -1;
  #changes = 0;
  #waiting: { count: number; resolve: () => void }[] = [];
  #lostReplies = 0;
  #names = 0;
  #values = 0;

  private constructor(
    readonly options: WorldOptions,
    readonly scheduler: Scheduler,
  ) {
    this.clock = {
      now: () => this.#now,
      elapsed: () => this.#now,
      sleep: async (ms) => {
        await this.step("sleep");
        this.#now += ms;
      },
    };
    this.legacy = new (options.legacy ?? MemoryLegacyStore)({ clock: this.clock, lossy: options.lossy ?? false });
    this.records = new (options.records ?? MemoryRedisRecords)({ clock: this.clock, migration: "world" });
    this.control = new (options.control ?? MemoryControlStore)({ clock: this.clock });
    for (const sid of options.sids) this.history.set(sid, []);
  }

  static async create(options: WorldOptions, scheduler: Scheduler): Promise<World> {
    const world = new World(options, scheduler);
    await world.control.setup({
      position: options.start,
      pending: null,
      generation: "g0",
      interrupted: false,
    });
    await world.records.arm("g0", "active");
    for (let i = 0; i < options.nodes; i++) await world.join("app");
    await world.#seedSessions();
    return world;
  }

  /** The first two sids have a session, as the start position wants it: in L, and where R is written in R too. */
  async #seedSessions(): Promise<void> {
    const position = this.options.start;
    this.records.generation = "g0";
    for (const sid of this.options.sids.slice(0, 2)) {
      const session: Session = { value: Buffer.from(`first-${sid}`), flags: 0, expiresAt: this.#now + FAR };
      await this.legacy.set(sid, session);
      const { routes } = placementOf(this.options.phases, { position, pending: null }, bucketOf(sid));
      if (routes.write !== "legacy") await this.records.setAlone(sid, session);
      const call: Call = { kind: "set", state: stateOf(session) };
      this.history.get(sid)!.push({ call, begun: 0, ended: 1 });
    }
  }

  /** One point at which the scheduler may let somebody else go first. */
  step(label: string): Promise<void> {
    this.#now++;
    return this.scheduler.schedule(Promise.resolve(), label);
  }

  async join(role: "app" | "job"): Promise<WorldNode> {
    const id = `node${String(this.#names++).padStart(4, "0")}`;
    const line: Line = { crashed: false, cut: new Set() };
    const control = this.#wired(this.control, "control", line);
    const legacy = this.#wired<LegacyStore>(this.legacy, "legacy", line);
    const records = this.#wired<RedisRecords>(this.records.another(), "redis", line);
    const registration = { id, role, protocol: PROTOCOL_NUMBER, host: "world", pid: 1, version: "0" };
    const times = { presence: OVERDUE_AFTER, overdueAfter: OVERDUE_AFTER };
    const membership = await Membership.join(this.control, registration, times, () => {
      line.refused = true;
    });
    Object.assign(membership, { control });
    trust(records, membership.joined);
    const steerage = { control: this.control, records, phases: this.options.phases, by: id };
    const record = role === "job" ? membership.joined : await resume(steerage);
    trust(records, record);
    const routing = new Routing(this.options.phases, record);
    const ctx: FerryContext = {
      legacy,
      records,
      routing,
      arrears: new Arrears(),
      drains: new SharedDrains(),
      health: new RedisHealth(this.clock, SILENT),
      ids: new IdSource(id),
      clock: this.clock,
      observer: this.#observer(),
      limits: this.options.limits ?? { redis: 50, request: 300 },
    };
    const node: WorldNode = {
      id,
      role,
      ctx,
      line,
      ferry: new Ferry(ctx),
      follower: new Follower(ctx, membership, () => ({ operations: 0, errors: 0, p95: null })),
      polling: false,
    };
    this.nodes.push(node);
    return node;
  }

  #observer(): Observer {
    const { linger = 0, hesitate = 0 } = this.options;
    if (linger === 0 && hesitate === 0) return SILENT;
    const steps: Partial<Record<Point, number>> = { "write:opened": hesitate, "write:written": linger };
    const pass = async (count: number) => {
      for (let i = 0; i < count; i++) await this.step("linger");
    };
    return { ...SILENT, at: (point) => (steps[point] ? pass(steps[point]) : undefined) };
  }

  get live(): WorldNode[] {
    return this.nodes.filter(({ line }) => !line.crashed && !line.refused);
  }

  // --- What happens in this world ---

  /** Resolves once the control record has changed so often, or will change no more. */
  async afterChanges(count: number): Promise<void> {
    if (this.#changes < count) await new Promise<void>((resolve) => this.#waiting.push({ count, resolve }));
  }

  changed(count = this.#changes + 1): void {
    this.#changes = count;
    this.#waiting = this.#waiting.filter((waiting) => {
      if (waiting.count > count) return true;
      waiting.resolve();
      return false;
    });
  }

  /** A client's operation on one node, recorded. */
  async operate(at: number, kind: "get" | "set" | "touch" | "destroy", sid: Sid): Promise<void> {
    await this.step(`begin ${kind}`);
    const apps = this.live.filter(({ role }) => role === "app");
    const node = apps[at % apps.length];
    if (node === undefined) return;
    await this.operateOn(node, kind, sid);
  }

  async operateOn(node: WorldNode, kind: "get" | "set" | "touch" | "destroy", sid: Sid): Promise<void> {
    if (node.line.refused) return;
    const session: Session = {
      value: Buffer.from(`v${this.#values++}`),
      flags: 0,
      expiresAt: this.#now + FAR,
    };
    const call: Call =
      kind === "get"
        ? { kind }
        : kind === "touch"
          ? { kind, expiresAt: session.expiresAt }
          : { kind: "set", state: kind === "set" ? stateOf(session) : null };
    const recorded: Recorded = { call, begun: this.#now++, ended: Number.POSITIVE_INFINITY };
    this.history.get(sid)!.push(recorded);
    try {
      if (kind === "get") Object.assign(call, { result: stateOf(await read(node.ctx, sid)) });
      else if (kind === "touch") Object.assign(call, { result: await touch(node.ctx, sid, session.expiresAt) });
      else await write(node.ctx, sid, kind === "set" ? session : null);
    } catch {
      return; // The outcome is unknown: it stays open.
    }
    if (!node.line.crashed) recorded.ended = this.#now++;
  }

  async copy(at: number, force: boolean): Promise<void> {
    await this.step("begin copy");
    const node = this.live[at % this.live.length];
    await node?.ferry.copy(this.options.sids, { force }).catch(() => {});
  }

  async drain(at: number): Promise<void> {
    await this.step("begin drain");
    const node = this.live[at % this.live.length];
    if (node === undefined) return;
    const dirty = await node.ctx.records.dirtySids(10).catch(() => []);
    await node.ferry.drain(dirty).catch(() => {});
  }

  /** kill -9, of a coordinator too: what it has sent may still land until its connections are ended. */
  async crash(at: number): Promise<void> {
    await this.step("crash");
    const node = this.live[at % this.live.length];
    const isLastApp = node?.role === "app" && this.live.filter(({ role }) => role === "app").length === 1;
    if (node !== undefined && !isLastApp) node.line.crashed = true;
  }

  async setRedisDown(down: boolean): Promise<void> {
    await this.step(down ? "redis goes" : "redis comes");
    this.redisDown = down && !this.isOver;
  }

  /**
   * Every process stands still for so long that a new one finds nobody; a while later they all wake again, those that
   * were not fenced off as if nothing had been.
   *
   * @param alone they wake in a part of the network where R is, while nobody else reaches it.
   */
  async outage(alone: boolean): Promise<void> {
    await this.step("the fleet stands still");
    if (this.isOver) return;
    let wake = () => {};
    const frozen = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const still = this.live.filter(({ role }) => role === "app");
    for (const { line } of still) Object.assign(line, { frozen, hasRedis: alone });
    if (alone) this.redisDown = true;
    this.#now += OVERDUE_AFTER + 1;
    const fresh = await this.join("app");
    for (let i = 0; i < STILL; i++) {
      await this.step("all is still");
      if (i % 10 === 0) void this.poll(fresh);
    }
    wake();
    for (const { line } of still) delete line.frozen;
  }

  async saveRedis(): Promise<void> {
    await this.step("redis saves");
    this.#snapshot = this.records.save();
  }

  /**
   * R restarts. It comes back with what it held where L may be behind it (then what it loses is lost, and proves nothing),
   * and with what it last saved everywhere else.
   */
  async restartRedis(): Promise<void> {
    await this.step("redis restarts");
    if (this.isOver) return;
    const record = await this.control.read();
    const { pending } = record;
    const moving = pending?.ladder === "redis-first" ? pending : null;
    const isBehind = moving !== null && mayBeBehind(moving);
    const isLegacys = (sid: Sid): boolean => {
      if (moving !== null && inRange(bucketOf(sid), moving.buckets)) return !isBehind;
      const { routes } = placementOf(this.options.phases, record, bucketOf(sid));
      return routes.write === "L" || routes.write === "legacy";
    };
    this.records.restart(this.#snapshot, this.options.sids.filter(isLegacys), !isBehind);
  }

  /** L forgets a session, or a placeholder, wherever R is to make up for it. */
  async evict(sid: Sid): Promise<void> {
    await this.step("legacy forgets");
    const record = await this.control.read();
    if (this.isOver || !this.#mayForget(sid, record)) return;
    if (this.legacy.peek(sid) !== null) this.#forgotten.add(sid);
    this.legacy.evict(sid);
  }

  /**
   * Not where L is read, nor once what L had forgotten was pushed to it on the way there; and R must have a copy: it has
   * none while two writes overlap, and until somebody reads the session after that.
   */
  #mayForget(sid: Sid, { pending }: ControlRecord): boolean {
    if (this.legacy.peek(sid) === null) return true;
    const isLeaving = pending?.ladder === "read-through" && pending.direction === "down";
    if (isLeaving && inRange(bucketOf(sid), pending.buckets)) return false;
    if (this.live.some(({ ctx }) => ctx.routing.placement(sid).routes.read === "L")) return false;
    const { v, d, intents, cont } = this.records.snapshot(sid);
    return d !== null || (v !== null && intents.length <= 1 && !cont);
  }

  async setLegacyVague(vague: boolean): Promise<void> {
    await this.step("legacy replies");
    this.legacyVague = vague;
  }

  async pollOne(at: number): Promise<void> {
    await this.step("begin poll");
    const node = this.live[at % this.live.length];
    if (node !== undefined) await this.poll(node);
  }

  async poll(node: WorldNode): Promise<void> {
    if (node.polling || node.line.crashed) return;
    node.polling = true;
    const lag = (this.options.lag ?? 0) * Math.min(this.nodes.indexOf(node), 2);
    try {
      for (let i = 0; i < lag; i++) await this.step("lag");
      const overdue = await node.follower.poll();
      await flushArrears(node.ctx).catch(() => {});
      await this.#keepHouse(node, overdue);
    } catch {
      // The control store answers always here; an evicted node just stops.
    } finally {
      node.polling = false;
    }
  }

  /** A look at an R that is well would only take time here. */
  async #keepHouse({ role, ctx, id }: WorldNode, overdue: readonly string[]): Promise<void> {
    const { records, routing, health } = ctx;
    const isWell = health.state === "up" && this.records.isSealedFor(records.generation);
    if (role === "job" || (isWell && overdue.length === 0 && !routing.record.pending?.oneWay)) return;
    const steerage = { control: this.control, records, phases: routing.phases, by: id };
    const options = { onRedisDown: "demote", demoteAfter: DEMOTE_AFTER, overdueAfter: OVERDUE_AFTER } as const;
    await new Housekeeper(ctx, steerage, await this.#eviction(), options).tick(overdue);
  }

  /** Time passes with nothing happening: the locks of the dead run out. */
  pass(ms: number): void {
    this.#now += ms;
  }

  // --- Transitions ---

  async moveTo(to: Position): Promise<ControlRecord | null> {
    return this.#coordinate((coordinator) => coordinator.moveTo(to, "test"));
  }

  async finish(): Promise<ControlRecord | null> {
    return this.#coordinate((coordinator) => coordinator.finish());
  }

  async reverse(): Promise<ControlRecord | null> {
    return this.#coordinate((coordinator) => coordinator.reverse("test"));
  }

  async isVoid(): Promise<boolean> {
    const voiding = await lastVoiding(this.control);
    return voiding !== null && voiding.at >= this.#repairedAt;
  }

  /** What a check with --repair does once evidence is void: a forced copy of everything, until it is done. */
  async repairIfVoid(): Promise<void> {
    if (!(await this.isVoid())) return;
    const startedAt = this.#now;
    for (let left = this.options.sids, tries = 0; left.length > 0 && tries < 50; tries++) {
      const outcomes = await this.live[0]!.ferry.copy(left, { force: true });
      left = left.filter((_, i) => outcomes[i] === "refused");
      if (left.length === 0) this.#repairedAt = startedAt;
    }
  }

  async evictSilent(): Promise<void> {
    for (const node of this.nodes.filter(({ line }) => line.crashed)) {
      await evict(await this.#eviction(), node.id, "test");
    }
  }

  async #coordinate(perform: (coordinator: Coordinator) => Promise<ControlRecord>): Promise<ControlRecord | null> {
    const job = await this.join("job");
    const clock: Clock = {
      now: this.clock.now,
      elapsed: this.clock.elapsed,
      sleep: async (ms) => {
        // The polls of the fleet are what a waiting coordinator waits for.
        for (const node of this.live) void this.poll(node);
        await this.clock.sleep(ms);
      },
    };
    const works = {
      control: this.control,
      legacy: job.ctx.legacy,
      records: job.ctx.records,
      copier: job.ferry,
      clock,
      node: job.id,
    };
    const times = { acknowledge: 8_000, drain: 8_000, overdueAfter: OVERDUE_AFTER };
    const coordinator = new Coordinator(
      this.#wired<ControlStore>(this.control, "control", job.line),
      this.options.phases,
      works,
      await this.#eviction(),
      times,
      clock,
      SILENT,
      job.id,
    );
    try {
      return await perform(coordinator);
    } catch (error) {
      if (error instanceof Error && PASSING.includes(error.name)) return null;
      throw error;
    } finally {
      if (!job.line.crashed) {
        while (job.ctx.routing.inFlight > 0) await this.step("the last write ends");
        await this.control.leave(job.id);
        this.nodes.splice(this.nodes.indexOf(job), 1);
      }
    }
  }

  /** Ends a node's connections, store by store, as an eviction does. */
  async #eviction(): Promise<EvictionStores> {
    const end = (store: "legacy" | "redis", id: string) => {
      const node = this.nodes.find((candidate) => candidate.id === id);
      if (node === undefined) return;
      node.line.cut.add(store);
      node.line.crashed = true;
    };
    const wired = this.#wired<RedisRecords>(this.records.another(), "redis", { crashed: false, cut: new Set() });
    trust(wired, await this.control.read());
    const disconnectNode = async (id: string) => {
      if (this.redisDown) throw new RedisUnreachable("down", false);
      end("redis", id);
    };
    return {
      control: this.control,
      phases: this.options.phases,
      legacy: {
        disconnectNode: async (id: string) => {
          end("legacy", id);
          return true;
        },
      } as Partial<LegacyStore> as LegacyStore,
      records: new Proxy(wired, {
        get: (target, key) => (key === "disconnectNode" ? disconnectNode : Reflect.get(target, key)),
      }),
      observer: SILENT,
    };
  }

  // --- Wires ---

  /** A store at the end of a connection: each call passes the scheduler on its way there and on its way back. */
  #wired<T extends object>(store: T, name: "legacy" | "redis" | "control", line: Line): T {
    const isAway = () => name === "redis" && this.redisDown && !line.hasRedis;
    const send = async (method: string, perform: () => unknown) => {
      await line.frozen;
      await this.step(`${name}.${method}`);
      if (line.cut.has(name)) return NEVER_ANSWERED;
      if (isAway()) throw new RedisUnreachable("down", this.#lostReplies++ % 2 === 0);
      const vague = name === "legacy" && this.legacyVague && ["set", "touch", "destroy", "applyIf"].includes(method);
      if (vague) return this.#vaguely(line, perform);
      const result = await perform();
      if (method === "compareAndSet" && result !== null) this.changed();
      if (name !== "control") await this.step(`${name}.${method} answers`);
      await line.frozen;
      if (line.crashed) return NEVER_ANSWERED;
      if (isAway()) throw new RedisUnreachable("reply lost", true);
      return result;
    };
    return new Proxy(store, {
      get(target, key) {
        const member = Reflect.get(target, key, target);
        if (typeof member !== "function") return member;
        // Known without asking.
        if (key === "runOf" || key === "serverOf") return member.bind(target);
        if (["list", "listRecords", "listIntents"].includes(String(key))) {
          return async function* (...args: unknown[]) {
            for await (const page of (member as (...a: unknown[]) => AsyncIterable<unknown>).apply(target, args)) {
              yield await send(String(key), () => page);
            }
          };
        }
        return (...args: unknown[]) =>
          send(String(key), () => (member as (...a: unknown[]) => unknown).apply(target, args));
      },
      set(target, key, value) {
        return Reflect.set(target, key, value, target);
      },
    });
  }

  /** The reply is lost; the command lands later, unless the connection is ended before. */
  async #vaguely(line: Line, perform: () => unknown): Promise<never> {
    const settled = (async () => {
      await this.step("late write");
      if (!line.cut.has("legacy")) await perform();
      await this.step("its end is known");
      if (line.crashed) await NEVER_ANSWERED;
    })();
    throw new OutcomeUnknown("reply lost", settled);
  }

  // --- What must hold ---

  /** The two invariants, wherever some node may read R. */
  violatedInvariant(): string | null {
    const trusted = this.live.some(({ ctx }) => this.records.isSealedFor(ctx.records.generation));
    for (const sid of this.options.sids) {
      const { v, intents, d } = this.records.snapshot(sid);
      if (intents.length > 0 && d !== null) return "an intent and a dirty mark stand together";
      const read = this.live.some((node) => node.ctx.routing.placement(sid).routes.read !== "L");
      const alone = this.live.some((node) => node.ctx.routing.placement(sid).routes.write === "alone");
      if (!read || !trusted || alone || intents.length > 0 || d !== null || v === null) continue;
      if (!this.#agrees(sid, v)) return "an unmarked record differs from the legacy store";
    }
    return null;
  }

  #agrees(sid: Sid, v: Session): boolean {
    const held = this.legacy.peek(sid);
    return equal(v, held) || (held === null && this.#forgotten.has(sid));
  }

  staleHistory(): Sid | null {
    for (const [sid, history] of this.history) if (!isLinearizable(history, null)) return sid;
    return null;
  }

  /** Both stores, when everything has come to rest: after the drains, and with R's marks gone. */
  differenceAtRest(): string | null {
    const record = this.live[0]!.ctx.routing;
    for (const sid of this.options.sids) {
      const { routes } = record.placement(sid);
      if (routes.write === "legacy" || routes.write === "alone") continue;
      const { v, intents, d } = this.records.snapshot(sid);
      if (intents.length > 0 || d !== null) return "a mark is left at rest";
      const held = this.legacy.peek(sid);
      if (v !== null && !this.#agrees(sid, v)) return "the stores differ at rest";
      if (routes.read === "R" && v === null && held !== null) return "full Redis lacks a session at rest";
    }
    return null;
  }

  /** For the message of a test that came to no rest. */
  async told(): Promise<string> {
    const nodes = (await this.control.nodes()).map(({ id, role, state, report }) => ({ id, role, state, ...report }));
    const lines = this.nodes.map(({ id, line, ctx }) => ({
      id,
      ...line,
      redis: ctx.health.state,
      generation: ctx.records.generation,
    }));
    return JSON.stringify({
      record: await this.control.read(),
      seal: await this.records.seal(),
      nodes,
      lines,
      ledger: await this.control.ledger(10),
    });
  }

  /** Whether every node is answered by R, or does without it. */
  get isWell(): boolean {
    return this.live.every(({ ctx: { routing, records, health } }) => {
      const { record, phases } = routing;
      if (!someBucket(record, phases, ({ write }) => write !== "legacy")) return true;
      return health.state === "up" && this.records.isSealedFor(records.generation);
    });
  }

  get readsRedis(): boolean {
    const { record, phases } = this.live[0]!.ctx.routing;
    return someBucket(record, phases, ({ read }) => read !== "L");
  }
}

function stateOf(session: Session | null): State {
  return session === null ? null : { value: session.value.toString(), expiresAt: session.expiresAt };
}

function equal(a: Session | null, b: Session | null): boolean {
  const [x, y] = [stateOf(a), stateOf(b)];
  return x === y || (x !== null && y !== null && x.value === y.value && x.expiresAt === y.expiresAt);
}

/** Sids on either side of the usual ramp steps: below 10 %, between 10 and 50 %, above. */
export const SIDS: readonly Sid[] = pickSids([
  [0, 1000],
  [1000, 5000],
  [5000, 10_000],
]);

function pickSids(ranges: [number, number][]): Sid[] {
  return ranges.map(([from, to]) => {
    for (let i = 0; ; i++) {
      const bucket = bucketOf(`s${i}`);
      if (bucket >= from && bucket < to) return `s${i}`;
    }
  });
}
