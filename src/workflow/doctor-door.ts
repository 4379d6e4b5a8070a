import type { MemcachedSurvey } from "../ports/survey.js";
import { bytesText, type Facts, type Finding, fine, type Probe, refused, warning } from "./doctor-facts.js";

/** What an item takes besides its value: its header, and a key of the common length. */
const HEADER = 128;
/** Seconds between the starts of servers that were started together. */
const TOGETHER = 300;

/** A probe that applies where memcached's clients are served. */
function door(name: string, judge: (facts: Facts, survey: MemcachedSurvey) => Finding | null): Probe {
  return {
    name,
    guardsSetup: false,
    judge: (facts) => {
      const survey = facts.legacy.facts?.survey;
      return facts.listeners !== null && survey?.kind === "memcached" ? judge(facts, survey) : null;
    },
  };
}

export const DOOR_PROBES: readonly Probe[] = [
  {
    name: "proxy-listeners",
    guardsSetup: false,
    judge: ({ listeners, config }) => {
      if (listeners === null) return null;
      const { strangers, forgotten, shared } = listeners;
      if (strangers.length > 0) {
        return refused(
          "CONFIG_INVALID",
          `listeners stand for servers that legacy.url does not name: ${strangers.join(", ")}`,
          "Name in `proxy.listeners` the servers of `legacy.url`, in the same spelling.",
        );
      }
      if (config.proxy.listeners.length === 0) {
        return warning(
          "no listeners are configured: sessionferry proxy needs --listen",
          "Name `proxy.listeners` in the configuration, so that every process has the same.",
        );
      }
      const named = config.proxy.listeners.map(({ listen }) => listen);
      const twice = [...new Set(named.filter((listen, i) => !listen.endsWith(":0") && named.indexOf(listen) !== i))];
      if (twice.length > 0) {
        return refused(
          "CONFIG_INVALID",
          `several listeners have one address: ${twice.join(", ")}`,
          "Give each listener of `proxy.listeners` an address of its own.",
        );
      }
      const told = [
        ...forgotten.map((server) => `${server} has no listener`),
        ...shared.map((server) => `${server} has several listeners`),
      ];
      if (told.length === 0) return fine(`${config.proxy.listeners.length} listeners, one to a server`);
      if (config.legacy.distribution === "client" && forgotten.length > 0) {
        return refused(
          "CONFIG_INVALID",
          `no rule for the servers is known, and the listeners are not one to one with them: ${told.join(", ")}`,
          "Give each server of `legacy.url` one listener, in the order in which the application names its servers.",
        );
      }
      return warning(
        `the listeners are not one to one with the servers: ${told.join(", ")}`,
        "Give each server of `legacy.url` one listener: only then does the application's own rule find its keys.",
      );
    },
  },
  door("legacy-prefix", ({ legacy, config }, { servers }) => {
    const sessions = legacy.facts?.sessions ?? 0;
    const items = servers.reduce((sum, server) => sum + server.items, 0);
    if (sessions > 0 || items === 0) return fine(`${sessions} of ${items} items are sessions by their keys`);
    return warning(
      `none of ${items} items has a key of the preset ${config.legacy.preset}`,
      "Look at the application's own prefix, and name it under `legacy.prefix`; keys without it do not move.",
    );
  }),
  door("legacy-duplicates", (_, { duplicates }) => {
    if (duplicates === null) return null;
    if (duplicates === 0) return fine("no session lies on two servers");
    return warning(
      `${duplicates} old copies of sessions lie on other servers than the session: its clients went elsewhere once, or servers were added`,
      "They do not move. Switch the clients' failover off, and begin when the list of servers has stood for one session lifetime.",
    );
  }),
  door("legacy-pool-losses", (_, { duplicates, servers }) => {
    if (duplicates === null) return null;
    const oldest = Math.max(...servers.map(({ uptime }) => uptime));
    const lost = servers.filter(({ uptime, evictions }) => evictions > 0 || oldest - uptime > TOGETHER);
    if (lost.length === 0) return fine("no server has lost sessions while others kept theirs");
    return warning(
      `sessions are lost that others may have old copies of: ${lost.map(({ address }) => address).join(", ")} evicted some, or started later than the oldest`,
      "An old copy whose session is lost moves as if it were the session: begin when the clients' failover has been off, and the list of servers the same, for one session lifetime.",
    );
  }),
  door("legacy-flags", (_, { flags }) => {
    if (flags === null || flags.other === 0) return fine("the sessions looked at carry the preset's flags");
    return warning(
      `${flags.other} of ${flags.sampled} sessions looked at carry other flags than the preset's: they may be compressed`,
      "The door's clients read them in every phase, but what reads Redis afterwards may not: see sessionferry presets NAME.",
    );
  }),
  door("proxy-item-size", ({ config }, { servers }) => {
    const { itemSize } = config.proxy.limits;
    const largest = Math.max(...servers.map(({ itemSizeMax }) => itemSizeMax));
    if (itemSize + HEADER >= largest)
      return fine(`values of up to ${bytesText(itemSize)} pass, as many as memcached takes`);
    return warning(
      `memcached takes items of ${bytesText(largest)}, the proxy values of ${bytesText(itemSize)}`,
      `Set \`proxy.limits.itemSize: ${largest}\`.`,
    );
  }),
];
