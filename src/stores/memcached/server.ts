import type { ConnectionOptions } from "node:tls";
import { MOST_SERVERS } from "../../core/place.js";
import { FerryError } from "../../errors.js";

/** One memcached server. */
export interface Server {
  readonly host: string;
  readonly port: number;
  /** `host:port`, as the URL spells it. */
  readonly address: string;
  /** Options of Node's tls.connect; null for a plain connection. */
  readonly tls: ConnectionOptions | null;
}

const DEFAULT_PORT = 11_211;

/** The servers of `memcached://h:p[,h:p]`, in the order written. Rejects with CONFIG_INVALID. */
export function parseServers(url: string, tls: ConnectionOptions | null = null): Server[] {
  const list = /^memcached:\/\/([^/?#]+)\/?$/i.exec(url)?.[1];
  // The URL itself is not repeated: somebody may have put a password into it.
  if (list === undefined) throw invalid("expected memcached://host:port[,host:port]");
  if (list.includes("@")) throw invalid("memcached with user and password is not supported");
  return list.split(",").map((part) => {
    const found = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(part.trim());
    const port = Number(found?.[2] ?? DEFAULT_PORT);
    if (found === null || port < 1 || port > 65_535) throw invalid("a server is not written as host:port");
    const host = found[1]!;
    return { host: host.replace(/^\[|\]$/g, ""), port, address: `${host}:${port}`, tls };
  });
}

/**
 * The servers as located sids count them: by their addresses, so that the order in a URL says nothing. Rejects with
 * CONFIG_INVALID where one is named twice.
 */
export function numbered(servers: readonly Server[]): Server[] {
  const name = ({ address }: Server) => address.toLowerCase();
  const sorted = [...servers].sort((a, b) => (name(a) < name(b) ? -1 : 1));
  if (sorted.some((server, n) => n > 0 && name(sorted[n - 1]!) === name(server)))
    throw invalid("a server is named twice");
  if (sorted.length > MOST_SERVERS) throw invalid(`more than ${MOST_SERVERS} servers`);
  return sorted;
}

function invalid(what: string): FerryError {
  return new FerryError("CONFIG_INVALID", `legacy.url: ${what}.`);
}
