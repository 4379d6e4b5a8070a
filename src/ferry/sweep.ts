import { nodeOf } from "../core/ids.js";
import type { ControlStore } from "../ports/control-store.js";
import type { LegacyStore } from "../ports/legacy-store.js";
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

/** How many sessions have open intents, and which nodes opened them. */
export async function intentsLeft(records: RedisRecords): Promise<{ sessions: number; nodes: Set<string> }> {
  const nodes = new Set<string>();
  let sessions = 0;
  for await (const page of records.listIntents({ pageSize: 1000 })) {
    sessions += page.length;
    for (const { intents } of page) for (const id of intents) nodes.add(nodeOf(id));
  }
  return { sessions, nodes };
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
