import { ALL_BUCKETS, type BucketRange, bucketOf, inRange } from "../core/cohort.js";
import { nodeOf } from "../core/ids.js";
import type { WorkName } from "../core/phase.js";
import { isStillThere } from "../core/runs.js";
import type { Sid } from "../core/session.js";
import { isSynthetic } from "../core/synthetic.js";
import { FerryError } from "../errors.js";
import { notedDirty } from "../ferry/drainer.js";
import { shownRefusals } from "../ferry/refused.js";
import { intentsLeft, sweepUnregistered, withdraw } from "../ferry/sweep.js";
import { lastVoiding } from "../ferry/void.js";
import type { Clock } from "../ports/clock.js";
import type { ControlStore } from "../ports/control-store.js";
import type { Copier } from "../ports/copier.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { RedisRecords } from "../ports/redis-records.js";

export interface WorkStores {
  readonly legacy: LegacyStore;
  readonly records: RedisRecords;
  readonly copier: Copier & { giveBack(sids: readonly Sid[]): Promise<Sid[]> };
  readonly clock: Clock;
  readonly control: ControlStore;
  /** The node that works for the command. */
  readonly node: string;
}

export interface WorkRequest {
  /** When the transition began, by the control store's clock. */
  readonly startedAt: number;
  readonly buckets: BucketRange;
  /** Of this walk: what `redis-stands` leaves in R. */
  readonly stamp: string;
  /** Milliseconds for each wait. */
  readonly patience: number;
  readonly progress: (work: WorkName, done: number) => void;
  /**
   * A barrier in the midst of the work: true when all that was begun before this call has ended in every node, and none
   * owes R anything; false where somebody else changed the record, or some node did not acknowledge in time. The walk
   * looks at the record anew after it.
   */
  readonly barrier: () => Promise<boolean>;
  readonly signal?: AbortSignal;
}

type Work = (stores: WorkStores, request: WorkRequest) => Promise<void>;

const PAGE = 500;
/** A full copy ends with a pass that had nothing to copy; a listing under heavy writes may need several. */
const PASSES = 10;
/** Milliseconds: an intent that stands so long may be nobody's. */
const STANDING = 2_000;

/** The work between rungs (rule 8). All of it may be repeated from the start, by another coordinator too. */
export const WORKS: Readonly<Record<WorkName, Work>> = {
  // The first buckets to leave legacy find an R that nobody uses: all of it goes, since what was left behind there meanwhile
  // (intents of dead nodes, too) is nobody's, and it is sealed for the generation of the record, which may be new, and for
  // its present run. The seal comes last, when R is clean.
  "drop-records": async ({ records, control }, { buckets, progress }) => {
    const isUnused = buckets[0] === 0;
    const { runId } = await records.facts();
    if (isUnused) await records.removeSeal();
    progress("drop-records", await records.drop(isUnused ? ALL_BUCKETS : buckets));
    // Should R have restarted meanwhile, with what it held before, it is not the one that was armed.
    if (isUnused) await records.arm((await control.read()).generation, "active", runId);
  },

  // A node lost since the gates were passed may have taken a gap with it; no gap can be taken any more from here on.
  "evidence-stands": async ({ control }, { startedAt }) => {
    const voiding = await lastVoiding(control);
    if (voiding === null || voiding.at < startedAt) return;
    throw new FerryError("GATE_REFUSED", `Evidence was voided while the transition was under way: ${voiding.why}.`, {
      next: "sessionferry check --repair",
    });
  },

  // Rule 11: what was written to L while no process was there is found out when the next one joins, but only as long as L
  // has the say of it.
  "fleet-stands": async ({ control }) => {
    const nodes = await control.nodes();
    if (nodes.some(({ role, state }) => role !== "job" && state === "live")) return;
    throw new FerryError(
      "GATE_REFUSED",
      "No application is there: whether others write the legacy store is not known.",
      {
        remedy: "Start the applications with sessionferry, or its proxies, then repeat the command.",
        next: "sessionferry nodes",
      },
    );
  },

  // Before R is written first: while it is away the fleet may still leave it by itself. And where the authority moves: an R
  // that restarted with data from before contradicts what L has acknowledged since, and is known by its stamp, which is
  // older.
  "redis-stands": ({ records }, { stamp }) => records.stamp(stamp),

  // Rule 6: "an intent that its living node does not have in flight is closed too". Such a one is left by an open that R
  // got after its node had withdrawn it, or by a close that R lost in a restart. What was listed before a barrier and
  // stands behind it is of that kind: whatever was begun before has ended, and no node owes R anything.
  "no-intents": async (stores, request) => {
    let suspectAfter = stores.clock.elapsed() + STANDING;
    let strangers: readonly string[] = [];
    const remaining = async () => {
      const left = await intentsLeft(stores.records);
      if (left.length === 0) return 0;
      strangers = await sweepUnregistered(stores, new Set(left.map(({ intent }) => nodeOf(intent))));
      if (stores.clock.elapsed() < suspectAfter) return left.length;
      const known = left.filter(({ intent }) => !strangers.includes(nodeOf(intent)));
      if (known.length > 0 && (await request.barrier())) await withdraw(stores.records, known);
      suspectAfter = stores.clock.elapsed() + STANDING;
      return (await intentsLeft(stores.records)).length;
    };
    await waitUntil(stores, request, "no-intents", remaining, async () =>
      strangers.length === 0
        ? ""
        : ` Of nodes that are not registered any more: if they are dead for certain, sessionferry nodes evict ${strangers.join(", ")}.`,
    );
  },

  // A sid that a listing misses was written meanwhile, and so is in R already; passes are repeated until one finds
  // nothing to copy, because a dump of memcached is no proof by itself. Nor is a pass during which R restarted: what its
  // persistence lost may be what was copied last.
  "full-copy": async (stores, request) => {
    const { buckets, progress, signal } = request;
    let done = 0;
    for (let pass = 0; pass < PASSES; pass++) {
      const { runId } = await stores.records.facts();
      let copied = 0;
      for await (const page of stores.legacy.list({ pageSize: PAGE, signal })) {
        const within = page.filter((sid) => isWithin(sid, buckets));
        copied += await copyUntilDone(stores, within, request);
        done += within.length;
        progress("full-copy", done);
        throwIfAborted(signal);
      }
      if (copied === 0 && isStillThere(runId, (await stores.records.facts()).runId)) return;
    }
    throw new FerryError(
      "TRANSITION_PENDING",
      `After ${PASSES} passes the legacy store still held sessions unknown to Redis.`,
    );
  },

  // Only a store that loses items by itself is given back what R still has; in a SQL database a missing row is a
  // destroy that bypassed us, and the check reports it.
  "push-missing": async (stores, request) => {
    const { legacy, records, copier } = stores;
    const { buckets, progress, signal } = request;
    if (!legacy.lossy) return;
    let looked = 0;
    for await (const page of records.listRecords({ pageSize: PAGE, signal })) {
      const within = page.filter((sid) => isWithin(sid, buckets));
      await repeat(stores, request, within, (left) => copier.giveBack(left), "could not be given back to memcached");
      looked += within.length;
      progress("push-missing", looked);
    }
  },

  // On the way down from redis-first. On its own rung it makes sure that L takes changes, before requests wait for that. On
  // write-through nothing is answered any more that L has not got: once what was dirty before is drained, an R that is lost,
  // or comes back with what it held before, takes nothing along that anybody was told. What users change meanwhile may
  // wait: on a busy site the index is never empty.
  "drain-older": async (stores, request) => {
    // Where nothing waits to be drained, nobody else asks whether L is there.
    await stores.legacy.identity();
    const began = stores.clock.elapsed();
    await drained("drain-older", stores, request, ({ oldestAge }, asked) => oldestAge < asked - began);
  },

  "drain-dirty": (stores, request) => drained("drain-dirty", stores, request, ({ count }) => count === 0),

  // The seal comes first, and only on the R that is trusted: one that was emptied meanwhile must not be called complete.
  // Nobody looks at marks any more, so that they may go after it.
  "clear-marks": async ({ records }) => {
    await records.complete();
    await records.clearMarks();
  },
};

async function drained(
  work: WorkName,
  stores: WorkStores,
  request: WorkRequest,
  isDone: (dirty: { readonly count: number; readonly oldestAge: number }, asked: number) => boolean,
): Promise<void> {
  const remaining = async () => {
    const window = await stores.records.dirtySids(PAGE);
    if (window.length > 0) await stores.copier.drain(window);
    // By the time that the answer is there, what it tells of is older.
    const asked = stores.clock.elapsed();
    const dirty = await stores.records.dirtyState();
    return isDone(dirty, asked) ? 0 : dirty.count;
  };
  await waitUntil(stores, request, work, remaining, async () => {
    const { refused = [] } = (await notedDirty(stores.control)) ?? {};
    return refused.length === 0 ? "" : ` The legacy store does not take ${shownRefusals(refused)}.`;
  });
}

/** A check that runs meanwhile has planted sessions of its own. */
function isWithin(sid: Sid, buckets: BucketRange): boolean {
  return inRange(bucketOf(sid), buckets) && !isSynthetic(sid);
}

async function copyUntilDone(stores: WorkStores, sids: Sid[], request: WorkRequest): Promise<number> {
  let copied = 0;
  const copy = async (left: readonly Sid[]) => {
    const outcomes = await stores.copier.copy(left);
    copied += outcomes.filter((outcome) => outcome === "filled").length;
    return left.filter((_, i) => outcomes[i] === "refused");
  };
  await repeat(stores, request, sids, copy, "kept changing under the full copy");
  return copied;
}

/** Works on these sids until `work` leaves none of them over. */
async function repeat(
  { clock }: WorkStores,
  { patience, signal }: WorkRequest,
  sids: readonly Sid[],
  work: (left: readonly Sid[]) => Promise<readonly Sid[]>,
  trouble: string,
): Promise<void> {
  const until = clock.elapsed() + patience;
  let left = sids;
  for (let pause = 1; left.length > 0; pause = Math.min(pause * 2, 100)) {
    left = await work(left);
    if (left.length === 0) return;
    if (clock.elapsed() >= until) throw new FerryError("TRANSITION_PENDING", `${left.length} sessions ${trouble}.`);
    await clock.sleep(pause, signal);
    throwIfAborted(signal);
  }
}

async function waitUntil(
  { clock }: WorkStores,
  { patience, progress, signal }: WorkRequest,
  work: WorkName,
  remaining: () => Promise<number>,
  reason: () => Promise<string> = async () => "",
): Promise<void> {
  const until = clock.elapsed() + patience;
  for (let pause = 5; ; pause = Math.min(pause * 2, 200)) {
    const count = await remaining();
    progress(work, count);
    if (count === 0) return;
    if (clock.elapsed() >= until) {
      const left = `${work}: ${count} left after ${Math.round(patience / 1000)} s.`;
      throw new FerryError("TRANSITION_PENDING", left + (await reason().catch(() => "")));
    }
    await clock.sleep(pause, signal);
    throwIfAborted(signal);
  }
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new FerryError("INTERRUPTED", "Interrupted; the transition is recorded and pending.");
}
