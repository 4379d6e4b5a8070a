import type { BackfillCounts } from "../core/backfill-state.js";
import type { Sid } from "../core/session.js";
import type { Clock } from "../ports/clock.js";
import type { Copier, CopyOutcome } from "../ports/copier.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import { type BatchWork, inBatches, type Pace, pageSizeOf, patiently, real } from "./batches.js";
import type { Patience } from "./patience.js";

/** A refused copy is tried again after 20 ms, 40 ms, ... 2 s, in all for about half a minute. */
const MAX_TRIES = 20;
const FIRST_PAUSE = 20;
const LONGEST_PAUSE = 2_000;

/** Has a batch copied by somebody else. */
export interface Carrier {
  /** How its sids ended; rejects with INTERRUPTED where it was broken off. */
  copy(sids: readonly Sid[], force: boolean): Promise<BackfillCounts>;
}

export interface CopyingDeps {
  readonly legacy: LegacyStore;
  readonly copier: Copier;
  readonly clock: Clock;
  readonly patience: Patience;
  readonly carrier?: Carrier;
}

const COUNTED: Readonly<Record<Exclude<CopyOutcome, "refused">, keyof BackfillCounts>> = {
  hit: "hit",
  dirty: "dirty",
  filled: "copied",
  absent: "absent",
  "not-yet": "notYet",
  skipped: "skipped",
};

/**
 * Copies all of L by rule 3, a page at a time. A sid counts as done only when a read says hit, or `d` stands, or the
 * fill was accepted (or L held nothing under the lease); a refused one is repeated, and a sid that was refused to the
 * end is counted as failed, never passed over.
 */
export class Copying {
  readonly counts: { -readonly [K in keyof BackfillCounts]: number };

  constructor(
    readonly deps: CopyingDeps,
    counts: BackfillCounts,
  ) {
    this.counts = { ...counts };
  }

  get done(): number {
    const { copied, hit, dirty, absent, notYet, skipped, failed } = this.counts;
    return copied + hit + dirty + absent + notYet + skipped + failed;
  }

  /** @returns false when `goOn` ended it before the end of the listing. */
  run(
    options: { after: Sid | undefined; force: boolean; pace: Pace },
    hooks: Pick<BatchWork, "goOn" | "pageDone">,
  ): Promise<boolean> {
    const { legacy, patience } = this.deps;
    const { pace, force } = options;
    const pageSize = pageSizeOf(pace);
    const pages = patiently(
      (after) => legacy.list({ pageSize, unverified: true, ...(after !== undefined && { after }) }),
      options.after,
      patience,
    );
    const { carrier } = this.deps;
    const run = (sids: readonly Sid[]) =>
      carrier === undefined ? this.batch(real(sids), force) : this.#carried(carrier, real(sids), force);
    return inBatches(pages, pace, { ...hooks, run });
  }

  async #carried(carrier: Carrier, sids: readonly Sid[], force: boolean): Promise<boolean> {
    try {
      const counts = await carrier.copy(sids, force);
      for (const [name, count] of Object.entries(counts)) this.counts[name as keyof BackfillCounts] += count;
      return true;
    } catch (error) {
      if (this.deps.patience.signal?.aborted) return false;
      throw error;
    }
  }

  /** @returns false when it was broken off between two tries. */
  async batch(sids: readonly Sid[], force: boolean): Promise<boolean> {
    const { copier, patience, clock } = this.deps;
    let left = sids;
    for (let tries = 1; left.length > 0; tries++) {
      const asked = left;
      // A forced copy has dropped what R held by the time it is refused, so its repetition needs no force.
      const outcomes = await patience.attempt(() => copier.copy(asked, { force: force && tries === 1 }));
      left = asked.filter((_, i) => outcomes[i] === "refused");
      for (const outcome of outcomes) if (outcome !== "refused") this.counts[COUNTED[outcome]]++;
      if (left.length === 0) break;
      if (patience.signal?.aborted) return false;
      if (tries === MAX_TRIES) {
        this.counts.failed += left.length;
        break;
      }
      this.counts.refused += left.length;
      await clock.sleep(Math.min(FIRST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE), patience.signal);
    }
    return true;
  }
}
