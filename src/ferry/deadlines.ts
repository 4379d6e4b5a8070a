import { FerryError } from "../errors.js";
import type { Clock } from "../ports/clock.js";

interface Waiting {
  readonly until: number;
  /** Null once the caller was told. */
  reject: ((error: unknown) => void) | null;
}

/** Told once of every request, when its caller is: how many milliseconds it took. */
export type Over = (milliseconds: number, result: "ok" | "error") => void;

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

  /** @param failure what the caller is told instead of the work's own error */
  within<T>(work: Promise<T>, over: Over = () => {}, failure = (error: unknown) => error): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const began = this.clock.elapsed();
      const end = (result: "ok" | "error") => {
        entry.reject = null;
        this.#forget();
        over(this.clock.elapsed() - began, result);
      };
      const fail = (error: unknown) => {
        end("error");
        reject(failure(error));
      };
      const entry: Waiting = { until: began + this.limit, reject: fail };
      this.#queue.push(entry);
      if (!this.#watching) void this.#watch();
      work.then(
        (value) => {
          if (entry.reject === null) return;
          end("ok");
          resolve(value);
        },
        (error: unknown) => entry.reject?.(error),
      );
    });
  }

  /** Those at the front that were answered: who stays in the queue for long is costly for the collector of garbage. */
  #forget(): void {
    while (this.#queue[this.#head]?.reject === null) this.#head++;
    if (this.#head > 1024 && this.#head * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
  }

  async #watch(): Promise<void> {
    this.#watching = true;
    while (this.#head < this.#queue.length) {
      const oldest = this.#queue[this.#head]!;
      const left = oldest.until - this.clock.elapsed();
      if (left > 0) await this.clock.sleep(left);
      else {
        oldest.reject?.(
          new FerryError(
            "DEADLINE",
            `The request was not answered within ${this.limit} ms; a write may still take effect.`,
          ),
        );
      }
    }
    this.#queue = [];
    this.#head = 0;
    this.#watching = false;
  }
}
