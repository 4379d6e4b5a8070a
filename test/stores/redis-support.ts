import { Redis } from "ioredis";
import { newNodeId } from "../../src/core/ids.js";
import { NO_FENCE } from "../../src/ports/fence.js";
import type { RedisRecords } from "../../src/ports/redis-records.js";
import { openRedisRecords, type RedisRecordsOptions } from "../../src/stores/redis/index.js";

export function openRecords(url: string, options: Partial<RedisRecordsOptions> = {}): Promise<RedisRecords> {
  return openRedisRecords({ url, prefix: "sess:", migration: "shop", node: newNodeId(), fence: NO_FENCE, ...options });
}

/** A client that knows nothing of us. */
export function plainClient(url: string): Redis {
  const client = new Redis(url, { retryStrategy: () => 50, maxRetriesPerRequest: null });
  client.on("error", () => {});
  return client;
}

export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it did not reject");
}

export async function duration(work: () => Promise<unknown>): Promise<number> {
  const before = performance.now();
  await work();
  return performance.now() - before;
}
