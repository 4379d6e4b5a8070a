import type { Clock } from "../ports/clock.js";

/** A sleeper looks up this often, in milliseconds, so that a new rate takes hold soon. */
const SLICE = 250;

/** A smooth limit of so many sids a second: each grant moves the moment of the next one, so there are no bursts. */
export class Throttle {
  #rate: number;
  /** Sids granted beyond what the rate has allowed so far, at the moment `#at`. */
  #debt = 0;
  #at: number;

  /** @param rate sids a second; 0 for no limit. */
  constructor(
    rate: number,
    readonly clock: Clock,
  ) {
    this.#rate = rate;
    this.#at = clock.elapsed();
  }

  get rate(): number {
    return this.#rate;
  }

  setRate(rate: number): void {
    this.#pay();
    this.#rate = rate;
    if (rate === 0) this.#debt = 0;
  }

  /** So many sids at once keep the limit smooth: a quarter of a second's worth, at most `batch`. */
  batchSize(batch: number): number {
    return this.#rate === 0 ? batch : Math.max(1, Math.min(batch, Math.ceil(this.#rate / 4)));
  }

  /** Resolves when `count` more sids may go; at once when the signal aborts. */
  async take(count: number, signal?: AbortSignal): Promise<void> {
    for (;;) {
      this.#pay();
      if (this.#debt <= 0 || this.#rate === 0 || signal?.aborted) {
        if (this.#rate > 0) this.#debt += count;
        return;
      }
      await this.clock.sleep(Math.min(SLICE, (this.#debt / this.#rate) * 1000), signal);
    }
  }

  /** Time passed pays debts off; it never saves anything up. */
  #pay(): void {
    const now = this.clock.elapsed();
    this.#debt = Math.max(0, this.#debt - ((now - this.#at) / 1000) * this.#rate);
    this.#at = now;
  }
}
