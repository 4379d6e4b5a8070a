import { type BucketRange, inRange } from "../core/cohort.js";
import { newGeneration } from "../core/ids.js";
import type { Routes, Transition } from "../core/phase.js";
import { authorityIsDivided, mayBeBehind, redisIsDrained, segments } from "../core/transition.js";
import type { ControlRecord, ControlStore, NodeInfo } from "../ports/control-store.js";
import type { RedisRecords, Seals } from "../ports/redis-records.js";
import type { EvictionStores } from "./eviction.js";
import { alone, type Steerage } from "./steerage.js";

/** Of which generations the R may be that is reclaimed for the generation under whose name this is kept. */
interface Origin {
  readonly from: readonly string[];
  /** Set right before R is sealed for the generation: from then on something may have begun under it. */
  readonly armed?: boolean;
}

const KIND = "reclaim";
const MOST_SEALS = 8;

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
 *    Where R comes back with one of those older seals after it was armed, it has restarted once more and forgotten even
 *    that: all of this begins anew.
 * 3. *Put right.* The records of the buckets whose authority is L are dropped. Those of buckets that are on their way to
 *    or from R go as well, dirty or not, as long as nothing is answered before L has it (write-through), and again once all
 *    that was answered before has been drained. In between only the changes stay that L has not got yet: whatever is not
 *    dirty is in L, and may be older in R, which can have restarted before it was written first. Where it restarted with
 *    what it held before that, its stamp is older than this walk's, and its dirty marks are old, too: everything goes.
 *    Where R was the authority before this walk, all stays until that drain. Intents that R remembers from earlier days
 *    belong to nobody, and are withdrawn. Last of all R is sealed for the new generation and for the very run that was put
 *    right: should it have restarted meanwhile, or whoever does this die before, all of this begins anew.
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
  if (authorityIsDivided(record)) {
    if (await records.hasRestarted()) return distrust(steerage, record, origin);
    if (origin?.armed && (await reclaimable(record, origin, records))) {
      // Whoever is sealing R at this moment holds the lock.
      return alone(steerage, eviction, "rearm", async () =>
        (await reclaimable(record, origin, records)) === null ? false : distrust(steerage, record, origin),
      );
    }
  }
  if (origin === null || !redisIsDrained(record)) return false;
  if (!allDrained(record, await control.nodes())) return false;
  return alone(steerage, eviction, "rearm", () => putRight(steerage, record, origin));
}

/** Notes, before it is published, that the R of this record may be reclaimed for that generation. */
export async function noteOrigin(control: ControlStore, record: ControlRecord, generation: string): Promise<void> {
  // Where R was about to be reclaimed already, it may carry the seal of either.
  const before = await control.getDocument<Origin>(KIND, record.generation);
  await control.putDocument(KIND, generation, originAfter(record, before));
}

/** Servers of a Cluster that come back again and again may carry any of the last. */
function originAfter({ generation }: ControlRecord, before: Origin | null): Origin {
  return { from: [generation, ...(before?.from ?? [])].slice(0, MOST_SEALS) };
}

/** The seals of an R that may be reclaimed: some are older than this generation's, and none is of any other. */
async function reclaimable(
  { generation }: ControlRecord,
  { from }: Origin,
  records: RedisRecords,
): Promise<Seals | null> {
  const seals = await records.seals();
  const isOurs = (one: string) => one === generation || from.includes(one);
  const isOne = seals?.generations.every(isOurs) && seals.generations.some((one) => from.includes(one));
  return isOne ? seals : null;
}

async function distrust({ control, by }: Steerage, record: ControlRecord, before: Origin | null): Promise<boolean> {
  const generation = newGeneration();
  await control.putDocument(KIND, generation, originAfter(record, before));
  const next = await control.compareAndSet(record.revision, { ...record, generation });
  if (next === null) {
    await control.deleteDocument(KIND, generation);
    return false;
  }
  await control.append({ by, action: "redis-restarted", detail: { position: record.position } });
  return true;
}

async function putRight({ control, records, phases, by }: Steerage, record: ControlRecord, origin: Origin) {
  const { runId } = await records.facts();
  if ((await reclaimable(record, origin, records)) === null) return false;
  const { pending } = record;
  let dropped = 0;
  for (const { buckets, placement } of segments(record, phases)) {
    const { isBehind, isSettled } = standing(pending, buckets, placement.routes);
    if (isSettled) continue;
    dropped += await records.drop(buckets, { spareDirty: isBehind, ...(pending?.stamp && { since: pending.stamp }) });
  }
  const intents = await records.dropIntents();
  // Somebody may have left R behind for good meanwhile.
  if ((await control.read()).generation !== record.generation) return false;
  await control.putDocument(KIND, record.generation, { ...origin, armed: true } satisfies Origin);
  await records.arm(record.generation, "active", runId, pending?.stamp);
  await control.append({ by, action: "rearm", detail: { dropped, intents } });
  return true;
}

/**
 * How R stands to the records of these buckets. *Settled*: it has been their authority since before this walk. *Behind*:
 * L may be, in what somebody was told.
 */
function standing(
  pending: Transition | null,
  [first]: BucketRange,
  { write }: Routes,
): { readonly isBehind: boolean; readonly isSettled: boolean } {
  const changes = pending?.ladder === "redis-first" && inRange(first, pending.buckets);
  const isBehind = changes && mayBeBehind(pending);
  const isSettled = write === "R" && !(changes && (pending.stamp !== undefined || !isBehind));
  return { isSettled, isBehind };
}

/** Whether nothing is under way any more that was begun before this revision. */
function allDrained(record: ControlRecord, nodes: readonly NodeInfo[]): boolean {
  return nodes.every(({ state, report }) => {
    return state === "live" && (report.drained ?? report.acknowledged) === record.revision;
  });
}
