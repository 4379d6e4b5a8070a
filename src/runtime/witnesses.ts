import { isPostgres } from "../config/urls.js";
import type { Config } from "../core/config.js";
import type { Witnesses } from "../jobs/witness-check.js";
import { legacyPreset } from "../presets/index.js";
import { redisPrefix } from "./open.js";

/** Plain clients of both sides, for the check; they share no code with our stores. */
export async function openWitnesses(
  config: Config,
): Promise<{ readonly witnesses: Witnesses | null; close(): Promise<void> }> {
  const timeout = config.timeouts.legacy;
  const { url, table } = config.legacy;
  if (!isPostgres(url)) return { witnesses: null, close: async () => {} };
  const [{ openPostgresWitness }, { openRedisWitness }] = await Promise.all([
    import("../stores/witness-postgres.js"),
    import("../stores/witness-redis.js"),
  ]);
  const legacy = openPostgresWitness({ url, table: table ?? legacyPreset(config.legacy.preset).table!.name, timeout });
  const redis = openRedisWitness({
    url: config.redis.url,
    tls: config.redis.tls,
    prefix: redisPrefix(config),
    timeout,
  });
  return {
    witnesses: { legacy, redis },
    async close() {
      await Promise.allSettled([legacy.close(), redis.close()]);
    },
  };
}
