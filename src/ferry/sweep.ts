import { nodeOf } from "../core/ids.js";
import type { RedisRecords } from "../ports/redis-records.js";

/**
 * Rule 6. Withdraws the intents of a node that is gone: evicted, and with none of its commands able to take
 * effect on L any more. The caller answers for that; an intent's age says nothing. Another sweeper may be faster, and by
 * then v may hold a copy that full-redis counts on, so an intent that stands no more is left alone.
 *
 * @returns how many intents were closed.
 */
export async function sweep(records: RedisRecords, node: string): Promise<number> {
  let swept = 0;
  for await (const page of records.listIntents({ pageSize: 1000 })) {
    const closes = page.flatMap(({ sid, intents }) =>
      intents.filter((id) => nodeOf(id) === node).map((id) => records.close(sid, id, { kind: "withdraw" })),
    );
    await Promise.all(closes);
    swept += closes.length;
  }
  return swept;
}
