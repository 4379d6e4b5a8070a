import type { ConnectionOptions } from "node:tls";
import { bucketOf } from "../../core/cohort.js";
import { isLocated, located, restOf, serverOf } from "../../core/place.js";
import type { Sid } from "../../core/session.js";
import { FerryError } from "../../errors.js";
import { isIgnored, type LegacyPreset } from "../../ports/preset.js";
import { type Distribution, ketama, modulo } from "./distribution.js";
import { encodeKey, encodeRawKey, type Key } from "./keys.js";
import { MemcachedLink, type MemcachedLinkOptions } from "./link.js";
import { numbered, parseServers, type Server } from "./server.js";

export interface PlacesOptions extends MemcachedLinkOptions {
  readonly url: string;
  readonly tls?: ConnectionOptions | null | undefined;
  readonly preset: LegacyPreset;
  readonly prefix?: string;
  readonly distribution?: "modulo" | "ketama" | "client";
}

/** Where a session lies: on which server, under which key. */
export interface Place {
  readonly link: MemcachedLink;
  readonly key: Key;
}

/**
 * The servers, and which of them holds which session. Where the rule is the client's own business (a *pool*) only who
 * asks can say it: every sid is located, and is looked for on its server alone. A key found on a server is that server's.
 */
export class Places {
  /** In the order in which located sids count them, in a pool. */
  readonly links: readonly MemcachedLink[];
  readonly isPool: boolean;
  readonly #byServer: ReadonlyMap<Server, MemcachedLink>;
  readonly #serverOf: Distribution;
  readonly prefix: string;
  /** By which a server is chosen; one alone needs none. */
  readonly rule: string;

  constructor(private readonly options: PlacesOptions) {
    const named = parseServers(options.url, options.tls);
    const rule = options.distribution ?? options.preset.distribution;
    this.rule = named.length > 1 ? String(rule) : "alone";
    this.isPool = rule === "client" && named.length > 1;
    const servers = this.isPool ? numbered(named) : named;
    this.prefix = options.prefix ?? options.preset.prefix;
    this.#byServer = new Map(servers.map((server) => [server, new MemcachedLink(server, options)]));
    this.links = [...this.#byServer.values()];
    this.#serverOf = rule === "client" ? () => servers[0]! : distributionOf(servers, rule);
  }

  /** Null where memcached cannot have such a key, and in a pool for a sid that is not located. */
  of(sid: Sid): Place | null {
    if (this.isPool) {
      const server = serverOf(sid);
      return server === null ? null : this.on(server, restOf(sid));
    }
    const name = this.prefix + sid;
    const key = encodeKey(name);
    return key === null ? null : { link: this.link(this.#serverOf(name)), key };
  }

  /** Of a pool: where the server of this number has it. */
  on(server: number, rest: Sid): Place | null {
    const key = encodeKey(this.prefix + rest);
    const link = this.links[server];
    return key === null || link === undefined ? null : { link, key };
  }

  /** Of a pool: the server for a session that none holds and nobody has asked for; as good as any. */
  someServer(rest: Sid): Sid {
    return located(bucketOf(rest) % this.links.length, rest);
  }

  /** Of any key, session or not, told byte by byte, one character for each. */
  ofRawKey(name: string): Place | null {
    const key = encodeRawKey(name);
    return key === null ? null : { link: this.link(this.#serverOf(name)), key };
  }

  link(server: Server): MemcachedLink {
    return this.#byServer.get(server)!;
  }

  /** The sid of a key found on a server; null where it is none, or lies where no client would look for it. */
  sidAt(server: Server, key: string): Sid | null {
    if (!this.mayBeSession(key)) return null;
    const sid = key.slice(this.prefix.length);
    if (!this.isPool) return this.#serverOf(key) === server ? sid : null;
    return isLocated(sid) ? null : located(this.links.indexOf(this.link(server)), sid);
  }

  /** Whether a session is none that moves: a lock, say. */
  isIgnored(sid: Sid): boolean {
    return isIgnored(this.options.preset, sid);
  }

  /** Whether a key looks like a session's, wherever it lies. */
  mayBeSession(key: string): boolean {
    if (!key.startsWith(this.prefix) || key.length === this.prefix.length) return false;
    return !isIgnored(this.options.preset, key.slice(this.prefix.length));
  }

  /** Runs a batch for each server concerned; results by the places of their sids, `otherwise` for impossible keys. */
  async each<T>(
    sids: readonly Sid[],
    otherwise: (sid: Sid) => T,
    run: (link: MemcachedLink, keys: Key[], sids: Sid[]) => Promise<T[]>,
  ): Promise<T[]> {
    const batches = new Map<MemcachedLink, { keys: Key[]; sids: Sid[]; at: number[] }>();
    const found: T[] = [];
    for (const [n, sid] of sids.entries()) {
      const place = this.of(sid);
      if (place === null) {
        found[n] = otherwise(sid);
        continue;
      }
      const batch = batches.get(place.link) ?? { keys: [], sids: [], at: [] };
      batch.keys.push(place.key);
      batch.sids.push(sid);
      batch.at.push(n);
      batches.set(place.link, batch);
    }
    await Promise.all(
      [...batches].map(async ([link, batch]) => {
        for (const [i, result] of (await run(link, batch.keys, batch.sids)).entries()) found[batch.at[i]!] = result;
      }),
    );
    return found;
  }
}

function distributionOf(servers: readonly Server[], rule: "modulo" | "ketama" | "client" | undefined): Distribution {
  if (servers.length === 1) return () => servers[0]!;
  if (rule === "modulo") return modulo(servers);
  if (rule === "ketama") return ketama(servers);
  throw new FerryError(
    "CONFIG_INVALID",
    "legacy.distribution: with several memcached servers, name the rule of the application's client: modulo or ketama, or client where the proxy has a listener for each.",
  );
}
