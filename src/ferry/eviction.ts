import { newGeneration } from "../core/ids.js";
import type { Phases } from "../core/phase.js";
import { redisIsDrained, redisIsSoleAuthority, redisMayBeRead } from "../core/transition.js";
import type { ControlStore, NodeInfo } from "../ports/control-store.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { Observer } from "../ports/observer.js";
import { type CallLimits, RedisLost, type RedisRecords } from "../ports/redis-records.js";
import { isLegacyFailure, isRedisFailure } from "./failures.js";
import { forgetHolder } from "./holders.js";
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

/** A look whether R can end a node's connections must not keep the fleet waiting. */
const REDIS: CallLimits = { deadline: 2_000, hold: false };

export interface Word {
  /** The operator's word that the node is dead: that its connections are gone, where a store cannot end or see them. */
  readonly word?: boolean;
  /**
   * The operator's word that R is gone for good: what is in it counts no more. Where it answers all the same, the node's
   * connections to it are ended as ever: frozen, and with its old seal still there, it would be told that it wrote.
   */
  readonly withoutRedis?: boolean;
}

/** How one eviction is carried out. */
export interface Manner extends Word {
  /**
   * Only while the node is silent for longer than this (ms). Whoever saw it silent may have been held up since, and by
   * the time he goes on it renews again.
   */
  readonly overdueAfter?: number;
}

/**
 * Rule 11: takes a silent node for dead, in the order that makes it true. First its renewals are refused, so that it
 * can open no connection any more; then its connections are ended, so that nothing it sent can still land; only then
 * are its intents swept (rule 6) and the node forgotten. Until that last step barriers go on waiting for it. Every
 * step may be repeated by anybody.
 *
 * An R that cannot be reached by us may still answer that node, which would read there what others write past R. So
 * where R is read the node stays until R is back, or until the operator gives his word.
 *
 * @returns false while some step could not be done yet; true where none is due any more.
 */
export async function evict(stores: EvictionStores, node: string, by: string, manner: Manner = {}): Promise<boolean> {
  const { control } = stores;
  if (!(await control.lock(`evict:${node}`, by, ATTEMPT))) return false;
  try {
    return await evictHolding(stores, node, by, manner);
  } finally {
    await control.unlock(`evict:${node}`, by);
  }
}

async function evictHolding(
  { control, legacy, records, phases, observer }: EvictionStores,
  node: string,
  by: string,
  { word = false, withoutRedis = false, ...silent }: Manner,
): Promise<boolean> {
  const info = await refuse(control, node, by, silent);
  if (info === null) return true;
  const [left, ended] = await Promise.all([endedInLegacy(legacy, info), endedInRedis(records, node)]);
  const cut = ended && !withoutRedis;
  if (!left && !word) return false;
  if (!cut && !(await leaveRedisBehind(control, word || withoutRedis))) return false;
  // Last of all, when nothing of it can land any more, and before anything relies on its being gone: its gap, if it
  // had one, is gone with it.
  if (info.role !== "job" && gapMayBeLost(await control.read(), phases)) {
    await voidEvidence(control, `node ${node} was lost, possibly with a gap`, by);
  }
  if (cut) {
    const count = await sweepUnlessLost(control, records, node);
    if (count === null) return false;
    observer.event({ type: "swept", count });
    await forgetHolder(control, node);
  }
  await control.forget(node);
  return true;
}

/**
 * The beginning of an eviction, as far as R is concerned: from now on nothing of the node reaches R any more. The rest is
 * done by whoever finds the node evicted. False while R cannot be asked.
 */
export async function fenceOffRedis(
  { control, records }: EvictionStores,
  node: string,
  by: string,
  withoutRedis: boolean,
): Promise<boolean> {
  // Also of one that is registered no more: where R did not answer it was forgotten with its connections to R.
  await refuse(control, node, by);
  return (await endedInRedis(records, node)) || withoutRedis;
}

/** First step: the node's renewals are refused. Null: it is registered no more, or renews again. */
async function refuse(
  control: ControlStore,
  node: string,
  by: string,
  silent: { readonly overdueAfter?: number } = {},
): Promise<NodeInfo | null> {
  const registered = async () => (await control.nodes()).find(({ id }) => id === node);
  const info = await registered();
  if (info?.state !== "live") return info ?? null;
  await control.evict(node, silent);
  // It may have renewed in between, with connections that were not there before.
  const refused = await registered();
  if (refused?.state !== "evicted") return null;
  await control.append({ by, action: "evict", detail: { node, host: info.host, pid: info.pid, role: info.role } });
  return refused;
}

/**
 * An R that is not trusted is dropped, or all intents in it are withdrawn, before anybody trusts it again: what the
 * node left there needs no hand, and whoever puts R right waits for this eviction. Only where a restart is accepted as
 * it is would they stay. Null where it is we who have not heard yet of the generation that R is sealed for: the node may
 * have opened intents under it.
 */
async function sweepUnlessLost(control: ControlStore, records: RedisRecords, node: string): Promise<number | null> {
  try {
    return await sweep(records, node);
  } catch (error) {
    if (!(error instanceof RedisLost)) throw error;
    const record = await control.read();
    if (record.generation !== records.generation) return null;
    if (redisIsSoleAuthority(record)) throw error;
    return 0;
  }
}

/** False while L cannot be asked: then it takes the operator's word. */
async function endedInLegacy(legacy: LegacyStore, { id, report }: NodeInfo): Promise<boolean> {
  try {
    return await legacy.disconnectNode(id, report.endpoints);
  } catch (error) {
    if (!isLegacyFailure(error)) throw error;
    return false;
  }
}

async function endedInRedis(records: RedisRecords, node: string): Promise<boolean> {
  try {
    await records.disconnectNode(node, REDIS);
    return true;
  } catch (error) {
    if (!isRedisFailure(error)) throw error;
    return false;
  }
}

/**
 * The node's intents in R cannot be swept, and it may still have a connection there: from now on no node trusts that R
 * before everything in it was dropped. False where that must not be: R is ahead of L, and nobody gave it up; or the
 * node may be one that reads R, and nobody answers for its death.
 */
async function leaveRedisBehind(control: ControlStore, word: boolean): Promise<boolean> {
  for (;;) {
    const record = await control.read();
    if (redisIsDrained(record)) return false;
    if (!word && redisMayBeRead(record)) return false;
    if (await control.compareAndSet(record.revision, { ...record, generation: newGeneration() })) return true;
  }
}
