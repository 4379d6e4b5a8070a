import type { RedisOptions } from "ioredis";
import { FerryError } from "../errors.js";
import { shownUrl } from "./redact.js";

/** A URL and the setting it stands in, for messages. */
interface Source {
  readonly url: string;
  readonly setting: string;
}

/**
 * ioredis options of a URL: `redis://`, `rediss://` (both with user, password and database number) and
 * `redis-sentinel://[user:password@]host:port[,host:port]/name[/database]`.
 */
export function redisOptionsOf(
  url: string,
  tls: Readonly<Record<string, unknown>> = {},
  setting = "control.url",
): RedisOptions {
  const source: Source = { url, setting };
  if (isCluster(url)) {
    throw new FerryError("CONFIG_INVALID", `${setting} names a Redis Cluster, which cannot be used there.`, {
      remedy: `Name a Redis of its own in \`${setting}\`: redis://, rediss:// or redis-sentinel://.`,
    });
  }
  const match = /^(redis|rediss|redis-sentinel):\/\/(?:([^/?#]*)@)?([^/?#@]+)(?:\/([^?#]*))?$/i.exec(url);
  if (match === null) throw unreadable(source);
  const scheme = match[1]!.toLowerCase();
  const hosts = match[3]!.split(",").map((host) => addressOf(host, source, scheme === "redis-sentinel" ? 26379 : 6379));
  const path = (match[4] ?? "").split("/");
  const login = loginOf(match[2]);
  const isSecure = scheme === "rediss" || Object.keys(tls).length > 0;
  if (scheme === "redis-sentinel") {
    const name = path[0];
    if (!name || path.length > 2) throw unreadable(source);
    // The driver must be told that sentinels, and the master whom they name, are spoken to over TLS, too.
    const secure = isSecure && { tls: { ...tls }, sentinelTLS: { ...tls }, enableTLSForSentinelMode: true };
    return { sentinels: hosts, name, db: databaseOf(path[1], source), ...login, ...secure };
  }
  if (hosts.length !== 1 || path.length > 1) throw unreadable(source);
  return { ...hosts[0]!, db: databaseOf(path[0], source), ...login, ...(isSecure && { tls: { ...tls } }) };
}

export function isCluster(url: string): boolean {
  return /^redis-cluster:\/\//i.test(url);
}

/** Of `redis-cluster://[user:password@]host:port[,host:port]`: servers that are asked first, and what goes for all. */
export function clusterOptionsOf(
  url: string,
  tls: Readonly<Record<string, unknown>> = {},
  setting = "redis.url",
): { servers: { host: string; port: number }[]; common: RedisOptions } {
  const source: Source = { url, setting };
  const match = /^redis-cluster:\/\/(?:([^/?#]*)@)?([^/?#@]+)$/i.exec(url);
  if (match === null) throw unreadable(source);
  const servers = match[2]!.split(",").map((host) => addressOf(host, source, 6379));
  const secure = Object.keys(tls).length > 0 ? { tls: { ...tls } } : {};
  return { servers, common: { ...loginOf(match[1]), ...secure } };
}

function addressOf(text: string, source: Source, defaultPort: number): { host: string; port: number } {
  const match = /^(\[[0-9a-f:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/i.exec(text);
  if (match === null) throw unreadable(source);
  return { host: match[1]!.replace(/^\[|\]$/g, ""), port: match[2] === undefined ? defaultPort : Number(match[2]) };
}

function databaseOf(text: string | undefined, source: Source): number {
  if (text === undefined || text === "") return 0;
  if (!/^\d{1,4}$/.test(text)) throw unreadable(source);
  return Number(text);
}

function loginOf(text: string | undefined): { username?: string; password?: string } {
  if (text === undefined) return {};
  const colon = text.indexOf(":");
  const username = plain(colon === -1 ? text : text.slice(0, colon));
  const password = colon === -1 ? "" : plain(text.slice(colon + 1));
  return { ...(username && { username }), ...(password && { password }) };
}

/** Percent signs that encode nothing are taken as written. */
function plain(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function unreadable({ url, setting }: Source): FerryError {
  return new FerryError("CONFIG_INVALID", `${setting} is no Redis URL that can be read: ${shownUrl(url)}`);
}
