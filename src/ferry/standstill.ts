import type { PhaseName } from "../core/phase.js";
import type { ControlRecord } from "../ports/control-store.js";

/** Milliseconds; a placeholder lives for ten seconds, by memcached's whole ones. */
const PLACEHOLDERS_GONE = 12_000;

/**
 * Whether no key of L can hold a placeholder of rule 4. Only drains put them there, and what gives back to L in
 * read-through: so none comes while the whole position is one of the phases below, settled, and none is left once this
 * has been so for as long as one lives. The first barrier of the way up waits for whatever was begun under such a
 * record, so who acts on it is done before the next placeholder comes.
 */
export class Standstill {
  #revision = -1;
  #since = 0;

  /** @param now a clock that never goes back, in milliseconds */
  constructor(
    private readonly phases: readonly PhaseName[],
    private readonly now: () => number,
    private readonly patience = PLACEHOLDERS_GONE,
  ) {}

  /** Time counts from when this is first asked of a record. */
  holds({ position, pending, revision }: ControlRecord): boolean {
    if (pending !== null || !this.phases.includes(position.phase)) return false;
    const now = this.now();
    // Of another revision nobody knows what lay between it and the last one that was looked at.
    if (revision !== this.#revision) {
      this.#revision = revision;
      this.#since = now;
    }
    return now - this.#since >= this.patience;
  }
}
