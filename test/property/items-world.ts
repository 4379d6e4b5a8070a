import type { Scheduler } from "fast-check";
import { ALL_BUCKETS } from "../../src/core/cohort.js";
import { IdSource } from "../../src/core/ids.js";
import type { PhaseName, Phases, WorkName } from "../../src/core/phase.js";
import type { Session, Sid } from "../../src/core/session.js";
import { Arrears } from "../../src/ferry/arrears.js";
import type { FerryContext } from "../../src/ferry/context.js";
import { copy } from "../../src/ferry/copy.js";
import { drain } from "../../src/ferry/drain.js";
import { giveBackMany } from "../../src/ferry/give-back.js";
import { FerryItems, type LegacyItems } from "../../src/ferry/items.js";
import { RedisHealth } from "../../src/ferry/redis-health.js";
import { Routing } from "../../src/ferry/routing.js";
import { SharedDrains } from "../../src/ferry/shared-drains.js";
import type { Clock } from "../../src/ports/clock.js";
import type { ControlRecord } from "../../src/ports/control-store.js";
import type { Item, ItemResult, ItemVerb, ItemWishes } from "../../src/ports/items.js";
import { SILENT } from "../../src/ports/observer.js";
import { applyVerb } from "../../src/stores/item-rules.js";
import { MemoryLegacyStore } from "../../src/stores/legacy-memory.js";
import { MemoryRedisRecords } from "../../src/stores/records-memory.js";

export const SID: Sid = "one";

/** A memcached in memory: rows with placeholders for the drain, and the verbs on what is live of them. */
export class MemoryMemcached extends MemoryLegacyStore implements LegacyItems {
  async read(sids: readonly Sid[], { token }: ItemWishes): Promise<(Item | null)[]> {
    return sids.map((sid) => {
      const item = this.#item(sid);
      return item === null || token ? item : { ...item, token: 0n };
    });
  }

  async perform(sid: Sid, verb: ItemVerb, { token }: ItemWishes): Promise<ItemResult> {
    const { result, next } = applyVerb(this.#item(sid), verb, { token: 0n, asked: token });
    if (next === null) void this.destroy(sid);
    else if (next !== undefined && "expiresAt" in verb) void this.touch(sid, verb.expiresAt);
    else if (next !== undefined) void this.set(sid, next);
    return result.result === "done" && token ? { ...result, token: BigInt(this.versionOf(sid) ?? 0) } : result;
  }

  async flush(): Promise<void> {}

  largest(): number {
    return Number.POSITIVE_INFINITY;
  }

  #item(sid: Sid): Item | null {
    const session = this.peek(sid);
    return session && { ...session, token: BigInt(this.versionOf(sid)!) };
  }
}

/** The rungs from legacy to full-redis, one above the other. */
export function rungsOf(phases: Phases): { ladder: PhaseName; rung: number }[] {
  const names = ["dual-write", "read-through", "redis-first", "full-redis"] as const;
  return names.flatMap((ladder) => phases[ladder].ladder.map((_, rung) => ({ ladder, rung })));
}

export interface ItemsWorldOptions {
  readonly phases: Phases;
  /** By place among all rungs. */
  readonly start: number;
  readonly records?: typeof MemoryRedisRecords;
  readonly items?: typeof FerryItems;
}

/** Two nodes, one item, and an authority that moves: a scheduler decides in which order commands and replies pass. */
export class ItemsWorld {
  #now = 1_000_000;
  readonly clock: Clock;
  readonly legacy: MemoryMemcached;
  readonly records: MemoryRedisRecords;
  readonly nodes: { ctx: FerryContext; items: FerryItems; legacy: MemoryMemcached }[] = [];
  #at: number;
  #revision = 1;

  constructor(
    readonly options: ItemsWorldOptions,
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
    this.#at = options.start;
    this.legacy = new MemoryMemcached({ clock: this.clock, lossy: true });
    const Records = options.records ?? MemoryRedisRecords;
    this.records = new Records({ clock: this.clock, migration: "world", items: true });
    this.records.generation = "g";
    void this.records.arm("g", "active");
    for (let i = 0; i < 2; i++) this.#join(`node000${i}`);
  }

  #join(id: string): void {
    const records = this.records.another();
    records.generation = "g";
    const legacy = this.#wired(this.legacy, "legacy");
    const ctx: FerryContext = {
      legacy,
      records: this.#wired(records, "redis"),
      routing: new Routing(this.options.phases, this.#record()),
      arrears: new Arrears(),
      drains: new SharedDrains(),
      health: new RedisHealth(this.clock, SILENT),
      ids: new IdSource(id),
      clock: this.clock,
      observer: SILENT,
      limits: { redis: 10_000, request: 10_000 },
    };
    const items = new (this.options.items ?? FerryItems)(ctx, legacy, (_, perform) => perform());
    this.nodes.push({ ctx, items, legacy });
  }

  step(label: string): Promise<void> {
    this.#now++;
    return this.scheduler.schedule(Promise.resolve(), label);
  }

  #wired<T extends object>(store: T, name: string): T {
    return new Proxy(store, {
      get: (target, key) => {
        const member = Reflect.get(target, key, target);
        if (typeof member !== "function") return member;
        // Known without asking.
        if (key === "runOf") return member.bind(target);
        return async (...args: unknown[]) => {
          await this.step(`${name}.${String(key)}`);
          const answer = await (member as (...a: unknown[]) => unknown).apply(target, args);
          await this.step(`${name}.${String(key)} answers`);
          return answer;
        };
      },
    });
  }

  #record(): ControlRecord {
    const { ladder, rung } = rungsOf(this.options.phases)[this.#at]!;
    const lower = { phase: "legacy", percent: 100 } as const;
    const upper = { phase: ladder, percent: 100 };
    return {
      migration: "world",
      revision: this.#revision,
      position: lower,
      pending: {
        ...{ lower, upper, ladder, rung, buckets: ALL_BUCKETS, direction: "up", oneWay: false },
        ...{ by: "test", reason: "", startedAt: 0 },
      },
      generation: "g",
      interrupted: false,
    };
  }

  /** One rung up or down, with the works between, and the barrier after it. */
  async move(by: 1 | -1): Promise<void> {
    const rungs = rungsOf(this.options.phases);
    const next = rungs[this.#at + by];
    if (next === undefined) return;
    const { ladder, rung } = by === 1 ? next : rungs[this.#at]!;
    const { enter, leave } = this.options.phases[ladder].ladder[rung]!;
    for (const work of (by === 1 ? enter : leave) ?? []) await this.#work(work);
    this.#at += by;
    this.#revision++;
    const record = this.#record();
    await Promise.all(
      this.nodes.map(async ({ ctx }) => {
        await this.step("hears of it");
        ctx.routing.follow(record);
        while (ctx.routing.drainedRevision() < record.revision || ctx.arrears.size > 0) await this.step("waits");
      }),
    );
  }

  async #work(name: WorkName): Promise<void> {
    const { ctx } = this.nodes[0]!;
    switch (name) {
      case "drop-records":
        await this.records.drop(ALL_BUCKETS);
        return;
      case "no-intents":
        while (this.records.snapshot(SID).intents.length > 0) await this.step("waits for intents");
        return;
      case "full-copy":
        while ((await copy(ctx, [SID]))[0] === "refused");
        return;
      case "push-missing":
        while ((await giveBackMany(ctx, [SID])).length > 0) await this.step("tries again");
        return;
      case "drain-dirty":
        while ((await this.records.dirtyState()).count > 0) await drain(ctx, [SID]);
        return;
      default:
        return;
    }
  }
}

export type Shown = Pick<Session, "expiresAt" | "flags"> & { readonly value: string };

export const shown = (session: Session | null): Shown | null =>
  session && { value: session.value.toString(), flags: session.flags, expiresAt: session.expiresAt };
