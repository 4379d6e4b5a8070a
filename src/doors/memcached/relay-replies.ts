/**
 * Where memcached's replies end, without a look at what they say: a relay carries their bytes as they are, and must
 * know which commands have been answered.
 */

/** None; one line; values up to END, or the line of an error; a line that is ours alone. */
export const REPLY = { none: 0, line: 1, values: 2, mark: 3 } as const;
export type ReplyKind = (typeof REPLY)[keyof typeof REPLY];

const FEED = 10;
const BLANK = 32;
const ZERO = 48;
const E = 69;
const S = 83;
const V = 86;
/** `VALUE`, key, flags, length and CAS number. */
const LONGEST_LINE = 2048;

export class RelayReplies {
  #expected: ReplyKind[] = [];
  #head = 0;
  /** Bytes of a value that are still to come. */
  #skip = 0;
  #line: Buffer | null = null;
  /** Replies that have been seen whole, since the beginning. */
  answered = 0;
  /** Of these, those that tell of a failure of the server. */
  failed = 0;

  expect(kind: ReplyKind): void {
    this.#expected.push(kind);
  }

  get waiting(): number {
    return this.#expected.length - this.#head;
  }

  /** Whether a part of a reply has been handed on. */
  get within(): boolean {
    return this.#skip > 0 || this.#line !== null || this.#open;
  }
  #open = false;

  /** What is left, for the end of a connection. */
  abandon(): readonly ReplyKind[] {
    const left = this.#expected.slice(this.#head);
    this.#expected = [];
    this.#head = 0;
    return left;
  }

  /** Hands on what is the client's. False: this is no reply to what was asked. */
  take(chunk: Buffer, handOn: (bytes: Buffer) => void): boolean {
    let from = 0;
    let at = 0;
    while (at < chunk.length) {
      if (this.#skip > 0) {
        const share = Math.min(this.#skip, chunk.length - at);
        at += share;
        this.#skip -= share;
        continue;
      }
      // Most lines are so short that asking the buffer costs more than looking at each byte.
      let feed = at;
      while (feed < chunk.length && chunk[feed] !== FEED) feed++;
      if (feed === chunk.length) {
        const piece = chunk.subarray(at);
        this.#line = this.#line === null ? Buffer.from(piece) : Buffer.concat([this.#line, piece]);
        if (this.#line.length > LONGEST_LINE) return false;
        // A line is handed on with the rest of it: it may be ours alone.
        if (at > from) handOn(chunk.subarray(from, at));
        return true;
      }
      const kind = this.#expected[this.#head];
      if (kind === undefined) return false;
      const cut = this.#line;
      this.#line = null;
      const line = cut === null ? chunk : Buffer.concat([cut, chunk.subarray(at, feed + 1)]);
      const begins = cut === null ? at : 0;
      const ends = cut === null ? feed : line.length - 1;
      if (kind === REPLY.mark) {
        if (at > from) handOn(chunk.subarray(from, at));
        from = feed + 1;
      } else if (cut !== null) handOn(cut);
      at = feed + 1;
      this.#judge(kind, line, begins, ends);
    }
    if (at > from) handOn(from === 0 ? chunk : chunk.subarray(from, at));
    return true;
  }

  #judge(kind: ReplyKind, line: Buffer, from: number, to: number): void {
    if (kind !== REPLY.values || line[from] !== V) {
      // SERVER_ERROR, as no other reply begins.
      if (line[from] === S && line[from + 1] === E) this.failed++;
      this.#next();
      return;
    }
    // The length is the fourth word.
    let word = 3;
    let at = from;
    while (word > 0 && at < to) if (line[at++] === BLANK) word--;
    let length = 0;
    for (; at < to && line[at]! >= ZERO && line[at]! <= ZERO + 9; at++) length = length * 10 + line[at]! - ZERO;
    this.#skip = length + 2;
    this.#open = true;
  }

  #next(): void {
    this.#open = false;
    this.answered++;
    if (++this.#head < 1024) return;
    this.#expected = this.#expected.slice(this.#head);
    this.#head = 0;
  }
}
