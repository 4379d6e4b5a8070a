import { drawn, type Stretch, startOf } from "../../core/drawn.js";
import type { Sid } from "../../core/session.js";
import type { CallLimits } from "../../ports/redis-records.js";
import type { Conversation } from "./connection.js";
import type { KeyNames } from "./key-names.js";
import { bytesOrNull, listOf, millisecondsOf, wholeOf } from "./replies.js";
import type { Trust } from "./trust.js";

/** Milliseconds after which all slots are asked again by who only wants to know roughly. */
const SWEEP = 10_000;
/** Indexes that are asked for their first at one time, and so many more of each than its share. */
const ASKED = 1_000;
const SPARE = 8;
/** So much lies between the scores of a destroy and of another change of the same moment (common.lua). */
const DESTROYS_FIRST = 1e15;

/**
 * What R is ahead of L with. A Redis Cluster has an index for each of its 16,384 slots, and to ask each costs a tenth of a
 * second of this process. So the slots that this process itself made dirty, which it drains itself, are known without
 * asking; what others made dirty and did not drain is found by asking all slots now and then. Who has to know that nothing
 * is dirty anywhere asks every slot.
 */
export class DirtyIndexes {
  /** Slots whose index may hold something. */
  #slots = new Set<number>();
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly names: KeyNames,
    private readonly trust: Trust,
    private readonly limits: CallLimits,
  ) {}

  /** R is ahead of L with something in this slot. */
  note(slot: number): void {
    this.#slots.add(slot);
  }

  /** Of the indexes, destroys first, then the oldest. */
  async some(limit: number, stretch: Stretch): Promise<Sid[]> {
    await this.#sweepUnless(performance.now() - this.#sweptAt < SWEEP);
    const slots = drawn(this.#slots, Math.max(limit, ASKED));
    const isOne = slots.length === 1;
    const most = isOne ? limit : Math.ceil(limit / slots.length) + SPARE;
    // Those of one index are in order.
    const scores = isOne ? [] : ["WITHSCORES"];
    const found = await this.#ask(slots, async (connection, index) => {
      const from = stretch === "front" ? 0 : startOf(stretch, wholeOf(await connection.send("ZCARD", index)), most);
      const entries = listOf(await connection.send("ZRANGE", index, from, from + most - 1, ...scores));
      return { count: entries.length, told: entries };
    });
    if (isOne) return found[0]!.map(String);
    const entries: { sid: Sid; score: number }[] = [];
    for (const told of found) {
      for (let i = 0; i < told.length; i += 2)
        entries.push({ sid: String(told[i]), score: Number(String(told[i + 1])) });
    }
    entries.sort((one, other) => one.score - other.score);
    const from = startOf(stretch, entries.length, limit);
    return entries.slice(from, from + limit).map(({ sid }) => sid);
  }

  /** @param roughly what others made dirty in the last seconds may be missing. */
  async state(roughly: boolean): Promise<{ count: number; oldestAge: number }> {
    await this.#sweepUnless(roughly && performance.now() - this.#sweptAt < SWEEP);
    const states = await this.#ask([...this.#slots], async (connection, index) => {
      const [count, first, oldest, time] = await Promise.all([
        connection.send("ZCARD", index),
        connection.send("ZRANGE", index, 0, 0, "WITHSCORES"),
        // Behind the destroys.
        connection.send("ZRANGEBYSCORE", index, 0, "+inf", "WITHSCORES", "LIMIT", 0, 1),
        connection.send("TIME"),
      ]);
      const now = millisecondsOf(time);
      const age = Math.max(...[first, oldest].map((entry) => ageOf(bytesOrNull(listOf(entry)[1]), now)));
      return { count: wholeOf(count), told: { count: wholeOf(count), age } };
    });
    return states.reduce(
      (sum, { count, age }) => ({ count: sum.count + count, oldestAge: Math.max(sum.oldestAge, age) }),
      { count: 0, oldestAge: 0 },
    );
  }

  /** Asks indexes under their seals. A slot that tells nothing is forgotten, unless it is noted meanwhile. */
  async #ask<T>(
    slots: readonly number[],
    perform: (connection: Conversation, index: string) => Promise<{ count: number; told: T }>,
  ): Promise<T[]> {
    // Nobody is to be told that nothing is dirty in an R that is lost.
    if (slots.length === 0) await this.trust.ping(this.limits);
    for (const slot of slots) this.#slots.delete(slot);
    try {
      return await this.trust.runEach(slots, this.limits, async ({ connection }, slot) => {
        const [seal, { count, told }] = await Promise.all([
          this.trust.sealIn(connection, slot),
          perform(connection, this.names.dirtyIndex(slot)),
        ]);
        this.trust.expectSeal(connection, seal);
        if (count > 0) this.#slots.add(slot);
        return told;
      });
    } catch (error) {
      for (const slot of slots) this.#slots.add(slot);
      throw error;
    }
  }

  /** Asks every slot whether it has an index; not where there is one only, which is asked anyway. */
  async #sweepUnless(isFresh: boolean): Promise<void> {
    if (!this.names.cluster) this.#slots.add(0);
    else if (!isFresh) await this.#sweep();
  }

  async #sweep(): Promise<void> {
    const began = performance.now();
    await this.trust.ping(this.limits);
    await this.trust.runEach(this.names.slots, this.limits, async ({ connection }, slot) => {
      // The seals of a server that was looked at are there as long as it runs.
      if (!this.trust.isWhole(connection)) {
        this.trust.expectSeal(connection, await this.trust.sealIn(connection, slot));
      }
      if ((await connection.send("EXISTS", this.names.dirtyIndex(slot))) === 1) this.#slots.add(slot);
    });
    this.#sweptAt = began;
  }
}

/** Milliseconds since an entry with this score became dirty; 0 where there is none. */
function ageOf(score: Buffer | null, now: number): number {
  if (score === null) return 0;
  const since = Number(score);
  return Math.max(0, now - wholeOf(since < 0 ? since + DESTROYS_FIRST : since));
}
