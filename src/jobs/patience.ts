import { EXIT, FerryError } from "../errors.js";
import { asFerryError } from "../ferry/failures.js";
import type { Clock } from "../ports/clock.js";
import { ControlUnreachable } from "../ports/control-store.js";
import { LegacyUnreachable } from "../ports/legacy-store.js";
import { RedisUnreachable } from "../ports/redis-records.js";

export const DEFAULT_PATIENCE = 60_000;
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 5_000;

/**
 * Waits for a store that goes away in the middle of a job. A failure that may pass is endured with growing pauses
 * until it has lasted for `limit` milliseconds; then, and at once for any other failure, the job ends with an error of
 * the catalogue. Everything that jobs repeat is harmless to repeat: looks, copies by rule 3, documents.
 */
export class Patience {
  constructor(
    readonly clock: Clock,
    readonly limit: number,
    readonly signal?: AbortSignal,
  ) {}

  async attempt<T>(work: () => Promise<T>): Promise<T> {
    const strain = this.strain();
    for (;;) {
      try {
        return await work();
      } catch (error) {
        await strain.endure(error);
      }
    }
  }

  /** For work that is not one call: `endure` after each failure, `relieve` after each success. */
  strain(): Strain {
    return new Strain(this);
  }
}

export class Strain {
  #since: number | null = null;
  #pause = FIRST_PAUSE;

  constructor(readonly patience: Patience) {}

  relieve(): void {
    this.#since = null;
    this.#pause = FIRST_PAUSE;
  }

  /** Resolves when it is worth trying again; rejects with an error of the catalogue when it is not. */
  async endure(error: unknown): Promise<void> {
    const { clock, limit, signal } = this.patience;
    this.#since ??= clock.elapsed();
    if (!mayPass(error) || signal?.aborted || clock.elapsed() - this.#since >= limit) throw asCatalogued(error);
    await clock.sleep(this.#pause, signal);
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
  }
}

function mayPass(error: unknown): boolean {
  if (error instanceof FerryError) return error.exit === EXIT.unreachable && error.retryable;
  return error instanceof RedisUnreachable || error instanceof LegacyUnreachable || error instanceof ControlUnreachable;
}

/** For a job it does not matter whether the command went out: everything it does may be repeated. */
export function asCatalogued(error: unknown): unknown {
  if (error instanceof RedisUnreachable) {
    return new FerryError("REDIS_UNREACHABLE", "Redis cannot be reached.", { cause: error });
  }
  return asFerryError(error);
}
