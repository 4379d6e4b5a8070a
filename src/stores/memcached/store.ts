import { setTimeout as delay } from "node:timers/promises";
import type { ConnectionOptions } from "node:tls";
import type { Session, Sid } from "../../core/session.js";
import type { FerryError } from "../../errors.js";
import { type Fence, NO_FENCE } from "../../ports/fence.js";
import {
  type Applied,
  type ConditionalChange,
  type LegacyStore,
  type ListOptions,
  OutcomeUnknown,
  type Token,
} from "../../ports/legacy-store.js";
import type { LegacyPreset } from "../../ports/preset.js";
import type { RelayConnection } from "../../ports/relay.js";
import type { Connection } from "./connection.js";
import { dumpKeys } from "./dump.js";
import { isHidden } from "./endpoints.js";
import { first, harmless, keyTooLong, noRoom, together } from "./failures.js";
import { MemcachedItems } from "./item-verbs.js";
import * as items from "./items.js";
import { encodeRawKey } from "./keys.js";
import { type Place, Places } from "./places.js";
import { Pool, PoolItems } from "./pool.js";
import { asMeta, flag, isRefusal, statistic, stats, statsOf } from "./protocol.js";
import { look } from "./settle.js";

export interface MemcachedLegacyOptions {
  /** memcached://host:port[,host:port], the servers in the application's order and spelling. */
  readonly url: string;
  /** Options of Node's tls.connect; null for plain connections. */
  readonly tls?: ConnectionOptions | null | undefined;
  readonly preset: LegacyPreset;
  /** The key prefix, where it is not the preset's. */
  readonly prefix?: string;
  /**
   * The rule by which the application's client chooses a server, where it is not the preset's. `client`: only it knows;
   * with several servers all sids are located then (a pool).
   */
  readonly distribution?: "modulo" | "ketama" | "client";
  /** Of a pool: see `PoolOptions`. */
  readonly owners?: ((rests: readonly Sid[]) => Promise<readonly Sid[]>) | undefined;
  /** Connections to each server at most. */
  readonly connections: number;
  /** Milliseconds that a call takes at most. */
  readonly deadline: number;
  readonly fence?: Fence;
  /** Whether memcached's own clients are served, so that empty items are sessions like others. Default false. */
  readonly items?: boolean;
  /** Told of a value that `applyIf` could not write because memcached refuses it; its change counts as refused. */
  readonly report?: (error: FerryError, sid: Sid) => void;
}

interface MemcachedToken extends Token {
  /** Null for a sid that memcached cannot hold, and where it has no room for a placeholder. */
  readonly holder: { readonly connection: Connection; readonly cas: string } | null;
  /** What it said of that. */
  readonly noRoom?: FerryError;
}

/** What the doctor tells about a server. */
export interface MemcachedFacts {
  readonly address: string;
  readonly version: string;
  readonly itemSizeMax: number;
  readonly items: number;
  readonly bytes: number;
  readonly maxBytes: number;
  readonly evictions: number;
  /** Seconds since it started. */
  readonly uptime: number;
  /** False: the server sees our connections under another address, so that an eviction cannot watch them end. */
  readonly seesOurAddress: boolean;
}

const LOOK_AGAIN = 100;

/** memcached servers as L. Opens no connection before the first call. Rejects with CONFIG_INVALID. */
export function openMemcachedLegacy(options: MemcachedLegacyOptions): MemcachedLegacyStore {
  return new MemcachedLegacyStore(options);
}

export class MemcachedLegacyStore implements LegacyStore {
  readonly kind = "memcached";
  readonly lossy = true;
  readonly expiryGranularity = 1000;
  readonly #places: Places;
  readonly #kind: items.Kind;
  readonly #pool: Pool | null;

  constructor(private readonly options: MemcachedLegacyOptions) {
    const { deadline, fence = NO_FENCE, owners } = options;
    this.#places = new Places({ ...options, fence });
    this.#pool = this.#places.isPool ? new Pool(this.#places, { deadline, fence, owners }) : null;
    this.#kind = options.items ? "real" : "with-value";
  }

  /** memcached's verbs on the sessions of this store, over its connections. */
  verbs(): MemcachedItems {
    if (this.#pool !== null) return new PoolItems(this.#places, this.#pool);
    return new MemcachedItems(this.#places.links, (sid) => this.#places.of(sid), { placeholders: true });
  }

  /**
   * The same on any key of these servers, without the prefix. A key is told byte by byte, one character for each.
   *
   * @param server of a pool: the one that has them
   */
  bypass(server?: number): MemcachedItems {
    const link = this.#pool === null || server === undefined ? undefined : this.#places.links[server];
    const placeOf = (name: string): Place | null => {
      if (link === undefined) return this.#places.ofRawKey(name);
      const key = encodeRawKey(name);
      return key && { link, key };
    };
    return new MemcachedItems(link === undefined ? this.#places.links : [link], placeOf, { placeholders: false });
  }

  /**
   * A connection to a server for a client's bytes as they come; null where there are several, and in a pool none is told.
   */
  relay(server?: number): Promise<RelayConnection> | null {
    const [only, ...others] = this.#places.links;
    if (this.#pool !== null) return (server === undefined ? null : this.#places.links[server]?.relay()) ?? null;
    return others.length === 0 ? only!.relay() : null;
  }

  /** See `LegacyStore`; outside of a pool the sids as they are. */
  async locate(sids: readonly Sid[]): Promise<readonly Sid[]> {
    return this.#pool === null ? sids : this.#pool.locate(sids);
  }

  /** See `LegacyStore`. */
  async duplicates(): Promise<readonly Sid[]> {
    return this.#pool === null ? [] : this.#pool.duplicates();
  }

  /** Our ends of the open connections: what another node hands to `disconnectNode`. */
  get endpoints(): string[] {
    return this.#places.links.flatMap((link) => link.endpoints);
  }

  async get(sid: Sid): Promise<Session | null> {
    const place = await this.#placeOf(sid);
    if (place === null) return null;
    const { replies, at } = await place.link.readForCopy([items.readCommand(place.key, false)], items.tellsExpiry);
    return items.sessionOf(replies[0]!, at, this.#kind);
  }

  /** As a job reads: memcached's order of use stays as it is. */
  async getMany(sids: readonly Sid[]): Promise<(Session | null)[]> {
    return this.#places.each<Session | null>(await this.locate(sids), nothing, async (link, keys) => {
      const commands = keys.map((key) => items.readCommand(key, true));
      const { replies, at } = await link.readForCopy(commands, items.tellsExpiry);
      return replies.map((reply) => items.sessionOf(reply, at, this.#kind));
    });
  }

  async holds(sids: readonly Sid[]): Promise<boolean[]> {
    return this.#places.each<boolean>(
      await this.locate(sids),
      () => false,
      async (link, keys) =>
        (await link.read(keys.map(items.lookCommand))).map((reply) => items.metSession(reply, this.#kind)),
    );
  }

  async set(sid: Sid, session: Session): Promise<void> {
    const place = await this.#placeOf(sid);
    if (place === null) throw keyTooLong();
    const { link, key } = place;
    const ends = link.deadline();
    const connection = await link.connection(ends);
    items.assertFits(key, session, connection.facts.itemSizeMax, this.#kind);
    const reply = first(await link.writeOver(connection, [items.writeCommand(key, session, Date.now())], ends));
    if (reply.code === "HD") return;
    const refusal = items.refusal(reply);
    if (!items.droppedOld(reply)) throw refusal;
    // The session that was there is gone: more was changed than a refusal may.
    throw new OutcomeUnknown("memcached had no room for a session and dropped its old value.", Promise.resolve(), {
      cause: refusal,
    });
  }

  async touch(sid: Sid, expiresAt: number): Promise<boolean> {
    const place = await this.#placeOf(sid);
    if (place === null) return false;
    const reply = first(await place.link.write([items.touchCommand(place.key, expiresAt, Date.now())]));
    if (items.metPlaceholder(reply)) await place.link.write([items.removePlaceholder(place.key, reply)]);
    return items.metSession(reply, this.#kind);
  }

  async destroy(sid: Sid): Promise<boolean> {
    const [here] = await this.locate([sid]);
    const place = this.#places.of(here!);
    if (place === null) return false;
    const [seen, deleted] = await place.link.write([items.lookCommand(place.key), items.deleteCommand(place.key)]);
    await this.#pool?.removeElsewhere([here!]);
    const isGone = items.stored(deleted!);
    // The look alone may have been refused.
    return isGone && !isRefusal(seen!) && items.metSession(seen!, this.#kind);
  }

  async tokens(sids: readonly Sid[]): Promise<(Token | null)[]> {
    const impossible = (sid: Sid): MemcachedToken => ({ sid, holder: null });
    return this.#places.each<MemcachedToken | null>(await this.locate(sids), impossible, async (link, keys, those) => {
      const ends = link.deadline();
      const connection = await link.connection(ends);
      const replies = await link.writeOver(connection, keys.flatMap(items.tokenCommands), ends).catch(harmless);
      return those.map((sid, i): MemcachedToken | null => {
        if (replies === null) return null;
        const [made, found] = [replies[2 * i]!, replies[2 * i + 1]!];
        if (items.hit(found)) return { sid, holder: { connection, cas: flag(found, "c")! } };
        return isRefusal(made) ? { sid, holder: null, noRoom: noRoom(made) } : null;
      });
    });
  }

  /**
   * A token is used on the connection that read it: after a restart the server counts from one again, and an unbroken
   * connection is the proof that there was none. A change that memcached has no room for is reported, too.
   */
  async applyIf(changes: readonly ConditionalChange[]): Promise<Applied[]> {
    const outcomes = changes.map((): Applied => "changed");
    const refuse = (n: number, error: FerryError) => {
      outcomes[n] = "refused";
      this.options.report?.(error, changes[n]!.token.sid);
    };
    const batches = new Map<Connection, number[]>();
    for (const [n, { token, session }] of changes.entries()) {
      const { holder, noRoom: noPlaceholder } = token as MemcachedToken;
      const problem = this.#unfit(token as MemcachedToken, session);
      if (problem !== null) refuse(n, problem);
      else if (holder === null) outcomes[n] = noPlaceholder === undefined ? "applied" : "changed";
      else batches.set(holder.connection, [...(batches.get(holder.connection) ?? []), n]);
    }
    await together(
      [...batches].map(async ([connection, batch]) => {
        const now = Date.now();
        const commands = batch.map((n) => {
          const { token, session } = changes[n]!;
          const { cas } = (token as MemcachedToken).holder!;
          const { key } = this.#places.of(token.sid)!;
          return session === null ? items.deleteCommand(key, cas) : items.changeCommand(key, session, now, cas);
        });
        const replies = await this.#places.link(connection.server).writeOver(connection, commands);
        for (const [i, n] of batch.entries()) {
          const reply = replies?.[i];
          if (reply === undefined) continue;
          if (isRefusal(reply)) refuse(n, noRoom(reply));
          else if (items.stored(asMeta(reply))) outcomes[n] = "applied";
        }
      }),
    );
    const destroyed = changes.flatMap(({ token, session }, n) =>
      outcomes[n] === "applied" && session === null ? [token.sid] : [],
    );
    if (destroyed.length > 0) await this.#pool?.removeElsewhere(destroyed);
    return outcomes;
  }

  serverOf(sid: Sid): object | null {
    return this.#places.of(sid)?.link ?? null;
  }

  /**
   * Sorted by sid, which takes all sids of the servers in memory at once. Items that no client would look for where
   * they lie (left behind by another list of servers), empty ones, ignored keys and keys that are no text are left out,
   * and of a pool the old copies of a session.
   */
  async *list({ after, pageSize, signal, unverified = false }: ListOptions): AsyncIterable<Sid[]> {
    const { deadline, fence = NO_FENCE } = this.options;
    const isAhead = (sid: Sid) => after === undefined || sid > after;
    const sids: Sid[] = this.#pool === null ? [] : (await this.#pool.list(signal)).filter(isAhead);
    for (const { server } of this.#pool === null ? this.#places.links : []) {
      await dumpKeys(server, { deadline, fence, signal }, (key) => {
        const sid = this.#places.sidAt(server, key);
        if (sid !== null && isAhead(sid)) sids.push(sid);
      });
    }
    sids.sort();
    for (let at = 0; at < sids.length; at += pageSize) {
      signal?.throwIfAborted();
      const page = sids.slice(at, at + pageSize);
      const live = unverified ? null : await this.holds(page);
      const kept = live === null ? page : page.filter((_, n) => live[n]);
      if (kept.length > 0) yield kept;
    }
  }

  /**
   * Without a prefix the servers' own `curr_items`: everything they hold, so also placeholders, and what has expired and
   * not been reclaimed yet. With a prefix, beside which other applications' items may lie, the keys that have it: not
   * only where a client would look for them, so that a wrong rule for the servers shows. Of a pool its sessions, each
   * once.
   */
  async count(): Promise<number> {
    if (this.#pool !== null) return (await this.#pool.list()).length;
    const { deadline, fence = NO_FENCE } = this.options;
    if (this.#places.prefix === "") {
      const all = await this.#stats();
      return all.reduce((sum, found) => sum + statistic(found, "curr_items"), 0);
    }
    let count = 0;
    for (const { server } of this.#places.links) {
      await dumpKeys(server, { deadline, fence }, (key) => {
        if (this.#places.mayBeSession(key)) count++;
      });
    }
    return count;
  }

  /** memcached reclaims by itself. */
  async prune(): Promise<number> {
    return 0;
  }

  /** Pid, start time and number of flushes of every server; and by which keys, on which of them, sessions are looked for. */
  async identity(): Promise<string> {
    const looks = await Promise.all(this.#places.links.map(({ server }) => look(server, this.options.deadline)));
    return `memcached:${looks.map(({ incarnation }) => incarnation).join(",")}:${this.#places.rule}:${this.#places.prefix}`;
  }

  /** The first server's; it counts whole seconds, of which this is the middle. */
  async now(): Promise<number> {
    const [found] = await this.#stats();
    return statistic(found!, "time") * 1000 + 500;
  }

  /** Waits for one deadline at most. False at once for an endpoint that the servers see under another address. */
  async disconnectNode(_node: string, endpoints: readonly string[]): Promise<boolean> {
    if (endpoints.some(isHidden)) return false;
    if (endpoints.length === 0) return true;
    for (const ends = performance.now() + this.options.deadline; ; await delay(LOOK_AGAIN)) {
      const looks = await Promise.all(this.#places.links.map(({ server }) => look(server, this.options.deadline)));
      if (!looks.some((seen) => endpoints.some((endpoint) => seen.endpoints.has(endpoint)))) return true;
      if (performance.now() >= ends) return false;
    }
  }

  /** For the doctor. Rejects with VERSION_UNSUPPORTED, AUTHENTICATION_FAILED or LegacyUnreachable. */
  async describe(): Promise<MemcachedFacts[]> {
    return Promise.all(
      this.#places.links.map(async (link) => {
        const connection = await link.connection();
        const found = statsOf(await link.read([stats()]));
        return {
          address: link.server.address,
          version: connection.facts.version,
          itemSizeMax: connection.facts.itemSizeMax,
          items: statistic(found, "curr_items"),
          bytes: statistic(found, "bytes"),
          maxBytes: statistic(found, "limit_maxbytes"),
          evictions: statistic(found, "evictions"),
          uptime: statistic(found, "uptime"),
          seesOurAddress: !isHidden(connection.endpoint),
        };
      }),
    );
  }

  async close(): Promise<void> {
    for (const link of this.#places.links) link.close();
  }

  async #placeOf(sid: Sid): Promise<Place | null> {
    return this.#places.of(this.#pool === null ? sid : (await this.#pool.locate([sid]))[0]!);
  }

  /** Why a change can never be written, or null. */
  #unfit({ sid, holder, noRoom }: MemcachedToken, session: Session | null): FerryError | null {
    if (session === null) return null;
    if (holder === null) return noRoom ?? keyTooLong();
    try {
      items.assertFits(this.#places.of(sid)!.key, session, holder.connection.facts.itemSizeMax, this.#kind);
      return null;
    } catch (error) {
      return error as FerryError;
    }
  }

  #stats(): Promise<Map<string, string>[]> {
    return Promise.all(this.#places.links.map(async (link) => statsOf(await link.read([stats()]))));
  }
}

function nothing(): null {
  return null;
}
