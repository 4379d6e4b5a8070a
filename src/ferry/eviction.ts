import type { Phases } from "../core/phase.js";
import type { ControlStore } from "../ports/control-store.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { Observer } from "../ports/observer.js";
import type { RedisRecords } from "../ports/redis-records.js";
import { sweep } from "./sweep.js";
import { gapMayBeLost, voidEvidence } from "./void.js";

/** Milliseconds that one attempt may take before another node may try. */
const ATTEMPT = 15_000;

export interface EvictionStores {
  readonly control: ControlStore;
  readonly legacy: LegacyStore;
  readonly records: RedisRecords;
  readonly phases: Phases;
  readonly observer: Observer;
}

/**
 * Rule 11: takes a silent node for dead, in the order that makes it true. First its renewals are refused, so that it
 * can open no connection any more; then its connections are ended, so that nothing it sent can still land; only then
 * are its intents swept (rule 6) and the node forgotten. Until that last step barriers go on waiting for it. Every
 * step may be repeated by anybody.
 *
 * @param word the operator's word that the node's connections to L are gone, where L cannot tell (memcached).
 * @returns false while some step could not be done yet.
 */
export async function evict(
  stores: EvictionStores,
  node: string,
  by: string,
  { word = false }: { word?: boolean } = {},
): Promise<boolean> {
  const { control } = stores;
  if (!(await control.lock(`evict:${node}`, by, ATTEMPT))) return false;
  try {
    return await evictHolding(stores, node, by, word);
  } finally {
    await control.unlock(`evict:${node}`, by);
  }
}

async function evictHolding(
  { control, legacy, records, phases, observer }: EvictionStores,
  node: string,
  by: string,
  word: boolean,
): Promise<boolean> {
  const info = (await control.nodes()).find(({ id }) => id === node);
  if (info === undefined) return true;
  if (info.state === "live") {
    await control.evict(node);
    // Before anything relies on the node being gone: its gap, if it had one, is gone with it.
    if (info.role !== "job" && gapMayBeLost(await control.read(), phases)) {
      await voidEvidence(control, `node ${node} was lost, possibly with a gap`, by);
    }
    await control.append({ by, action: "evict", detail: { node, host: info.host, pid: info.pid, role: info.role } });
  }
  const gone = (await legacy.disconnectNode(node, info.report.endpoints)) || word;
  await records.disconnectNode(node);
  if (!gone) return false;
  const count = await sweep(records, node);
  observer.event({ type: "swept", count });
  await control.forget(node);
  return true;
}
