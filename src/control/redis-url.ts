import type { RedisOptions } from "ioredis";
import { FerryError } from "../errors.js";
import { shownUrl } from "./redact.js";

/**
 * ioredis options of a URL: `redis://`, `rediss://` (both with user, password and database number) and
 * `redis-sentinel://[user:password@]host:port[,host:port]/name[/database]`.
 */
export function redisOptionsOf(
  url: string,
  tls: Readonly<Record<string, unknown>> = {},
  setting = "control.url",
): RedisOptions {
  const match = /^(redis|rediss|redis-sentinel):\/\/(?:([^/?#]*)@)?([^/?#@]+)(?:\/([^?#]*))?$/i.exec(url);
  if (match === null) throw unreadable(url, setting);
  const scheme = match[1]!.toLowerCase();
  const hosts = match[3]!.split(",").map((host) => addressOf(host, url, scheme === "redis-sentinel" ? 26379 : 6379));
  const path = (match[4] ?? "").split("/");
  const login = loginOf(match[2]);
  const secure = scheme === "rediss" || Object.keys(tls).length > 0 ? { tls: { ...tls } } : {};
  if (scheme === "redis-sentinel") {
    const name = path[0];
    if (!name || path.length > 2) throw unreadable(url);
    return { sentinels: hosts, name, db: databaseOf(path[1], url), ...login, ...secure };
  }
  if (hosts.length !== 1 || path.length > 1) throw unreadable(url);
  return { ...hosts[0]!, db: databaseOf(path[0], url), ...login, ...secure };
}

function addressOf(text: string, url: string, defaultPort: number): { host: string; port: number } {
  const match = /^(\[[0-9a-f:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/i.exec(text);
  if (match === null) throw unreadable(url);
  return { host: match[1]!.replace(/^\[|\]$/g, ""), port: match[2] === undefined ? defaultPort : Number(match[2]) };
}

function databaseOf(text: string | undefined, url: string): number {
  if (text === undefined || text === "") return 0;
  if (!/^\d{1,4}$/.test(text)) throw unreadable(url);
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

function unreadable(url: string): FerryError {
  return new FerryError("CONFIG_INVALID", `control.url is no Redis URL that can be read: ${shownUrl(url)}`);
}
