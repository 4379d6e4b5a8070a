import { type BucketRange, bucketOf, inRange } from "../core/cohort.js";
import type { WorkName } from "../core/phase.js";
import type { Sid } from "../core/session.js";
import { isSynthetic } from "../core/synthetic.js";
import { FerryError } from "../errors.js";
import { lastVoiding } from "../ferry/void.js";
import type { Clock } from "../ports/clock.js";
import type { ControlStore } from "../ports/control-store.js";
import type { Copier } from "../ports/copier.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { RedisRecords } from "../ports/redis-records.js";

export interface WorkStores {
  readonly legacy: LegacyStore;
  readonly records: RedisRecords;
  readonly copier: Copier;
  readonly clock: Clock;
  readonly control: ControlStore;
  /** Fresh nonces for pushes. */
  readonly nonce: () => string;
}

export interface WorkRequest {
  /** When the transition began, by the control store's clock. */
  readonly startedAt: number;
  readonly buckets: BucketRange;
  /** Milliseconds for each wait. */
  readonly patience: number;
  readonly progress: (work: WorkName, done: number) => void;
  readonly signal?: AbortSignal;
}

type Work = (stores: WorkStores, request: WorkRequest) => Promise<void>;

const PAGE = 500;
/** A full copy ends with a pass that had nothing to copy; a listing under heavy writes may need several. */
const PASSES = 10;

/** The work between rungs (rule 8). All of it may be repeated from the start, by another coordinator too. */
export const WORKS: Readonly<Record<WorkName, Work>> = {
  // The first buckets to leave legacy find an R that nobody uses: it is sealed for the generation of the record, which
  // may be new (R was left behind meanwhile), and for its present run. The seal comes last, when R is clean.
  "drop-records": async ({ records, control }, { buckets, progress }) => {
    const isUnused = buckets[0] === 0;
    if (isUnused) await records.removeSeal();
    progress("drop-records", await records.drop(buckets));
    if (isUnused) await records.arm((await control.read()).generation, "active");
  },

  // A node lost since the gates were passed may have taken a gap with it; no gap can be taken any more from here on.
  "evidence-stands": async ({ control }, { startedAt }) => {
    const voiding = await lastVoiding(control);
    if (voiding === null || voiding.at < startedAt) return;
    throw new FerryError("GATE_REFUSED", `Evidence was voided while the transition was under way: ${voiding.why}.`, {
      changed: "the transition was begun and walked back",
      next: "sessionferry check --repair",
    });
  },

  "no-intents": async (stores, request) => {
    await waitUntil(stores, request, "no-intents", async () => {
      let open = 0;
      for await (const page of stores.records.listIntents({ pageSize: 1000 })) open += page.length;
      return open;
    });
  },

  // A sid that a listing misses was written meanwhile, and so is in R already; passes are repeated until one finds
  // nothing to copy, because a dump of memcached is no proof by itself.
  "full-copy": async (stores, request) => {
    const { buckets, progress, signal } = request;
    let done = 0;
    for (let pass = 0; pass < PASSES; pass++) {
      let copied = 0;
      for await (const page of stores.legacy.list({ pageSize: PAGE, signal })) {
        const within = page.filter((sid) => isWithin(sid, buckets));
        copied += await copyUntilDone(stores, within, request);
        done += within.length;
        progress("full-copy", done);
        throwIfAborted(signal);
      }
      if (copied === 0) return;
    }
    throw new FerryError(
      "TRANSITION_PENDING",
      `After ${PASSES} passes the legacy store still held sessions unknown to Redis.`,
    );
  },

  // Only a store that loses items by itself is given back what R still has; in a SQL database a missing row is a
  // destroy that bypassed us, and the check reports it.
  "push-missing": async ({ legacy, records, nonce }, { buckets, progress, signal }) => {
    if (!legacy.lossy) return;
    let pushed = 0;
    for await (const page of records.listRecords({ pageSize: PAGE, signal })) {
      const within = page.filter((sid) => isWithin(sid, buckets));
      const held = await legacy.getMany(within);
      const missing = within.filter((_, i) => held[i] === null).map((sid) => ({ sid, dirty: nonce() }));
      if (missing.length > 0) await records.push(missing);
      pushed += missing.length;
      progress("push-missing", pushed);
    }
  },

  "drain-dirty": async (stores, request) => {
    await waitUntil(stores, request, "drain-dirty", async () => {
      const window = await stores.records.dirtySids(PAGE);
      if (window.length > 0) await stores.copier.drain(window);
      return (await stores.records.dirtyState()).count;
    });
  },

  "clear-marks": async ({ records }) => {
    await records.clearMarks();
    await records.arm(records.generation, "complete");
  },
};

/** A check that runs meanwhile has planted sessions of its own. */
function isWithin(sid: Sid, buckets: BucketRange): boolean {
  return inRange(bucketOf(sid), buckets) && !isSynthetic(sid);
}

async function copyUntilDone({ copier, clock }: WorkStores, sids: Sid[], request: WorkRequest): Promise<number> {
  const until = clock.elapsed() + request.patience;
  let copied = 0;
  let left = sids;
  for (let pause = 1; left.length > 0; pause = Math.min(pause * 2, 100)) {
    const outcomes = await copier.copy(left);
    copied += outcomes.filter((outcome) => outcome === "filled").length;
    left = left.filter((_, i) => outcomes[i] === "refused");
    if (left.length === 0) break;
    if (clock.elapsed() >= until) {
      throw new FerryError("TRANSITION_PENDING", `${left.length} sessions kept changing under the full copy.`);
    }
    await clock.sleep(pause, request.signal);
    throwIfAborted(request.signal);
  }
  return copied;
}

async function waitUntil(
  { clock }: WorkStores,
  { patience, progress, signal }: WorkRequest,
  work: WorkName,
  remaining: () => Promise<number>,
): Promise<void> {
  const until = clock.elapsed() + patience;
  for (let pause = 5; ; pause = Math.min(pause * 2, 200)) {
    const count = await remaining();
    progress(work, count);
    if (count === 0) return;
    if (clock.elapsed() >= until) {
      throw new FerryError("TRANSITION_PENDING", `${work}: ${count} left after ${Math.round(patience / 1000)} s.`);
    }
    await clock.sleep(pause, signal);
    throwIfAborted(signal);
  }
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new FerryError("INTERRUPTED", "Interrupted; the transition is recorded and pending.");
}
