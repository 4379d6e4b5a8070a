/**
 * The bytes of one value on their way in. A value that lies whole in what came is a view of it; one that was cut is
 * put together in memory of its own, once. One that is not wanted is counted and dropped.
 */
export class Intake {
  #missing = 0;
  #into: Buffer | null = null;
  #filled = 0;
  #keep = false;
  /** Set by `feed` when the last byte was there; null for what was dropped. */
  value: Buffer | null = null;

  /** Whether bytes are waited for. */
  get open(): boolean {
    return this.#missing > 0;
  }

  get held(): number {
    return this.#into?.length ?? 0;
  }

  /** @param length at least 1. */
  begin(length: number, keep: boolean): void {
    this.#missing = length;
    this.#keep = keep;
    this.#filled = 0;
    this.value = null;
  }

  /** Takes its share of the chunk; returns where the rest begins. */
  feed(chunk: Buffer, from: number): number {
    const share = Math.min(this.#missing, chunk.length - from);
    const to = from + share;
    if (this.#keep) {
      if (this.#into !== null) {
        chunk.copy(this.#into, this.#filled, from, to);
        this.#filled += share;
      } else if (share === this.#missing) {
        this.value = chunk.subarray(from, to);
      } else {
        this.#into = Buffer.allocUnsafeSlow(this.#missing);
        chunk.copy(this.#into, 0, from, to);
        this.#filled = share;
      }
    }
    this.#missing -= share;
    if (this.#missing === 0 && this.#into !== null) {
      this.value = this.#into;
      this.#into = null;
    }
    return to;
  }
}
