import type { Clock } from "../../src/ports/clock.js";

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

/**
 * A clock for programs whose stores lie in memory: time passes only when nothing else is left to do, and then at once.
 * Hours of waiting cost no time, and nothing depends on how busy the machine is.
 */
export class VirtualClock implements Clock {
  #now: number;
  #sleepers: Sleeper[] = [];
  #pumping = false;

  constructor(start = Date.UTC(2025, 0, 31, 8, 0, 0)) {
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  elapsed(): number {
    return this.#now;
  }

  /** Lets time pass without waking anybody before the next pause of the program. */
  advance(ms: number): void {
    this.#now += ms;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const sleeper: Sleeper = {
        at: this.#now + ms,
        wake: () => {
          signal?.removeEventListener("abort", sleeper.wake);
          this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
          resolve();
        },
      };
      signal?.addEventListener("abort", sleeper.wake);
      this.#sleepers.push(sleeper);
      this.#pump();
    });
  }

  /** Wakes the next sleeper once all promises that can settle have settled. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    setImmediate(() => {
      this.#pumping = false;
      const next = this.#sleepers.reduce<Sleeper | null>((a, b) => (a === null || b.at < a.at ? b : a), null);
      if (next === null) return;
      this.#now = Math.max(this.#now, next.at);
      next.wake();
      if (this.#sleepers.length > 0) this.#pump();
    });
  }
}
