/**
 * Buckets that grow by a tenth, from 0.05 ms to more than a minute: an estimate from them is at most about five percent
 * off, which is finer than any gate asks, and counting costs one logarithm.
 */
const SMALLEST = 0.05;
const GROWTH = Math.log(1.1);
const BUCKETS = 150;

const SLOTS = 12;
const SLOT_MS = 5_000;

/** Latencies of the last minute, in twelve slots of five seconds: what ages leaves five seconds at a time. */
export class RecentLatencies {
  readonly #slots = Array.from({ length: SLOTS }, () => new Uint32Array(BUCKETS));
  /** The number, since the epoch of `now`, of the five seconds that each slot holds. */
  readonly #holds = new Array<number>(SLOTS).fill(Number.NEGATIVE_INFINITY);

  /** `now` is any clock that never goes back, in milliseconds. */
  constructor(readonly now: () => number) {}

  /** @param times how many requests took so long */
  add(milliseconds: number, times = 1): void {
    const tick = Math.floor(this.now() / SLOT_MS);
    const slot = this.#slots[tick % SLOTS]!;
    if (this.#holds[tick % SLOTS] !== tick) {
      slot.fill(0);
      this.#holds[tick % SLOTS] = tick;
    }
    slot[bucketOf(milliseconds)]! += times;
  }

  /** The latency that the share `rank` (0 to 1) of the requests did not exceed; null with fewer requests than asked. */
  quantile(rank: number, atLeast = 1): number | null {
    const oldest = Math.floor(this.now() / SLOT_MS) - SLOTS;
    const slots = this.#slots.filter((_slot, index) => this.#holds[index]! > oldest);
    const counts = new Float64Array(BUCKETS);
    let total = 0;
    for (const slot of slots) {
      for (let bucket = 0; bucket < BUCKETS; bucket++) {
        counts[bucket]! += slot[bucket]!;
        total += slot[bucket]!;
      }
    }
    if (total < atLeast) return null;
    let left = rank * total;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const count = counts[bucket]!;
      if (count > 0 && left <= count) {
        const from = bucket === 0 ? 0 : upperEnd(bucket - 1);
        return from + (upperEnd(bucket) - from) * (left / count);
      }
      left -= count;
    }
    return upperEnd(BUCKETS - 1);
  }
}

function bucketOf(milliseconds: number): number {
  if (!(milliseconds > SMALLEST)) return 0;
  return Math.min(Math.ceil(Math.log(milliseconds / SMALLEST) / GROWTH), BUCKETS - 1);
}

function upperEnd(bucket: number): number {
  return SMALLEST * Math.exp(bucket * GROWTH);
}
