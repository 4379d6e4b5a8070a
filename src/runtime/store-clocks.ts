import { type LegacyStore, LegacyUnreachable } from "../ports/legacy-store.js";
import { type RedisRecords, RedisUnreachable } from "../ports/redis-records.js";
import { within } from "../stores/deadline.js";
import { ClockLead, onOwnClock, type Unknown } from "../stores/own-clock.js";

/** Milliseconds: between two looks at a clock that is known sharply, and at one that is not. */
const LOOK = 30_000;
const LOOK_AGAIN = 1_000;
/** A node neither starts nor stops later than this for the sake of a clock. */
const PATIENCE = 1_000;

/** Nobody can go on without L: its own deadline ends a look. Where the site can do without R, a call is soon over. */
const LEGACY_UNKNOWN: Unknown = {
  patience: Number.MAX_SAFE_INTEGER,
  error: () => new LegacyUnreachable("The legacy store does not tell its clock."),
};
const REDIS_UNKNOWN: Unknown = {
  patience: 250,
  error: () => new RedisUnreachable("Redis does not tell its clock.", false),
};

/**
 * The stores of one node by its own clock, which may be minutes off (own-clock.ts). memcached needs none of it: its
 * lives are spans, counted from now.
 */
export class StoreClocks {
  readonly #leads: ClockLead[] = [];

  legacy(store: LegacyStore): LegacyStore {
    return store.kind === "memcached" ? store : this.#on(store, () => store.now(), LEGACY_UNKNOWN);
  }

  redis(records: RedisRecords): RedisRecords {
    return this.#on(records, async () => (await records.facts()).now, REDIS_UNKNOWN);
  }

  /** Milliseconds until the next look is due. */
  get pause(): number {
    return this.#leads.every(({ sharp }) => sharp) ? LOOK : LOOK_AGAIN;
  }

  /** Looks at every clock. A store that does not answer is looked at again later; it never rejects. */
  async look(): Promise<void> {
    await within(Promise.allSettled(this.#leads.map((lead) => lead.look())), PATIENCE);
  }

  #on<T extends object>(store: T, ask: () => Promise<number>, unknown: Unknown): T {
    const lead = new ClockLead(ask);
    this.#leads.push(lead);
    return onOwnClock(store, lead, unknown);
  }
}
