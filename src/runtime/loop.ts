/** Runs a task again and again, one run at a time, with a pause that the task's owner chooses anew after each. */
export class Loop {
  #timer: NodeJS.Timeout | null = null;
  #running: Promise<void> | null = null;
  #stopped = false;

  constructor(
    readonly task: () => Promise<void>,
    /** Milliseconds until the next run. */
    readonly pause: () => number,
    readonly onError: (error: unknown) => void,
  ) {}

  start(): this {
    this.#schedule();
    return this;
  }

  /** Resolves when a run under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#running;
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#running = this.task()
        .catch(this.onError)
        .finally(() => {
          this.#running = null;
          this.#schedule();
        });
    }, this.pause());
  }
}
