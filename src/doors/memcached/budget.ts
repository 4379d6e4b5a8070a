/** Bytes that all connections of a door keep in memory together: values on their way in, and replies nobody has taken. */
export class Budget {
  #held = 0;
  #waiting: (() => void)[] = [];

  constructor(readonly limit: number) {}

  get held(): number {
    return this.#held;
  }

  /** Whether so much more may be kept. */
  admits(size: number): boolean {
    return this.#held + size <= this.limit;
  }

  change(by: number): void {
    this.#held += by;
    if (by >= 0 || this.#waiting.length === 0 || this.#held > this.limit) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  /** Calls back once there is room again. */
  wait(wake: () => void): void {
    this.#waiting.push(wake);
  }
}
