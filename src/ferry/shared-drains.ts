import type { Sid } from "../core/session.js";

/**
 * `carried` to L by this very drain; `outrun`: so was what R held, which is another thing already; `unmarked`: there was no
 * mark when it was looked at; `left` with its mark, and so is what is `refused`: L never takes it.
 */
export type Drained = "carried" | "outrun" | "unmarked" | "left" | "refused";

/** So many sessions are carried over in one batch of round trips, and so many batches are under way at once. */
const BATCH = 50;
const AT_ONCE = 4;

type Drain = (sids: readonly Sid[]) => Promise<readonly Drained[]>;

interface Wanted {
  readonly outcome: Promise<Drained>;
  /** Whether nobody waits for it any more. */
  isLate: () => boolean;
  readonly resolve: (outcome: Drained) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Drains of single sessions for which requests wait: those that come while others are under way go together, each server
 * of L for itself, since one that hangs must hold up its own sessions only. What one of them makes fail fails for that one
 * alone.
 */
export class SharedDrains {
  readonly #lanes = new Map<object | null, Lane>();
  /** Servers of L that failed, and until when (by the monotonic clock) drains for which nobody waits let them be. */
  readonly away = new Map<object | null, number>();

  /**
   * The outcome of a drain that begins after this call; `left` where it is late before its turn comes.
   *
   * @param server of L that has it; null where there is but one
   */
  join(sid: Sid, server: object | null, drain: Drain, isLate: () => boolean): Promise<Drained> {
    let lane = this.#lanes.get(server);
    if (lane === undefined) {
      lane = new Lane();
      this.#lanes.set(server, lane);
    }
    return lane.join(sid, drain, isLate);
  }
}

class Lane {
  readonly #wanted = new Map<Sid, Wanted>();
  #running = 0;

  join(sid: Sid, drain: Drain, isLate: () => boolean): Promise<Drained> {
    const shared = this.#wanted.get(sid);
    if (shared !== undefined) {
      // Who comes last waits longest.
      shared.isLate = isLate;
      return shared.outcome;
    }
    let ends!: Pick<Wanted, "resolve" | "reject">;
    const outcome = new Promise<Drained>((resolve, reject) => {
      ends = { resolve, reject };
    });
    this.#wanted.set(sid, { outcome, isLate, ...ends });
    if (this.#running < AT_ONCE) void this.#run(drain);
    return outcome;
  }

  async #run(drain: Drain): Promise<void> {
    this.#running++;
    while (this.#wanted.size > 0) {
      const batch = [...this.#wanted].slice(0, BATCH);
      for (const [sid] of batch) this.#wanted.delete(sid);
      await this.#together(drain, batch);
    }
    this.#running--;
  }

  async #together(drain: Drain, batch: readonly (readonly [Sid, Wanted])[]): Promise<void> {
    const timely = batch.filter(([, wanted]) => !wanted.isLate());
    for (const [, wanted] of batch) if (wanted.isLate()) wanted.resolve("left");
    if (timely.length === 0) return;
    try {
      const outcomes = await drain(timely.map(([sid]) => sid));
      timely.forEach(([, { resolve }], i) => {
        resolve(outcomes[i]!);
      });
    } catch (error) {
      if (timely.length === 1) timely[0]![1].reject(error);
      else await Promise.all(timely.map((one) => this.#together(drain, [one])));
    }
  }
}
