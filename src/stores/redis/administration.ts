import { ALL_BUCKETS, type BucketRange, bucketOf, inRange } from "../../core/cohort.js";
import { restOf } from "../../core/place.js";
import type { Sid } from "../../core/session.js";
import { connectionName } from "../../ports/fence.js";
import type { CallLimits, RedisFacts, SealState } from "../../ports/redis-records.js";
import type { Argument, Connection } from "./connection.js";
import { factsOf } from "./facts.js";
import type { ItemKeys } from "./item-keys.js";
import type { KeyNames } from "./key-names.js";
import type { Link } from "./link.js";
import { bytesOrNull, intentsOf, listOf, pageOf, wholeOf } from "./replies.js";
import { decodeSeal, encodeSeal } from "./seal.js";

/** Keys that one SCAN or UNLINK is about. */
const PAGE = 1000;

/** What goes over whole keyspaces or is about the server itself. None of it asks for the seal. */
export class RedisAdministration {
  constructor(
    protected readonly names: KeyNames,
    protected readonly link: Link,
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
      const marks = listOf(await this.#send("MGET", ...keys), keys.length).map(bytesOrNull);
      const found: { sid: Sid; intents: string[] }[] = [];
      keys.forEach((key, i) => {
        const sid = this.names.sidOfSide(key);
        const intents = intentsOf(marks[i]?.toString() ?? "");
        if (sid !== null && intents.length > 0) found.push({ sid, intents });
      });
      if (found.length > 0) yield found;
    }
  }

  async drop(buckets: BucketRange, { spareDirty = false }: { spareDirty?: boolean } = {}): Promise<number> {
    const spared = spareDirty ? await this.#dirtyIn(buckets) : new Set<Sid>();
    const isMeant = (sid: Sid | null): boolean => sid !== null && inRange(bucketOf(sid), buckets) && !spared.has(sid);
    const dropped = await this.#unlink(this.names.dataPattern, (key) => isMeant(this.names.sidOfData(key)));
    await this.#unlink(this.names.sidePattern, (key) => isMeant(this.names.sidOfSide(key)));
    if (this.names.items) await this.#unlink(this.names.itemPattern, (key) => isMeant(this.names.sidOfItem(key)));
    if (spareDirty) return dropped;
    if (buckets[0] <= ALL_BUCKETS[0] && buckets[1] >= ALL_BUCKETS[1])
      await this.#send("UNLINK", this.names.dirtyIndex());
    else for await (const sids of this.#dirtyPages(buckets)) await this.#send("ZREM", this.names.dirtyIndex(), ...sids);
    return dropped;
  }

  async clearMarks(): Promise<void> {
    await this.#unlink(this.names.sidePattern, (key) => this.names.sidOfSide(key) !== null);
    await this.#send("UNLINK", this.names.dirtyIndex());
  }

  async clearItems(): Promise<void> {
    await this.#unlink(this.names.itemPattern, (key) => this.names.sidOfItem(key) !== null);
  }

  async seal(): Promise<{ migration: string; generation: string; state: SealState; stamp?: string } | null> {
    const text = await this.link.run(this.limits.batch, ({ connection }) => this.sealIn(connection));
    const seal = text === null ? null : decodeSeal(String(text));
    if (seal === null) return null;
    const { migration, generation, state, stamp } = seal;
    return { migration, generation, state, ...(stamp !== undefined && { stamp }) };
  }

  /** The text of the seal; null where there is none, and where a key of another type stands in its place. */
  protected async sealIn(connection: Connection): Promise<unknown> {
    return listOf(await connection.send("MGET", this.names.seal()), 1)[0];
  }

  async arm(generation: string, state: SealState, run?: string, stamp?: string): Promise<void> {
    const { migration, prefix } = this.names;
    await this.link.run(this.limits.batch, ({ connection }) => {
      const stamped = stamp === undefined ? {} : { stamp };
      const seal = encodeSeal({ generation, run: run ?? connection.run, state, migration, prefix, ...stamped });
      return connection.send("SET", this.names.seal(), seal);
    });
  }

  async removeSeal(limits = this.limits.batch): Promise<void> {
    await this.link.run(limits, ({ connection }) => connection.send("UNLINK", this.names.seal()));
  }

  facts(): Promise<RedisFacts> {
    return this.link.run(this.limits.batch, ({ connection }) => factsOf(connection));
  }

  /** Until none is left: a node that is fenced off makes no new ones. */
  async disconnectNode(node: string, limits = this.limits.batch): Promise<void> {
    const send = (...words: string[]) =>
      this.link.run(limits, ({ connection }) => connection.send("CLIENT", ...words)) as Promise<unknown>;
    const name = ` name=${connectionName(node)} `;
    for (;;) {
      const clients = String(await send("LIST")).split("\n");
      const ids = clients.filter((client) => client.includes(name)).map((client) => /^id=(\d+) /.exec(client)?.[1]);
      const killed = await Promise.all(ids.flatMap((id) => (id ? [send("KILL", "ID", id)] : [])));
      // R does not end the connection that asks, nor one that is gone already.
      if (!killed.includes(1)) return;
    }
  }

  async end(): Promise<void> {
    this.link.end();
  }

  async locate(sids: readonly Sid[]): Promise<Sid[]> {
    if (this.names.servers === 0 || sids.length === 0) return [...sids];
    const kept = listOf(await this.#send("MGET", ...sids.map((sid) => this.names.item(sid))), sids.length);
    return sids.map((sid, i) => this.items.locate(sid, bytesOrNull(kept[i])));
  }

  #send(command: string, ...args: Argument[]): Promise<unknown> {
    return this.link.run(this.limits.batch, ({ connection }) => connection.send(command, ...args));
  }

  /** Keys that match, each at least once; never an empty page. */
  async *#scan(pattern: string, pageSize: number): AsyncIterable<Buffer[]> {
    let cursor = "0";
    do {
      const answer = await this.#send("SCAN", cursor, "MATCH", pattern, "COUNT", pageSize);
      const page = pageOf(answer);
      cursor = page.cursor;
      if (page.found.length > 0) yield page.found;
    } while (cursor !== "0");
  }

  async #unlink(pattern: string, isMeant: (key: Buffer) => boolean): Promise<number> {
    let removed = 0;
    for await (const keys of this.#scan(pattern, PAGE)) {
      const meant = keys.filter(isMeant);
      if (meant.length > 0) removed += wholeOf(await this.#send("UNLINK", ...meant));
    }
    return removed;
  }

  async #dirtyIn(buckets: BucketRange): Promise<Set<Sid>> {
    const dirty = new Set<Sid>();
    for await (const sids of this.#dirtyPages(buckets)) {
      for (const sid of sids) dirty.add(this.names.servers === 0 ? sid : restOf(sid));
    }
    return dirty;
  }

  /** What the dirty index names in these buckets; never an empty page. */
  async *#dirtyPages(buckets: BucketRange): AsyncIterable<Sid[]> {
    let cursor = "0";
    do {
      const answer = await this.#send("ZSCAN", this.names.dirtyIndex(), cursor, "COUNT", PAGE);
      const page = pageOf(answer);
      cursor = page.cursor;
      // Members and scores take turns.
      const sids = page.found.filter((_, i) => i % 2 === 0).map(String);
      const within = sids.filter((sid) => inRange(bucketOf(sid), buckets));
      if (within.length > 0) yield within;
    } while (cursor !== "0");
  }
}
