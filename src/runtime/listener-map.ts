import { memcachedServers } from "../config/urls.js";
import type { Config } from "../core/config.js";
import { numbered, parseServers } from "../stores/memcached/server.js";
import type { ListenerMap } from "../workflow/doctor-facts.js";

export function listenerMap(listeners: Config["proxy"]["listeners"], legacyUrl: string): ListenerMap {
  const servers = addressesOf(legacyUrl);
  const named = listeners.flatMap(({ server }) => addressesOf(`memcached://${server}`));
  return {
    strangers: named.filter((server) => !servers.includes(server)),
    forgotten: servers.filter((server) => !named.includes(server)),
    shared: [...new Set(named.filter((server, i) => named.indexOf(server) !== i))],
  };
}

/**
 * The servers' addresses in the order in which located sids count them; null unless several servers are there whose
 * client's rule nobody knows.
 */
export function poolOf({ legacy }: Pick<Config, "legacy">): readonly string[] | null {
  if (legacy.distribution !== "client") return null;
  const servers = numbered(parseServers(legacy.url));
  return servers.length > 1 ? servers.map(({ address }) => address.toLowerCase()) : null;
}

/** The number of the server for which a listener stands; undefined where sids are not located. */
export function serverNumber(config: Pick<Config, "legacy">, server: string): number | undefined {
  const [address] = addressesOf(`memcached://${server}`);
  return poolOf(config)?.indexOf(address!);
}

function addressesOf(url: string): string[] {
  const shown = (host: string) => (host.includes(":") ? `[${host}]` : host);
  return (memcachedServers(url) ?? []).map(({ host, port }) => `${shown(host)}:${port}`);
}
