import { bucketOf } from "../core/cohort.js";
import { type Phases, type Placement, placementOf, publishedRung } from "../core/phase.js";
import type { Sid } from "../core/session.js";
import { segments } from "../core/transition.js";
import { FerryError } from "../errors.js";
import type { ControlRecord } from "../ports/control-store.js";

interface Era {
  readonly revision: number;
  inFlight: number;
}

/** One operation under way: the routes it was begun with, and the duty to say when it is over. */
export interface Operation {
  readonly placement: Placement;
  /** Called exactly once, when nothing of the operation can reach a store any more. */
  end(): void;
}

/** Made for every request: a class, since closures cost more. */
class Begun implements Operation {
  constructor(
    readonly placement: Placement,
    private readonly era: Era,
  ) {}

  end(): void {
    this.era.inFlight--;
  }
}

/**
 * The routes a node follows, and the operations it began under each revision of them. An operation takes its routes
 * and is counted in one synchronous step, so `acknowledged` can promise what rule 8 needs of a barrier: that every
 * operation begun under earlier routes has ended, in both stores.
 */
export class Routing {
  #record: ControlRecord;
  /** Where all sids stand; null where that depends on the bucket. */
  #everywhere: Placement | null;
  #eras: Era[];
  #waiting = new Set<() => void>();

  constructor(
    readonly phases: Phases,
    record: ControlRecord,
  ) {
    requireKnown(phases, record);
    this.#record = record;
    this.#everywhere = placementOfAll(phases, record);
    this.#eras = [{ revision: record.revision, inFlight: 0 }];
  }

  get record(): ControlRecord {
    return this.#record;
  }

  /**
   * Takes a newer record; false when it is the one already followed. A lower revision is refused (rule 11), and so is a
   * record whose routes this release does not know: the node keeps those it has, and acknowledges nothing.
   */
  follow(record: ControlRecord): boolean {
    const current = this.#record.revision;
    if (record.revision < current) {
      throw new FerryError(
        "REVISION_WENT_BACK",
        `The control record went back from revision ${current} to ${record.revision}.`,
      );
    }
    if (record.revision === current) {
      if (record.generation === this.#record.generation && record.pending?.rung === this.#record.pending?.rung)
        return false;
      throw new FerryError("REVISION_WENT_BACK", `The control record has another content under revision ${current}.`);
    }
    requireKnown(this.phases, record);
    this.#record = record;
    this.#everywhere = placementOfAll(this.phases, record);
    this.#eras.push({ revision: record.revision, inFlight: 0 });
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const wake of waiting) wake();
    return true;
  }

  /**
   * Resolves when a newer record was taken, or who waits has enough: weeks may pass between two records, and nothing of
   * him must stay behind until then.
   */
  changed(enough: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.add(resolve);
      const leave = () => {
        this.#waiting.delete(resolve);
        resolve();
      };
      enough.addEventListener("abort", leave, { once: true });
    });
  }

  /** How many wait for a newer record. */
  get waiting(): number {
    return this.#waiting.size;
  }

  placement(sid: Sid): Placement {
    return this.#everywhere ?? placementOf(this.phases, this.#record, bucketOf(sid));
  }

  begin(sid: Sid): Operation {
    const placement = this.placement(sid);
    const era = this.#eras.at(-1)!;
    era.inFlight++;
    return new Begun(placement, era);
  }

  /** Counts an operation that looks up placements itself (a batch); the returned function ends it. */
  enter(): () => void {
    const era = this.#eras.at(-1)!;
    era.inFlight++;
    return () => {
      era.inFlight--;
    };
  }

  /** The newest revision before whose routes no operation is left in flight. */
  drainedRevision(): number {
    while (this.#eras.length > 1 && this.#eras[0]!.inFlight === 0) this.#eras.shift();
    return this.#eras[0]!.revision;
  }

  get inFlight(): number {
    return this.#eras.reduce((sum, era) => sum + era.inFlight, 0);
  }
}

/** The placement that all buckets have in common; null where they differ, as in a ramp. */
function placementOfAll(phases: Phases, record: ControlRecord): Placement | null {
  const [first, second] = segments(record, phases);
  return second === undefined ? first!.placement : null;
}

/** What cannot be followed is refused before any request meets it. */
function requireKnown(phases: Phases, { pending }: ControlRecord): void {
  if (pending !== null) publishedRung(phases, pending);
}
