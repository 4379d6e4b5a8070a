import { Redis } from "ioredis";
import type { Session } from "../../src/core/session.js";
import type { RedisRecords } from "../../src/ports/redis-records.js";

/** What sessions and marks take of Redis' memory: bytes each, from INFO and MEMORY USAGE. It depends on no speed. */
export interface MeasuredMemory {
  readonly empty: number;
  readonly sessions: number;
  /** Besides them, when each has a mark and stands in the dirty index. */
  readonly marks: number;
}

const BATCH = 500;

/** @param redisUrl of the Redis behind `records`, which nobody else uses meanwhile */
export async function measureMemory(
  records: RedisRecords,
  redisUrl: string,
  sids: readonly string[],
  sessionOf: (n: number) => Session,
): Promise<MeasuredMemory> {
  const client = new Redis(redisUrl);
  const used = async () => Number(/^used_memory:(\d+)/m.exec(await client.info("memory"))![1]);
  try {
    const empty = await used();
    for (let from = 0; from < sids.length; from += BATCH) {
      const batch = sids.slice(from, from + BATCH);
      await Promise.all(batch.map((sid, i) => records.setAlone(sid, sessionOf(from + i))));
    }
    const filled = await used();
    for (let from = 0; from < sids.length; from += BATCH) {
      await records.push(
        sids.slice(from, from + BATCH).map((sid, i) => ({ sid, dirty: `${from + i}`.padStart(20, "n") })),
      );
    }
    return { empty, sessions: filled - empty, marks: (await used()) - filled };
  } finally {
    client.disconnect();
  }
}
