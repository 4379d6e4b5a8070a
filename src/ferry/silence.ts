import type { Clock } from "../ports/clock.js";
import type { ControlStore } from "../ports/control-store.js";

/**
 * So long a node must be seen to be overdue, look after look, before it is taken for dead: time for everybody who lives
 * to renew once a control store is back that was away, and that nobody could renew at meanwhile. Milliseconds.
 */
export const GRACE = 2_000;
/** How often somebody who waits for a renewal looks. */
const LOOK = 100;

/**
 * Tells silent nodes from a control store that was away. A renewal is old in either case, so its age alone says
 * nothing: what counts is that the node did not renew while the control store was there, which whoever looks knows only
 * of the time in which its own looks were answered.
 */
export class Silence {
  readonly #since = new Map<string, number>();
  #looked = Number.NEGATIVE_INFINITY;

  constructor(readonly clock: Clock) {}

  /** Those that every look of the last moments has found overdue; to be asked at each look, which may not be rare. */
  proven(overdue: readonly string[]): string[] {
    const now = this.clock.elapsed();
    if (now - this.#looked >= GRACE) this.#since.clear();
    this.#looked = now;
    for (const node of this.#since.keys()) if (!overdue.includes(node)) this.#since.delete(node);
    for (const node of overdue) if (!this.#since.has(node)) this.#since.set(node, now);
    return overdue.filter((node) => now - this.#since.get(node)! >= GRACE);
  }

  /** A look that was not answered. */
  interrupted(): void {
    this.#since.clear();
  }
}

/**
 * Before a node joins: where others are registered and none of them is present, waits for one to renew. Without this a
 * process that starts just when the control store is back would find that the fleet was away (rule 11).
 */
export async function awaitPresence(control: ControlStore, presence: number, clock: Clock): Promise<void> {
  const until = clock.elapsed() + GRACE;
  for (;;) {
    const [nodes, now] = await Promise.all([control.nodes(), control.now()]);
    const fleet = nodes.filter(({ state, role }) => state === "live" && role !== "job");
    const isPresent = fleet.some(({ renewedAt }) => now - renewedAt <= presence);
    if (fleet.length === 0 || isPresent || clock.elapsed() >= until) return;
    await clock.sleep(LOOK);
  }
}
