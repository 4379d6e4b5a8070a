import { lookup } from "node:dns/promises";
import { isPostgres, redactUrl, serversOf } from "../config/urls.js";
import type { Config } from "../core/config.js";
import type { Clock } from "../ports/clock.js";
import { NO_FENCE } from "../ports/fence.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { ControlRights, LegacySurvey } from "../ports/survey.js";
import { legacyPreset } from "../presets/index.js";
import type { MemcachedLegacyStore } from "../stores/memcached/store.js";
import type { PostgresLegacyStore } from "../stores/postgres.js";
import type { Patients } from "../workflow/doctor.js";
import { listenerMap, poolOf } from "./listener-map.js";
import { recordsOptions, redisPrefix, servesItems } from "./open.js";
import { openVisitor } from "./visitor.js";

/** Whoever runs the doctor waits for the answer: a Redis that is away is told soon. */
const PATIENCE = { batch: 3_000 };

/** Opens all three stores for the doctor and for setup, with the questions that no other command asks. */
export async function openPatients(config: Config, clock: Clock): Promise<Patients & { close(): Promise<void> }> {
  const visitor = await openVisitor(config, PATIENCE);
  const { node, legacy, control, records } = visitor;
  const [legacyServers, redisServers, controlServers] = await Promise.all(
    [config.legacy.url, config.redis.url, config.control.url].map(resolvedServers),
  );
  return {
    config,
    clock,
    legacy: {
      store: legacy,
      survey: () => surveyLegacy(config, legacy),
      where: redactUrl(config.legacy.url),
      servers: legacyServers ?? [],
    },
    redis: {
      records,
      rights: async () => {
        const { surveyRedis } = await import("../stores/redis/index.js");
        return surveyRedis(recordsOptions(config, { node, fence: NO_FENCE }, PATIENCE));
      },
      prefixes: [redisPrefix(config), `sf:${config.migration}:`],
      where: redactUrl(config.redis.url),
      servers: redisServers ?? [],
    },
    control: {
      store: control,
      rights: () => surveyControl(config),
      where: redactUrl(config.control.url),
      servers: controlServers ?? [],
    },
    listeners: servesItems(config) ? listenerMap(config.proxy.listeners, config.legacy.url) : null,
    close: () => visitor.close(),
  };
}

async function surveyLegacy(config: Config, legacy: LegacyStore): Promise<LegacySurvey> {
  if (!isPostgres(config.legacy.url)) {
    const servers = await (legacy as MemcachedLegacyStore).describe();
    const flags = servesItems(config) ? await sampleFlags(config, legacy) : null;
    const duplicates = poolOf(config) === null ? null : ((await legacy.duplicates?.())?.length ?? 0);
    return { kind: "memcached", servers, flags, duplicates };
  }
  const { surveyPostgres } = await import("../stores/postgres-survey.js");
  const facts = await (legacy as PostgresLegacyStore).describe();
  const columns = legacyPreset(config.legacy.preset).table!;
  return surveyPostgres(facts, { url: config.legacy.url, columns, deadline: config.timeouts.legacy });
}

/** Enough to see a client that compresses. */
const SAMPLE = 200;

async function sampleFlags(config: Config, legacy: LegacyStore): Promise<{ sampled: number; other: number }> {
  const { flags } = legacyPreset(config.legacy.preset);
  for await (const sids of legacy.list({ pageSize: SAMPLE })) {
    const sessions = (await legacy.getMany(sids)).filter((session) => session !== null);
    return { sampled: sessions.length, other: sessions.filter((session) => session.flags !== flags).length };
  }
  return { sampled: 0, other: 0 };
}

async function surveyControl(config: Config): Promise<ControlRights | null> {
  if (!isPostgres(config.control.url)) return null;
  const { surveyControl } = await import("../stores/postgres-survey.js");
  return surveyControl(config.control.url, config.timeouts.legacy);
}

/** `address:port` of every server a URL names, names looked up, so that two names of one host are seen as one. */
async function resolvedServers(url: string): Promise<string[]> {
  const servers = serversOf(url).map(async ({ host, port }) => {
    const addresses = await lookup(host, { all: true }).catch(() => []);
    return addresses.length === 0 ? [`${host}:${port}`] : addresses.map(({ address }) => `${address}:${port}`);
  });
  return (await Promise.all(servers)).flat();
}
