/** Calls that wait for something to change, each no longer than it may. They look again themselves whether it did. */
export class Waiters {
  readonly #waiting = new Set<() => void>();

  /** Resolves when woken, or after so many milliseconds. */
  wait(most: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, most);
      this.#waiting.add(done);
    });
  }

  wake(): void {
    for (const done of [...this.#waiting]) done();
  }

  /** Wakes the one that has waited longest. */
  wakeOne(): void {
    const [first] = this.#waiting;
    first?.();
  }
}
