import { ALL_BUCKETS, type BucketRange, bucketOf, inRange } from "../../core/cohort.js";
import { restOf } from "../../core/place.js";
import type { Sid } from "../../core/session.js";
import { connectionName } from "../../ports/fence.js";
import {
  type CallLimits,
  type DropOptions,
  predates,
  type RedisFacts,
  type SealState,
  type Seals,
} from "../../ports/redis-records.js";
import { placesBy } from "./by-slot.js";
import type { Argument, Conversation } from "./connection.js";
import { combined, factsOf } from "./facts.js";
import type { ItemKeys } from "./item-keys.js";
import type { KeyNames } from "./key-names.js";
import { bytesOrNull, intentsOf, listOf, pageOf, wholeOf } from "./replies.js";
import { decodeSeal, encodeSeal, type Seal } from "./seal.js";
import type { Shard, Shards } from "./shards.js";
import type { Trust } from "./trust.js";

/** Keys that one SCAN or UNLINK is about. */
const PAGE = 1000;

/** What goes over whole keyspaces or is about the server itself. None of it asks for the seal. */
export class RedisAdministration {
  constructor(
    protected readonly names: KeyNames,
    protected readonly shards: Shards,
    protected readonly trust: Trust,
    protected readonly limits: { readonly call: CallLimits; readonly batch: CallLimits },
    private readonly items: ItemKeys,
  ) {}

  async *listRecords({ pageSize, signal }: { pageSize: number; signal?: AbortSignal }): AsyncIterable<Sid[]> {
    for await (const keys of this.#scan(this.names.dataPattern, pageSize)) {
      if (signal?.aborted) return;
      const sids = keys.map((key) => this.names.sidOfData(key)).filter((sid) => sid !== null);
      if (sids.length > 0) yield await this.locate(sids);
    }
  }

  async *listMarked({ pageSize }: { pageSize: number }): AsyncIterable<Sid[]> {
    for await (const keys of this.#scan(this.names.sidePattern, pageSize)) {
      const sids = keys.map((key) => this.names.sidOfSide(key)).filter((sid) => sid !== null);
      if (sids.length > 0) yield await this.locate(sids);
    }
  }

  async *listIntents({ pageSize }: { pageSize: number }): AsyncIterable<{ sid: Sid; intents: string[] }[]> {
    for await (const keys of this.#scan(this.names.sidePattern, pageSize)) {
      const marks = (await this.#valuesOf(keys)).map(bytesOrNull);
      const found: { sid: Sid; intents: string[] }[] = [];
      keys.forEach((key, i) => {
        const sid = this.names.sidOfSide(key);
        const intents = intentsOf(marks[i]?.toString() ?? "");
        if (sid !== null && intents.length > 0) found.push({ sid, intents });
      });
      if (found.length > 0) yield found;
    }
  }

  async dropIntents(): Promise<number> {
    let dropped = 0;
    for await (const page of this.listIntents({ pageSize: PAGE })) {
      await Promise.all(
        page.map(async ({ sid }) => {
          const data = this.names.data(sid);
          const keys = [data, this.names.sideOf(data), ...(this.names.items ? [this.names.itemOf(data)] : [])];
          const slot = this.names.slotOf(sid);
          await this.#send(slot, "UNLINK", ...keys);
          await this.#send(slot, "ZREM", this.names.dirtyIndex(slot), ...this.names.inIndex(sid));
        }),
      );
      dropped += page.length;
    }
    return dropped;
  }

  async drop(buckets: BucketRange, { spareDirty = false, since }: DropOptions = {}): Promise<number> {
    const seals = spareDirty && since !== undefined ? await this.#sealOfEach() : null;
    const isSpared = (slot: number) => spareDirty && (seals === null || !predates(seals[slot]?.stamp, since!));
    const spared = spareDirty ? await this.#dirtyIn(buckets, isSpared) : new Set<Sid>();
    const isMeant = (sid: Sid | null): boolean => sid !== null && inRange(bucketOf(sid), buckets) && !spared.has(sid);
    const dropped = await this.#unlink(this.names.dataPattern, (key) => isMeant(this.names.sidOfData(key)));
    await this.#unlink(this.names.sidePattern, (key) => isMeant(this.names.sidOfSide(key)));
    if (this.names.items) await this.#unlink(this.names.itemPattern, (key) => isMeant(this.names.sidOfItem(key)));
    if (!spareDirty && buckets[0] <= ALL_BUCKETS[0] && buckets[1] >= ALL_BUCKETS[1]) await this.#unlinkIndexes();
    else
      for await (const { slot, sids } of this.#dirtyPages(buckets)) {
        if (!isSpared(slot)) await this.#send(slot, "ZREM", this.names.dirtyIndex(slot), ...sids);
      }
    return dropped;
  }

  async clearMarks(): Promise<void> {
    await this.#unlink(this.names.sidePattern, (key) => this.names.sidOfSide(key) !== null);
    await this.#unlinkIndexes();
  }

  async clearItems(): Promise<void> {
    await this.#unlink(this.names.itemPattern, (key) => this.names.sidOfItem(key) !== null);
  }

  /**
   * What all seals say. In a Redis Cluster null, too, where a slot has none or they differ: then some server was emptied,
   * or lies there from another time, or a sealing was broken off.
   */
  async seal(): Promise<{ migration: string; generation: string; state: SealState } | null> {
    const [first, ...others] = await this.#sealOfEach();
    if (!first) return null;
    const { migration, generation, state } = first;
    const isSame = (seal: Seal | null) => seal?.generation === generation && seal.state === state;
    return others.every(isSame) ? { migration, generation, state } : null;
  }

  async seals(): Promise<Seals | null> {
    const found = await this.#sealOfEach();
    const seals = found.filter((seal) => seal !== null);
    if (seals.length < found.length) return null;
    const stamp = seals.map((seal) => seal.stamp).reduce(earlier);
    return {
      generations: [...new Set(seals.map(({ generation }) => generation))],
      ...(stamp !== undefined && { stamp }),
    };
  }

  async #sealOfEach(): Promise<(Seal | null)[]> {
    const texts = await this.#eachSlot((connection, slot) => this.trust.sealIn(connection, slot));
    return texts.map((text) => (text === null ? null : decodeSeal(String(text))));
  }

  async arm(generation: string, state: SealState, run?: string, stamp?: string): Promise<void> {
    const { migration, prefix } = this.names;
    const armed = run ?? (await this.#everywhere(async ({ run }) => run)).sort().join(",");
    const stamped = stamp === undefined ? {} : { stamp };
    const seal = encodeSeal({ generation, run: armed, state, migration, prefix, ...stamped });
    await this.#eachSlot((connection, slot) => connection.send("SET", this.names.seal(slot), seal));
  }

  async removeSeal(limits = this.limits.batch): Promise<void> {
    await this.#eachSlot((connection, slot) => connection.send("UNLINK", this.names.seal(slot)), limits);
  }

  async facts(): Promise<RedisFacts> {
    return combined(await this.#everywhere(factsOf));
  }

  async disconnectNode(node: string, limits = this.limits.batch): Promise<void> {
    await Promise.all((await this.shards.all()).map((shard) => disconnect(shard, node, limits)));
  }

  async end(): Promise<void> {
    this.shards.end();
  }

  async locate(sids: readonly Sid[]): Promise<Sid[]> {
    if (this.names.servers === 0 || sids.length === 0) return [...sids];
    const kept = await this.#valuesOf(sids.map((sid) => this.names.item(sid)));
    return sids.map((sid, i) => this.items.locate(sid, bytesOrNull(kept[i])));
  }

  #send(slot: number, command: string, ...args: Argument[]): Promise<unknown> {
    return this.shards.run(slot, this.limits.batch, ({ connection }) => connection.send(command, ...args));
  }

  #eachSlot<T>(ask: (connection: Conversation, slot: number) => Promise<T>, limits = this.limits.batch): Promise<T[]> {
    return this.shards.runEach(this.names.slots, limits, ({ connection }, slot) => ask(connection, slot));
  }

  async #everywhere<T>(ask: (connection: Conversation) => Promise<T>): Promise<T[]> {
    const shards = await this.shards.all();
    return Promise.all(shards.map((shard) => shard.run(this.limits.batch, ({ connection }) => ask(connection))));
  }

  /** In the order of the keys, whatever slots they are of. */
  async #valuesOf(keys: readonly (string | Buffer)[]): Promise<unknown[]> {
    const values = new Array<unknown>(keys.length);
    const asked = [...placesBy(keys, (key) => this.names.slotOfKey(key))].map(async ([slot, places]) => {
      const found = await this.#send(slot, "MGET", ...places.map((place) => keys[place]!));
      listOf(found, places.length).forEach((value, i) => {
        values[places[i]!] = value;
      });
    });
    await Promise.all(asked);
    return values;
  }

  /**
   * Keys that match, each at least once; never an empty page. A key whose slot moves meanwhile may be on the way past the
   * sweep: behind it where it came to, before it where it came from. Such a sweep is made once more, which finds it.
   */
  async *#scan(pattern: string, pageSize: number): AsyncIterable<Buffer[]> {
    const before = await this.shards.layout(this.limits.batch);
    yield* this.#sweep(pattern, pageSize);
    const after = await this.shards.layout(this.limits.batch);
    if (before.isMoving || after.isMoving || before.text !== after.text) yield* this.#sweep(pattern, pageSize);
  }

  async *#sweep(pattern: string, pageSize: number): AsyncIterable<Buffer[]> {
    for (const shard of await this.shards.all()) {
      let cursor = "0";
      do {
        const answer = await shard.run(this.limits.batch, ({ connection }) =>
          connection.send("SCAN", cursor, "MATCH", pattern, "COUNT", pageSize),
        );
        const page = pageOf(answer);
        cursor = page.cursor;
        if (page.found.length > 0) yield page.found;
      } while (cursor !== "0");
    }
  }

  async #unlink(pattern: string, isMeant: (key: Buffer) => boolean): Promise<number> {
    let removed = 0;
    for await (const keys of this.#scan(pattern, PAGE)) {
      const meant = keys.filter(isMeant);
      const unlinked = [...placesBy(meant, (key) => this.names.slotOfKey(key))].map(([slot, places]) =>
        this.#send(slot, "UNLINK", ...places.map((place) => meant[place]!)),
      );
      for (const count of await Promise.all(unlinked)) removed += wholeOf(count);
    }
    return removed;
  }

  async #unlinkIndexes(): Promise<void> {
    await this.#eachSlot((connection, slot) => connection.send("UNLINK", this.names.dirtyIndex(slot)));
  }

  async #dirtyIn(buckets: BucketRange, isMeant: (slot: number) => boolean): Promise<Set<Sid>> {
    const dirty = new Set<Sid>();
    for await (const { slot, sids } of this.#dirtyPages(buckets)) {
      if (!isMeant(slot)) continue;
      for (const sid of sids) dirty.add(this.names.servers === 0 ? sid : restOf(sid));
    }
    return dirty;
  }

  /** What the dirty indexes name in these buckets; never an empty page. */
  async *#dirtyPages(buckets: BucketRange): AsyncIterable<{ slot: number; sids: Sid[] }> {
    const there = await this.#eachSlot((connection, slot) => connection.send("EXISTS", this.names.dirtyIndex(slot)));
    for (const slot of there.keys()) {
      if (there[slot] !== 1) continue;
      let cursor = "0";
      do {
        const answer = await this.#send(slot, "ZSCAN", this.names.dirtyIndex(slot), cursor, "COUNT", PAGE);
        const page = pageOf(answer);
        cursor = page.cursor;
        // Members and scores take turns.
        const sids = page.found.filter((_, i) => i % 2 === 0).map(String);
        const within = sids.filter((sid) => inRange(bucketOf(sid), buckets));
        if (within.length > 0) yield { slot, sids: within };
      } while (cursor !== "0");
    }
  }
}

/** Until none of the node's connections is left: one that is fenced off makes no new ones. */
async function disconnect(shard: Shard, node: string, limits: CallLimits): Promise<void> {
  const send = (...words: string[]) =>
    shard.run(limits, ({ connection }) => connection.send("CLIENT", ...words)) as Promise<unknown>;
  const name = ` name=${connectionName(node)} `;
  for (;;) {
    const clients = String(await send("LIST")).split("\n");
    const ids = clients.filter((client) => client.includes(name)).map((client) => /^id=(\d+) /.exec(client)?.[1]);
    const killed = await Promise.all(ids.flatMap((id) => (id ? [send("KILL", "ID", id)] : [])));
    // R does not end the connection that asks, nor one that is gone already.
    if (!killed.includes(1)) return;
  }
}

/** Of two stamps, of which none at all is the earliest. */
function earlier(one: string | undefined, other: string | undefined): string | undefined {
  if (one === undefined || other === undefined) return undefined;
  return Number(other) < Number(one) ? other : one;
}
