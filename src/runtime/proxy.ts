import type { SecureContextOptions } from "node:tls";
import type { Config } from "../core/config.js";
import { type Door, openDoor, type Ways } from "../doors/memcached/server.js";
import { FerryError } from "../errors.js";
import { logDoorEvent, renderDoor } from "../observe/door-report.js";
import { type Health, serveHealth } from "../observe/health.js";
import { EventLog, type Log } from "../observe/index.js";
import { NO_FENCE } from "../ports/fence.js";
import { legacyPreset } from "../presets/index.js";
import { openMemcachedAdmin } from "../stores/memcached/admin.js";
import { MemcachedLegacyStore } from "../stores/memcached/store.js";
import { FleetFactsCache } from "./fleet-facts.js";
import { keyspaceOf } from "./keyspace.js";
import { listenerMap, serverNumber } from "./listener-map.js";
import { LiveFerry } from "./live-ferry.js";
import { redisPrefix } from "./open.js";
import { LegacyRelay } from "./relay.js";
import { tlsOptions } from "./tls.js";

export interface ProxyOptions {
  /** Milliseconds in `legacy` before bytes are passed through as they are; tests have no placeholders to wait for. */
  readonly relayAfter?: number;
}

/**
 * A process of the memcached door: a node of the fleet with a port for memcached's clients and one for its keepers.
 * Whatever is no session goes to memcached itself in every phase.
 */
export class ProxyProcess {
  private constructor(
    readonly config: Config,
    readonly live: LiveFerry,
    readonly door: Door,
    readonly health: Health | null,
    private readonly closing: { draining: boolean },
    private readonly opened: readonly { close(): Promise<void> }[],
  ) {}

  /**
   * Resolves when every listener listens. In legacy and dual-write that needs no Redis.
   * @throws FerryError CONFIG_INVALID, NOT_SET_UP, CONTROL_UNREACHABLE, ...
   */
  static async open(config: Config, log: Log, { relayAfter }: ProxyOptions = {}): Promise<ProxyProcess> {
    const { listeners, allowFlush, sasl, tokens, limits, http } = config.proxy;
    const { url } = config.legacy;
    requireListeners(config);
    const tls: SecureContextOptions | null = tlsOptions("proxy.tls", config.proxy.tls);
    const legacyTls = tlsOptions("legacy.tls", config.legacy.tls);
    const live = await LiveFerry.open(config, new EventLog(log), "proxy");
    const opened: { close(): Promise<void> }[] = [live];
    const closing = { draining: false };
    try {
      const deadline = config.timeouts.legacy;
      // These touch no session, so nothing fences them: an evicted node goes on serving them while it joins again.
      const aside = new MemcachedLegacyStore({
        ...{ url, deadline, fence: NO_FENCE, connections: config.legacy.connections, tls: legacyTls },
        preset: { ...legacyPreset(config.legacy.preset), prefix: "" },
        ...(config.legacy.distribution && { distribution: config.legacy.distribution }),
      });
      opened.push(aside);
      // Of a pool each listener stands for its own server, in everything that a client can ask.
      const waysTo = (url: string, server?: number): Ways => {
        const admin = openMemcachedAdmin({ url, tls: legacyTls, deadline, fence: NO_FENCE });
        opened.push(admin);
        const prefixes = { legacy: legacyPrefix(config), redis: redisPrefix(config) };
        return {
          bypass: aside.bypass(server),
          keyspace: keyspaceOf({ ...prefixes, ...(server !== undefined && { server }) }),
          admin,
          relay: new LegacyRelay(() => live.node, relayAfter, server),
        };
      };
      const door = await openDoor({
        items: live.items,
        ...waysTo(url),
        listeners: listeners.map(({ listen, server }) => {
          const number = serverNumber(config, server);
          const ways = number === undefined ? null : waysTo(`memcached://${server}`, number);
          return { listen, ...(tls && { tls }), ...(ways && { ways }) };
        }),
        limits,
        sasl: sasl.length === 0 ? null : sasl,
        allowFlush,
        tokens,
        hooks: { event: (event) => logDoorEvent(log, event) },
      });
      opened.push(door);
      const facts = new FleetFactsCache(() => live.node);
      const health =
        http === "none"
          ? null
          : await serveHealth({
              listen: http,
              ready: () => (closing.draining ? "draining" : live.joined ? null : "joining the fleet again"),
              metrics: async () => live.metrics(await facts.get()) + renderDoor(door),
            });
      if (health !== null) opened.push(health);
      return new ProxyProcess(config, live, door, health, closing, opened);
    } catch (error) {
      await Promise.allSettled(opened.reverse().map((each) => each.close()));
      throw error;
    }
  }

  /** Takes no more clients, answers what was asked already, leaves the fleet, and closes everything. */
  async close(): Promise<void> {
    this.closing.draining = true;
    await this.door.drain(this.config.timeouts.legacy);
    // The ferry first: it waits for its own operations. The port for the keepers tells to the last how it stands.
    for (const each of this.opened) await each.close().catch(() => {});
  }
}

function legacyPrefix({ legacy }: Config): string {
  return legacy.prefix ?? legacyPreset(legacy.preset).prefix;
}

function requireListeners({ proxy, legacy }: Config): void {
  if (legacyPreset(legacy.preset).backend !== "memcached") {
    throw new FerryError("USAGE", `The proxy speaks memcached, and ${legacy.preset} keeps its sessions elsewhere.`, {
      remedy: "Applications with sessions in SQL use the library door.",
    });
  }
  if (proxy.listeners.length === 0) {
    throw new FerryError("USAGE", "The proxy has nowhere to listen.", {
      remedy: "Name `proxy.listeners` in the configuration, or give --listen HOST:PORT.",
    });
  }
  // One process may have some of the listeners only; the doctor looks at the whole map.
  const { strangers } = listenerMap(proxy.listeners, legacy.url);
  if (strangers.length > 0) {
    throw new FerryError("CONFIG_INVALID", `proxy.listeners: ${strangers.join(", ")}: no server of legacy.url.`);
  }
}
