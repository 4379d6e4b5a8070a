import { type BucketRange, inRange } from "../core/cohort.js";
import { newGeneration } from "../core/ids.js";
import type { Transition } from "../core/phase.js";
import { authorityIsDivided, redisMayBeAhead, segments } from "../core/transition.js";
import type { ControlRecord, ControlStore, NodeInfo } from "../ports/control-store.js";
import type { RedisRecords } from "../ports/redis-records.js";
import type { EvictionStores } from "./eviction.js";
import { alone, type Steerage } from "./steerage.js";

/** Of which generations the R may be that is reclaimed for the generation under whose name this is kept. */
interface Origin {
  readonly from: readonly string[];
}

const KIND = "reclaim";

/**
 * Rule 10 where R is the authority of some sessions and L of others. R restarted with what it had kept: that is the
 * truth of the first, and contradicts what L has acknowledged of the others since. Which is which depends on the
 * bucket, and the seal speaks for all of R; so nobody trusts R any more until it was put right as a whole:
 *
 * 1. *Distrust.* A new generation is published, and it is noted which R may be reclaimed for it: the one that carries
 *    the seal of the generation before. No script works under the new generation yet. What needs R is held meanwhile,
 *    what L may answer L answers.
 * 2. *Wait out.* Every node has ended all that it began under the old generation, or is fenced off: no write is under
 *    way to L whose intent R may have forgotten, and no copy whose lease it may have remembered.
 * 3. *Put right.* The records of the buckets whose authority is L are dropped, but for what may be a change that L has
 *    not got yet, on the rungs where that may be. Then R is sealed for the new generation and for the very run that was
 *    put right: should it have restarted meanwhile, all of this begins anew. Intents that R remembers from earlier days
 *    belong to nobody, and are withdrawn.
 *
 * So R under the seal of generation g holds, for every bucket of L's, nothing from before g was armed. An R without the
 * seal of the generation before is none of ours, or was emptied: that is a loss, and the decision is the operator's.
 */
export async function reclaim(steerage: Steerage, eviction: EvictionStores): Promise<boolean> {
  const { control, records } = steerage;
  const record = await control.read();
  // Another node has drawn a new generation; this one will hear of it.
  if (record.generation !== records.generation) return false;
  const origin = await control.getDocument<Origin>(KIND, record.generation);
  if (authorityIsDivided(record) && (await records.hasRestarted())) return distrust(steerage, record);
  if (origin === null || !redisMayBeAhead(record) || record.pending?.oneWay) return false;
  if (!allDrained(record, await control.nodes())) return false;
  return alone(steerage, eviction, "rearm", () => putRight(steerage, record, origin));
}

/** Notes, before it is published, that the R of this record may be reclaimed for that generation. */
export async function noteOrigin(control: ControlStore, record: ControlRecord, generation: string): Promise<void> {
  // Where R was about to be reclaimed already, it may carry the seal of either.
  const before = await control.getDocument<Origin>(KIND, record.generation);
  const origin: Origin = { from: [record.generation, ...(before?.from ?? [])] };
  await control.putDocument(KIND, generation, origin);
}

async function distrust({ control, by }: Steerage, record: ControlRecord): Promise<boolean> {
  const generation = newGeneration();
  await control.putDocument(KIND, generation, { from: [record.generation] } satisfies Origin);
  const next = await control.compareAndSet(record.revision, { ...record, generation });
  if (next === null) {
    await control.deleteDocument(KIND, generation);
    return false;
  }
  await control.append({ by, action: "redis-restarted", detail: { position: record.position } });
  return true;
}

async function putRight({ control, records, phases, by }: Steerage, record: ControlRecord, { from }: Origin) {
  const { runId } = await records.facts();
  const seal = await records.seal();
  if (seal === null || !from.includes(seal.generation)) return false;
  let dropped = 0;
  for (const { buckets, placement } of segments(record, phases)) {
    if (placement.routes.write === "R") continue;
    dropped += await records.drop(buckets, { spareDirty: mayBeDirty(record.pending, buckets) });
  }
  const left = await intentsIn(records);
  // Somebody may have left R behind for good meanwhile.
  if ((await control.read()).generation !== record.generation) return false;
  await records.arm(record.generation, "active", runId);
  await control.append({ by, action: "rearm", detail: { dropped, intents: left.length } });
  await Promise.all(left.map(({ sid, intent }) => records.close(sid, intent, { kind: "withdraw" })));
  return true;
}

/** Whether a bucket that is written in mode L now may hold changes that were made in mode R and not drained yet. */
function mayBeDirty(pending: Transition | null, [first]: BucketRange): boolean {
  if (pending?.ladder !== "redis-first" || !inRange(first, pending.buckets)) return false;
  return pending.ahead ?? true;
}

async function intentsIn(records: RedisRecords): Promise<{ sid: string; intent: string }[]> {
  const found: { sid: string; intent: string }[] = [];
  for await (const page of records.listIntents({ pageSize: 1000 })) {
    for (const { sid, intents } of page) for (const intent of intents) found.push({ sid, intent });
  }
  return found;
}

/** Whether nothing is under way any more that was begun before this revision. */
function allDrained(record: ControlRecord, nodes: readonly NodeInfo[]): boolean {
  return nodes.every(({ state, report }) => {
    return state === "live" && (report.drained ?? report.acknowledged) >= record.revision;
  });
}
