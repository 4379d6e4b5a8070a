/**
 * The words of a line of the text protocol, as places in the buffer that holds it: blanks alone part them, and a zero
 * byte ends the line, since memcached reads it as a string of C. memcached looks at no more than 23 words at once.
 */
const MOST = 23;
const BLANK = 32;

export class Words {
  bytes: Buffer = Buffer.alloc(0);
  /** Of the words found; those of the line's first 23. */
  count = 0;
  /** Where what was not looked at begins, or -1 where nothing is left. */
  rest = -1;
  /** Where the line ends. */
  end = 0;
  readonly #from = new Int32Array(MOST);
  readonly #to = new Int32Array(MOST);

  split(bytes: Buffer, from: number, to: number): void {
    this.bytes = bytes;
    this.rest = -1;
    let count = 0;
    let at = from;
    for (;;) {
      while (at < to && bytes[at] === BLANK) at++;
      if (at >= to || bytes[at] === 0) break;
      if (count === MOST) {
        this.rest = at;
        break;
      }
      const start = at;
      let byte = bytes[at]!;
      while (byte !== BLANK && byte !== 0 && ++at < to) byte = bytes[at]!;
      this.#from[count] = start;
      this.#to[count++] = at;
      if (byte === 0) break;
    }
    // `at` is not beyond a zero byte, which ends the line.
    this.end = this.rest < 0 ? at : to;
    this.count = count;
  }

  from(word: number): number {
    return this.#from[word]!;
  }

  to(word: number): number {
    return this.#to[word]!;
  }

  length(word: number): number {
    return this.#to[word]! - this.#from[word]!;
  }

  /** The word with one character a byte. */
  text(word: number): string {
    return this.bytes.toString("latin1", this.#from[word]!, this.#to[word]!);
  }

  utf8(word: number): string {
    return this.bytes.toString("utf8", this.#from[word]!, this.#to[word]!);
  }

  is(word: number, text: string): boolean {
    return this.length(word) === text.length && this.text(word) === text;
  }

  first(word: number): number {
    return this.bytes[this.#from[word]!]!;
  }
}
