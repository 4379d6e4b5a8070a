/** Time as the protocol sees it, so that tests can own it. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Milliseconds since some moment of this process, for durations: a clock that is set anew does not change it. */
  elapsed(): number;
  /** Resolves after `ms`; at once when the signal aborts (it never rejects). */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}
