/**
 * Bytes that all connections of a door keep in memory together: values on their way in, and replies nobody has taken.
 *
 * While there is no room left nobody begins to work who would need more. But somebody always works: what waits is freed
 * by nothing else.
 */
export class Budget {
  #held = 0;
  #working = 0;
  #isWaking = false;
  #isCalling = false;
  readonly #waiting: (() => void)[] = [];

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
    if (by < 0) this.#wake();
  }

  /** True: whoever asks works from now on. False: he is called once he may ask again; nobody overtakes him. */
  begin(wake: () => void): boolean {
    const isOvertaking = this.#waiting.length > 0 && !this.#isCalling;
    if (isOvertaking || !this.#mayBegin()) {
      this.#waiting.push(wake);
      return false;
    }
    this.#working++;
    return true;
  }

  end(): void {
    this.#working--;
    this.#wake();
  }

  #mayBegin(): boolean {
    return this.admits(0) || this.#working === 0;
  }

  /**
   * One after the other, since each may take the room; one that is gone meanwhile takes none. Not before whoever made the
   * room has come to an end with what he does: answers that he has written and not sent yet lie where all write theirs.
   */
  #wake(): void {
    if (this.#isWaking || this.#waiting.length === 0) return;
    this.#isWaking = true;
    queueMicrotask(() => {
      this.#isWaking = false;
      while (this.#waiting.length > 0 && this.#mayBegin()) {
        this.#isCalling = true;
        this.#waiting.shift()!();
        this.#isCalling = false;
      }
    });
  }
}
