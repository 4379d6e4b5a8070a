import { ALL_BUCKETS } from "../core/cohort.js";
import { newGeneration } from "../core/ids.js";
import type { Phases } from "../core/phase.js";
import {
  abandonRedis,
  authorityIsDivided,
  proceed,
  redisMayBeAhead,
  setBack,
  someBucket,
  someBucketReadsRedis,
} from "../core/transition.js";
import type { ControlRecord, NodeInfo } from "../ports/control-store.js";
import { type CallLimits, RedisLost, type RedisRecords } from "../ports/redis-records.js";
import type { EvictionStores } from "./eviction.js";
import { noteOrigin } from "./reclaim.js";
import { alone, type Steerage } from "./steerage.js";
import { voidEvidence } from "./void.js";

export type { Steerage } from "./steerage.js";

/** A node that starts while R is away must not wait for it. */
const BRIEFLY: CallLimits = { deadline: 1_000, hold: false };

/**
 * Rule 10: an R that was emptied, replaced or restarted is armed anew. Only while no bucket is read from R: then the
 * nodes write L with the gap liberty until they trust the new generation, everything under the prefix is dropped, and
 * the seal comes last, so that no script runs before R is clean. Evidence is bound to the generation and so is void.
 */
export async function rearm(steerage: Steerage, eviction: EvictionStores): Promise<boolean> {
  const { control, records, phases, by } = steerage;
  const record = await control.read();
  if (someBucketReadsRedis(record, phases) || redisMayBeAhead(record)) return false;
  // Another node has drawn a new generation already; this one will hear of it.
  if (record.generation !== records.generation) return false;
  return alone(steerage, eviction, "rearm", async () => {
    if (await isTrusted(records)) return false;
    const { runId } = await records.facts();
    const generation = newGeneration();
    // What was judged when read-through was begun to be entered was another R.
    if (record.pending?.ladder === "read-through" && !record.pending.oneWay) {
      await voidEvidence(control, "Redis was armed anew while read-through was being entered", by);
    }
    const next = await control.compareAndSet(record.revision, { ...record, generation });
    if (next === null) return false;
    // A node that was frozen, or has not heard yet, trusts the old seal: from here on it is refused.
    await records.removeSeal();
    const dropped = await records.drop(ALL_BUCKETS);
    // Should R have restarted meanwhile, with what it held before, it is not the one that was armed.
    await records.arm(generation, "active", runId);
    await control.append({ by, action: "rearm", detail: { dropped } });
    return true;
  });
}

/** Whether R answers as the one that was armed: then somebody else was faster. */
async function isTrusted(records: RedisRecords): Promise<boolean> {
  try {
    await records.ping(BRIEFLY);
    return true;
  } catch (error) {
    if (error instanceof RedisLost) return false;
    throw error;
  }
}

/** Whether the fleet may leave R behind by itself: L has everything, and some bucket cannot go on without R. */
export function isDemotable(record: ControlRecord, phases: Phases): boolean {
  if (redisMayBeAhead(record) || record.pending?.oneWay) return false;
  return someBucket(record, phases, ({ write, liberty }) => write === "L" && liberty !== "gap");
}

/**
 * Rule 12: the nodes agree, through what they report, that R is away for most of them; one of them publishes the jump
 * to dual-write and any of them finishes it.
 */
export async function demote({ control, phases, by }: Steerage): Promise<boolean> {
  const record = await control.read();
  if (!isDemotable(record, phases)) return false;
  // One that is only starting has not looked yet.
  const serving = (await control.nodes()).filter(
    ({ state, role, report }) => state === "live" && role !== "job" && report.redis !== "unused",
  );
  const without = serving.filter(({ report }) => report.redis === "down" || report.redis === "lost");
  if (without.length * 2 <= serving.length) return false;
  const author = { by, reason: "Redis is away for most of the nodes", at: await control.now() };
  const next = await control.compareAndSet(record.revision, abandonRedis(record, phases, author));
  if (next === null) return false;
  await control.append({
    by,
    action: "demote",
    detail: { from: record.position, nodes: serving.length, without: without.length },
  });
  return true;
}

/**
 * Whether every node stands on this very revision. One that has acknowledged a later one says that this record is not
 * the newest: it was followed by another, or a store that was restored has forgotten one (rule 11).
 */
export function allAcknowledge(record: ControlRecord, nodes: readonly NodeInfo[]): boolean {
  return nodes.every(({ state, report }) => state === "live" && report.acknowledged === record.revision);
}

/** Carries a one-way transition on by one step once all nodes stand on its rung; it has no work between its rungs. */
export async function assistOneWay({ control, phases, by }: Steerage, record: ControlRecord): Promise<boolean> {
  if (!record.pending?.oneWay || !allAcknowledge(record, await control.nodes())) return false;
  const next = await control.compareAndSet(record.revision, proceed(record, phases));
  if (next?.pending === null) {
    await control.append({ by, action: "settled", detail: { position: next.position } });
  }
  return next !== null;
}

/**
 * Rule 11: called by a node before it serves, when the record says that the whole fleet was away. L may have been
 * written behind our back, so R's records go wherever L is the authority: all of them where R is left behind (they are
 * dropped when it is armed anew), else those of L's buckets, when R is reclaimed. Neither happens before what is left
 * of the old fleet was fenced off: one of its processes may have been frozen only.
 */
export async function resume({ control, records, phases, by }: Steerage): Promise<ControlRecord> {
  for (;;) {
    const record = await control.read();
    if (!record.interrupted) return record;
    const author = { by, reason: "no application was there", at: await control.now() };
    const back = setBack(record, phases, author, newGeneration());
    if (authorityIsDivided(record)) await noteOrigin(control, record, back.generation);
    const next = await control.compareAndSet(record.revision, back);
    if (next === null) continue;
    // A process of the old fleet that was only frozen trusts the old seal: the sooner it is refused the better. Where R
    // is reclaimed, the seal is what it is known by.
    const leftBehind = next.generation !== record.generation && !redisMayBeAhead(next);
    if (leftBehind) await records.removeSeal(BRIEFLY).catch(() => {});
    const to = next.pending?.oneWay ? next.pending.lower : next.position;
    await control.append({ by, action: "interrupted", detail: { from: record.position, to } });
    return next;
  }
}
