import { isPostgres } from "../config/urls.js";
import type { Config } from "../core/config.js";
import type { Witnesses } from "../jobs/witness-check.js";
import type { LegacyWitness } from "../ports/witness.js";
import { legacyPreset } from "../presets/index.js";
import { redisPrefix, servesItems } from "./open.js";

/**
 * Plain clients of both sides, for the check; they share no code with our stores.
 * @throws FerryError GUARD_REFUSED where memcached's plain client, memjs, is not installed
 */
export async function openWitnesses(
  config: Config,
): Promise<{ readonly witnesses: Witnesses; close(): Promise<void> }> {
  const { openRedisWitness } = await import("../stores/witness-redis.js");
  const legacy = await openLegacyWitness(config);
  const { url, tls } = config.redis;
  const redis = openRedisWitness({ url, tls, prefix: redisPrefix(config), timeout: config.timeouts.legacy });
  return {
    witnesses: { legacy, redis },
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
  return openMemcachedWitness({
    url,
    prefix: prefix ?? preset.prefix,
    distribution: distribution ?? preset.distribution ?? "modulo",
    timeout,
    empties: servesItems(config),
  });
}
