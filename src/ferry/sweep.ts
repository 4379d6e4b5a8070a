import { nodeOf } from "../core/ids.js";
import type { Sid } from "../core/session.js";
import type { ControlStore } from "../ports/control-store.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { RedisRecords } from "../ports/redis-records.js";

/** An intent that stands in R. */
export interface Standing {
  readonly sid: Sid;
  readonly intent: string;
}

/**
 * Rule 6. Withdraws the intents of a node that is gone: evicted, and with none of its commands able to take
 * effect on L any more. The caller answers for that; an intent's age says nothing. Another sweeper may be faster, and by
 * then v may hold a copy that full-redis counts on, so an intent that stands no more is left alone.
 *
 * @returns how many intents were closed.
 */
export async function sweep(records: RedisRecords, node: string): Promise<number> {
  let swept = 0;
  for await (const page of standing(records)) {
    swept += await withdraw(
      records,
      page.filter(({ intent }) => nodeOf(intent) === node),
    );
  }
  return swept;
}

/** All intents that stand. */
export async function intentsLeft(records: RedisRecords): Promise<Standing[]> {
  const left: Standing[] = [];
  for await (const page of standing(records)) left.push(...page);
  return left;
}

/** @returns how many they are; one that stands no more is left alone. */
export async function withdraw(records: RedisRecords, intents: readonly Standing[]): Promise<number> {
  await Promise.all(intents.map(({ sid, intent }) => records.close(sid, intent, { kind: "withdraw" })));
  return intents.length;
}

async function* standing(records: RedisRecords): AsyncIterable<Standing[]> {
  for await (const page of records.listIntents({ pageSize: 1000 })) {
    yield page.flatMap(({ sid, intents }) => intents.map((intent) => ({ sid, intent })));
  }
}

/**
 * Rule 6 for intents of nodes that the registry does not know: an `open` that arrived after its node had withdrawn it and
 * left, or one that the sweep of an eviction missed because its key was moved to another shard under the listing. Nobody
 * else would ever close them.
 *
 * Not to be registered is no proof of death: a control store that was restored forgets nodes that live and write. So such
 * a node is fenced off as an evicted one is. Its renewals are refused, its connections are ended in both stores, and only
 * then are its intents withdrawn. What memcached has of a node that nobody describes cannot be told from other
 * connections: there it takes the operator's word.
 *
 * @param seen nodes of intents that were listed before this call: a node is registered before it opens anything.
 * @returns the nodes whose intents had to be left.
 */
export async function sweepUnregistered(
  stores: { readonly control: ControlStore; readonly legacy: LegacyStore; readonly records: RedisRecords },
  seen: Iterable<string>,
  word = false,
): Promise<string[]> {
  const { control, legacy, records } = stores;
  const registered = new Set((await control.nodes()).map(({ id }) => id));
  const left: string[] = [];
  for (const node of seen) {
    if (registered.has(node)) continue;
    await records.disconnectNode(node);
    const ended = legacy.kind !== "memcached" && (await legacy.disconnectNode(node, []));
    if (ended || word) await sweep(records, node);
    else left.push(node);
  }
  return left;
}
