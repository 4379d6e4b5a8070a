import { isPostgres } from "../config/urls.js";
import type { Config } from "../core/config.js";
import { restOf, serverOf } from "../core/place.js";
import type { Witnesses } from "../jobs/witness-check.js";
import type { LegacyWitness } from "../ports/witness.js";
import { legacyPreset } from "../presets/index.js";
import { poolOf } from "./listener-map.js";
import { redisPrefix, servesItems } from "./open.js";
import { redisTls, tlsOptions } from "./tls.js";

/**
 * Plain clients of both sides, for the check; they share no code with our stores.
 * @throws FerryError GUARD_REFUSED where memcached's plain client, memjs, is not installed
 */
export async function openWitnesses(
  config: Config,
): Promise<{ readonly witnesses: Witnesses; close(): Promise<void> }> {
  const { openRedisWitness } = await import("../stores/witness-redis.js");
  const legacy = await openLegacyWitness(config);
  const { url } = config.redis;
  const redis = openRedisWitness({
    url,
    tls: redisTls(config),
    prefix: redisPrefix(config),
    timeout: config.timeouts.legacy,
  });
  const pool = poolOf(config);
  return {
    // A client of Redis knows nothing of servers.
    witnesses: { legacy, redis: pool === null ? redis : { get: (sid) => redis.get(restOf(sid)) } },
    async close() {
      await Promise.allSettled([legacy.close(), redis.close()]);
    },
  };
}

async function openLegacyWitness(config: Config): Promise<LegacyWitness> {
  const { legacy, timeouts } = config;
  const { url, table, prefix, distribution } = legacy;
  const preset = legacyPreset(legacy.preset);
  const timeout = timeouts.legacy;
  if (isPostgres(url)) {
    const { openPostgresWitness } = await import("../stores/witness-postgres.js");
    return openPostgresWitness({ url, table: table ?? preset.table!.name, timeout });
  }
  const { openMemcachedWitness } = await import("../stores/witness-memcached.js");
  const tls = tlsOptions("legacy.tls", legacy.tls);
  const common = { prefix: prefix ?? preset.prefix, tls, timeout, empties: servesItems(config) };
  const rule = distribution ?? preset.distribution ?? "modulo";
  if (rule !== "client") return openMemcachedWitness({ url, distribution: rule, ...common });
  // Each server has a client of its own, as a client has that is pointed at its listener.
  const servers = poolOf(config)?.map((server) => `memcached://${server}`) ?? [url];
  const clients = await Promise.all(
    servers.map((server) => openMemcachedWitness({ url: server, distribution: "modulo", ...common })),
  );
  return {
    get: async (sid) => (await clients[serverOf(sid) ?? 0]?.get(servers.length === 1 ? sid : restOf(sid))) ?? null,
    async close() {
      await Promise.all(clients.map((client) => client.close()));
    },
  };
}
