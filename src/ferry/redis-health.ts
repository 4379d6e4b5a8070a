import type { Clock } from "../ports/clock.js";
import type { Observer } from "../ports/observer.js";
import { RedisLost, RedisUnreachable } from "../ports/redis-records.js";

/** So many deadlines missed in a row, and requests that can do without R stop waiting for it. */
const PATIENCE = 3;

export type RedisState = "up" | "down" | "lost";

/**
 * A breaker for the requests that can go on without R (the gap and fallback liberties): after a few missed deadlines
 * they stop asking, until a probe finds R again. It never decides anything about correctness.
 */
export class RedisHealth {
  #state: RedisState = "up";
  #missed = 0;
  /** The last look at all of R found some of it away. */
  #isPartial = false;
  #since: number;

  constructor(
    readonly clock: Clock,
    readonly observer: Observer,
  ) {
    this.#since = clock.elapsed();
  }

  get state(): RedisState {
    return this.#state;
  }

  /** Milliseconds for which R has been away; 0 while it is up. */
  get awayFor(): number {
    return this.#state === "up" ? 0 : this.clock.elapsed() - this.#since;
  }

  /** A request was served. It knows of the server alone that has its session, where R is several. */
  succeeded(): void {
    this.#missed = 0;
    if (!this.#isPartial) this.#become("up");
  }

  /** All of R was looked at: what is wrong, or null. */
  probed(failure: unknown): void {
    this.#isPartial = failure !== null;
    if (failure === null) this.succeeded();
    else this.failed(failure);
  }

  failed(error: unknown): void {
    if (error instanceof RedisLost) this.#become("lost");
    else if (error instanceof RedisUnreachable && error.sent) {
      this.#missed++;
      if (this.#missed >= PATIENCE) this.#become("down");
    } else this.#become("down");
  }

  #become(state: RedisState): void {
    if (state === this.#state) return;
    if (this.#state === "up") this.#since = this.clock.elapsed();
    this.#state = state;
    this.observer.event({ type: "redis", state });
  }
}
