/**
 * Replies on their way out. They are put together in one block of memory, and leave in one write: a write of its own
 * costs more than copying a few kilobytes. Long values are never copied; they stand between two blocks as they came.
 *
 * One output serves all connections of a door, one after the other: who has written replies takes them at once.
 */
const BLOCK = 64 * 1024;
/** From here on a value is handed on as it is. */
const LONG = 8 * 1024;

export class Output {
  #block = Buffer.allocUnsafeSlow(BLOCK);
  #from = 0;
  #at = 0;
  #pieces: Buffer[] = [];
  #size = 0;

  /** Bytes that wait to be taken. */
  get size(): number {
    return this.#size + this.#at - this.#from;
  }

  /** @param text characters of one byte each. */
  text(text: string): void {
    const length = text.length;
    if (length > this.#block.length - this.#at) this.#room(length);
    this.#at += this.#block.write(text, this.#at, length, "latin1");
  }

  bytes(bytes: Buffer): void {
    if (bytes.length >= LONG) {
      this.#cut();
      this.#pieces.push(bytes);
      this.#size += bytes.length;
      return;
    }
    if (bytes.length > this.#block.length - this.#at) this.#room(bytes.length);
    this.#block.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** The next `length` bytes, at most a few hundred, for the caller to fill: they are at `[0]` from `[1]` on. */
  place(length: number): readonly [Buffer, number] {
    if (length > this.#block.length - this.#at) this.#room(length);
    const at = this.#at;
    this.#at += length;
    return [this.#block, at];
  }

  /** All that was written since the last time. The memory behind it is never written again. */
  take(): readonly Buffer[] {
    this.#cut();
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#size = 0;
    return pieces;
  }

  #cut(): void {
    if (this.#at === this.#from) return;
    this.#pieces.push(this.#block.subarray(this.#from, this.#at));
    this.#size += this.#at - this.#from;
    this.#from = this.#at;
  }

  #room(length: number): void {
    this.#cut();
    this.#block = Buffer.allocUnsafeSlow(Math.max(BLOCK, length));
    this.#from = 0;
    this.#at = 0;
  }
}
