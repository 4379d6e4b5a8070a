import { FerryError } from "../errors.js";
import type { Clock } from "../ports/clock.js";

interface Waiting {
  readonly until: number;
  reject: ((error: FerryError) => void) | null;
}

/**
 * One deadline for every request. All last equally long, so they run out in the order in which they began: one timer
 * watches the oldest, and a request costs an entry in a queue. A request that ran out goes on behind the caller's
 * back until its bookkeeping is done: its intent must be closed whenever its outcome becomes known.
 */
export class Deadlines {
  #queue: Waiting[] = [];
  #head = 0;
  #watching = false;

  constructor(
    readonly clock: Clock,
    /** Milliseconds. */
    readonly limit: number,
  ) {}

  within<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const entry: Waiting = { until: this.clock.elapsed() + this.limit, reject };
      this.#queue.push(entry);
      if (!this.#watching) void this.#watch();
      const settle = () => {
        entry.reject = null;
      };
      work.then(
        (value) => {
          settle();
          resolve(value);
        },
        (error) => {
          settle();
          reject(error);
        },
      );
    });
  }

  async #watch(): Promise<void> {
    this.#watching = true;
    while (this.#head < this.#queue.length) {
      const oldest = this.#queue[this.#head]!;
      const left = oldest.until - this.clock.elapsed();
      if (oldest.reject !== null && left > 0) {
        await this.clock.sleep(left);
        continue;
      }
      this.#head++;
      oldest.reject?.(
        new FerryError(
          "DEADLINE",
          `The request was not answered within ${this.limit} ms; a write may still take effect.`,
        ),
      );
      if (this.#head > 1024 && this.#head * 2 > this.#queue.length) {
        this.#queue = this.#queue.slice(this.#head);
        this.#head = 0;
      }
    }
    this.#queue = [];
    this.#head = 0;
    this.#watching = false;
  }
}
