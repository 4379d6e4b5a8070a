/**
 * Pieces of work between one process that hands them out and any number that do them. A piece is done at least once; of
 * the answers to one piece only one is taken. What is in a piece or an answer lies where people may read it: no session
 * id stands in it unsealed.
 */

export interface WorkQueue {
  /**
   * Hands one piece out and resolves with its answer, however often it had to be tried. Rejects with what its last
   * attempt failed of, or when the signal aborts.
   */
  submit(piece: object, signal?: AbortSignal): Promise<unknown>;
  /**
   * How many workers are there, as far as the store tells; null where it does not.
   * @throws FerryError REDIS_UNREACHABLE while the store is away: pieces wait as long
   */
  workers(): Promise<number | null>;
  /** Takes back what is still waiting to be done, where the store answers soon. */
  close(): Promise<void>;
}

/**
 * Does one piece. Its rejection has it tried again, by whichever worker is free; a `FerryError` that is not retryable
 * ends it.
 */
export type Perform = (piece: unknown) => Promise<object>;

export interface WorkTaker {
  /** Takes nothing new and resolves when what is under way has ended. */
  close(): Promise<void>;
}

/** The engine of both sides; it connects with the first of them. */
export interface WorkEngine {
  /** @throws FerryError USAGE (it is not installed), REDIS_UNREACHABLE, EVICTION_POLICY */
  openQueue(): Promise<WorkQueue>;
  /** @throws FerryError as `openQueue` */
  take(perform: Perform, concurrency: number, onError: (error: Error) => void): Promise<WorkTaker>;
}
