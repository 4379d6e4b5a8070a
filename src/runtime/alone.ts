import type { Config } from "../core/config.js";
import { IdSource, newNodeId } from "../core/ids.js";
import { Arrears } from "../ferry/arrears.js";
import { Ferry } from "../ferry/ferry.js";
import type { LegacyItems } from "../ferry/items.js";
import { RedisHealth } from "../ferry/redis-health.js";
import { Routing } from "../ferry/routing.js";
import { SharedDrains } from "../ferry/shared-drains.js";
import { loadPhases } from "../phases.js";
import { NO_FENCE } from "../ports/fence.js";
import { type LegacyStore, LegacyUnreachable } from "../ports/legacy-store.js";
import { type Observer, SILENT } from "../ports/observer.js";
import type { RedisRecords } from "../ports/redis-records.js";
import { systemClock } from "./clock.js";
import { openRecords } from "./open.js";

/**
 * A node of a completed migration: it needs Redis alone. Null unless the seal in Redis says `complete`; then neither
 * the legacy store nor the control store need exist any more.
 */
export async function openAlone(
  config: Config,
  observer: Observer = SILENT,
): Promise<{ ferry: Ferry; close(): Promise<void> } | null> {
  const id = newNodeId();
  const records = await openRecords(config, { node: id, fence: NO_FENCE });
  const seal = await records.seal().catch(() => null);
  if (seal?.state !== "complete" || seal.migration !== config.migration) {
    await records.end();
    return null;
  }
  return { ferry: aloneOver(records, seal.generation, config, id, observer), close: () => records.end() };
}

function aloneOver(records: RedisRecords, generation: string, config: Config, id: string, observer: Observer): Ferry {
  records.generation = generation;
  records.trustRestarts = true;
  const gone = () => Promise.reject(new LegacyUnreachable("the migration is complete"));
  const legacy = new Proxy({} as LegacyStore, { get: () => gone });
  const ctx = {
    legacy,
    records,
    routing: new Routing(loadPhases(), {
      migration: config.migration,
      revision: 0,
      position: { phase: "complete", percent: 100 },
      pending: null,
      generation,
      interrupted: false,
    }),
    arrears: new Arrears(),
    drains: new SharedDrains(),
    health: new RedisHealth(systemClock, observer),
    ids: new IdSource(id),
    clock: systemClock,
    observer,
    limits: { redis: config.timeouts.redis, request: config.timeouts.legacy },
  };
  const { itemSize } = config.proxy.limits;
  const items: LegacyItems = { read: gone, perform: gone, flush: gone, largest: () => itemSize };
  return new Ferry(ctx, undefined, items);
}
