import { memcachedServers } from "../config/urls.js";
import type { Config } from "../core/config.js";
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

function addressesOf(url: string): string[] {
  const shown = (host: string) => (host.includes(":") ? `[${host}]` : host);
  return (memcachedServers(url) ?? []).map(({ host, port }) => `${shown(host)}:${port}`);
}
