import { lookup } from "node:dns/promises";
import { isPostgres, redactUrl, serversOf } from "../config/urls.js";
import type { Config } from "../core/config.js";
import { newNodeId } from "../core/ids.js";
import type { Clock } from "../ports/clock.js";
import { NO_FENCE } from "../ports/fence.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { RedisRecords } from "../ports/redis-records.js";
import type { ControlRights, LegacySurvey } from "../ports/survey.js";
import { legacyPreset } from "../presets/index.js";
import type { Patients } from "../workflow/doctor.js";
import { openControlOf, openLegacy, openRecords, recordsOptions, redisPrefix } from "./open.js";

/**
 * Opens all three stores for the doctor and for setup, as a visitor: no node, no fence. A store that cannot be opened
 * is opened again by its first question, so that its failure is told among the findings.
 */
export async function openPatients(config: Config, clock: Clock): Promise<Patients & { close(): Promise<void> }> {
  const node = newNodeId();
  const visitor = { node, fence: NO_FENCE };
  const [legacy, control] = await Promise.all([openLegacy(config, visitor), openControlOf(config, node)]);
  const records = await openLazily(() => openRecords(config, visitor));
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
        return surveyRedis(recordsOptions(config, visitor));
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
    async close() {
      await Promise.allSettled([legacy.close(), records.end(), control.close()]);
    },
  };
}

/** A wrong password is told by `facts`, not by opening. */
async function openLazily(open: () => Promise<RedisRecords>): Promise<RedisRecords> {
  try {
    return await open();
  } catch (error) {
    const failing = {
      facts: () => Promise.reject(error),
      seal: () => Promise.reject(error),
      end: async () => {},
    } satisfies Partial<RedisRecords>;
    return failing as unknown as RedisRecords;
  }
}

async function surveyLegacy(config: Config, legacy: LegacyStore): Promise<LegacySurvey> {
  const { PostgresLegacyStore } = await import("../stores/postgres.js");
  const { surveyPostgres } = await import("../stores/postgres-survey.js");
  const columns = legacyPreset(config.legacy.preset).table;
  if (!(legacy instanceof PostgresLegacyStore) || columns === undefined) throw new Error("not built yet");
  return surveyPostgres(await legacy.describe(), {
    url: config.legacy.url,
    columns,
    deadline: config.timeouts.legacy,
  });
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
