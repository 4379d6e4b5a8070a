import { Cluster, Redis, type RedisOptions } from "ioredis";
import { guardedOptions, guardRedis } from "../control/redis-guard.js";
import { clusterOptionsOf, isCluster, redisOptionsOf } from "../control/redis-url.js";
import type { RedisWitness } from "../ports/witness.js";

/**
 * Asks for a session as a plain client does, by the key and nothing else. It shares nothing with our records, on
 * purpose: no script, no mark, no seal, no connection.
 *
 * @param prefix what the application's own store puts before the session id.
 */
export function openRedisWitness(options: {
  url: string;
  tls?: Readonly<Record<string, unknown>>;
  prefix: string;
  timeout: number;
}): RedisWitness {
  const { url, tls = {}, prefix, timeout } = options;
  const settings: RedisOptions = {
    protocol: 2,
    connectionName: "sessionferry-witness",
    connectTimeout: timeout,
    commandTimeout: timeout,
    maxRetriesPerRequest: 1,
    lazyConnect: true,
    ...(Object.keys(tls).length > 0 && { tls: { ...tls } }),
  };
  const redis = isCluster(url) ? plainCluster(url, tls, settings) : plainServer(url, tls, settings);
  redis.on("error", () => {});
  return {
    async get(sid) {
      try {
        return await redis.getBuffer(prefix + sid);
      } catch (error) {
        // The driver's own errors carry the command's arguments, and with them the session id.
        throw new Error(`Redis did not answer the witness: ${error instanceof Error ? error.message : "no answer"}`);
      }
    },
    async close() {
      redis.disconnect();
    },
  };
}

type Tls = Readonly<Record<string, unknown>>;

/** The driver reads every URL but a Sentinel one by itself. */
function plainServer(url: string, tls: Tls, settings: RedisOptions): Redis {
  const redis = /^rediss?:/i.test(url)
    ? new Redis(url, settings)
    : new Redis(guardedOptions({ ...settings, ...redisOptionsOf(url, tls, "redis.url") }));
  guardRedis(redis);
  return redis;
}

/** As an application asks it, with the driver's own idea of slots. */
function plainCluster(url: string, tls: Tls, settings: RedisOptions): Cluster {
  const { servers, common } = clusterOptionsOf(url, tls, "redis.url");
  const cluster = new Cluster(servers, { lazyConnect: true, redisOptions: { ...settings, ...common } });
  cluster.on("+node", guardRedis);
  return cluster;
}
