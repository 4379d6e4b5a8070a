import type { BackfillCheckpoint } from "../core/backfill-state.js";
import { notedDirty } from "../ferry/drainer.js";
import { backfillStatus, doneOf } from "../jobs/backfill-desk.js";
import { findCheck } from "../jobs/check-archive.js";
import type { FleetFacts } from "../observe/index.js";
import type { ControlStore } from "../ports/control-store.js";
import type { RedisRecords } from "../ports/redis-records.js";
import { LATE, within } from "../stores/deadline.js";

export interface FactSources {
  readonly id: string;
  readonly control: ControlStore;
  readonly records: Pick<RedisRecords, "dirtyState" | "listIntents">;
}

/** Milliseconds: several scrapers cost one question. */
const FRESH = 2_000;
/** A store that does not answer in this time is left out of this scrape. */
const PATIENCE = 1_500;
/** Open intents are counted by a walk over Redis' keys, so the fleet does it once in this time. */
const WALK_EVERY = 60_000;

/** What no process of a fleet knows by itself, for `/metrics`. A part that cannot be found out is left out. */
export class FleetFactsCache {
  #facts: Promise<FleetFacts> | null = null;
  #askedAt = Number.NEGATIVE_INFINITY;
  #walkedAt = Number.NEGATIVE_INFINITY;
  #openIntents: number | undefined;

  constructor(
    /** Null while this process is no node: after `complete`, or between an eviction and the next joining. */
    readonly sources: () => FactSources | null,
    readonly now: () => number = () => performance.now(),
  ) {}

  get(): Promise<FleetFacts> {
    if (this.#facts === null || this.now() - this.#askedAt > FRESH) {
      this.#askedAt = this.now();
      this.#facts = this.#ask();
    }
    return this.#facts;
  }

  async #ask(): Promise<FleetFacts> {
    const sources = this.sources();
    if (sources === null) return {};
    const { control, records } = sources;
    this.#walk(sources);
    const [nodes, dirty, note, backfill, check] = await Promise.all([
      known(control.nodes()),
      known(records.dirtyState({ roughly: true })),
      known(notedDirty(control)),
      known(backfillStatus(control)),
      known(findCheck(control)),
    ]);
    return {
      ...(nodes && { nodes }),
      ...(dirty && { dirty }),
      ...(dirty?.count && note?.refused && { refused: note.refused }),
      ...(backfill?.checkpoint && { backfill: progressOf(backfill.checkpoint) }),
      ...(check && { check: { counts: check.counts, endedAt: check.endedAt } }),
      ...(this.#openIntents !== undefined && { openIntents: this.#openIntents }),
    };
  }

  /** Goes on while the scrape is answered: its count is in the next one. */
  #walk({ id, control, records }: FactSources): void {
    if (this.now() - this.#walkedAt < WALK_EVERY) return;
    this.#walkedAt = this.now();
    const walk = async (): Promise<number | undefined> => {
      // Whoever holds the lock counts; the others leave the figure to it.
      if (!(await control.lock("metrics", id, WALK_EVERY * 1.5))) return undefined;
      let count = 0;
      for await (const page of records.listIntents({ pageSize: 1000 }))
        for (const { intents } of page) count += intents.length;
      return count;
    };
    void walk().then(
      (count) => {
        this.#openIntents = count;
      },
      () => {
        this.#openIntents = undefined;
      },
    );
  }
}

function progressOf({ counts, total, rate }: BackfillCheckpoint): NonNullable<FleetFacts["backfill"]> {
  return { done: doneOf(counts), total, rate };
}

async function known<T>(answer: Promise<T>): Promise<T | null> {
  const told = await within(answer, PATIENCE).catch(() => LATE);
  return told === LATE ? null : (told as T);
}
