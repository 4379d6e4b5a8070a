import type { Clock } from "../ports/clock.js";
import type { ControlStore } from "../ports/control-store.js";

/** Milliseconds between two counts of those who share the rate. */
const COUNT_EVERY = 2_000;

/**
 * `drain.rate` holds for all processes together: each takes an equal share of it. What is left of a share below one
 * change is kept for the next drain, so that many processes with little each do not take more between them.
 */
export class DrainRate {
  #sharers = 1;
  #countedAt = Number.NEGATIVE_INFINITY;
  #left = 0;

  constructor(
    private readonly control: Pick<ControlStore, "nodes">,
    private readonly clock: Clock,
    /** Changes a second at most, 0 for no limit; drains follow each other after `every` milliseconds. */
    private readonly drain: { readonly every: number; readonly rate: number },
  ) {}

  /** How many changes this process may drain now. */
  async next(): Promise<number> {
    const { every, rate } = this.drain;
    if (rate === 0) return Number.POSITIVE_INFINITY;
    await this.#count();
    const due = this.#left + (rate * every) / 1000 / this.#sharers;
    const whole = Math.floor(due);
    this.#left = due - whole;
    return whole;
  }

  /** While the control store is away, those who were there last share it. */
  async #count(): Promise<void> {
    const now = this.clock.elapsed();
    if (now - this.#countedAt < COUNT_EVERY) return;
    this.#countedAt = now;
    const nodes = await this.control.nodes().catch(() => null);
    if (nodes !== null) this.#sharers = Math.max(1, nodes.filter(({ state }) => state === "live").length);
  }
}
