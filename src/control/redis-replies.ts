/**
 * The shape of Redis' replies (RESP2), checked before the driver reads them. Pure: told of every byte that comes, it
 * keeps none but those of a line, and of an end, that are not whole.
 *
 * The driver trusts the server. It makes room for as many elements as an array promises, hundreds of megabytes for a
 * line of eleven bytes, and a reply that nobody asked for ends the process. Whatever no Redis sends is the connection's
 * end.
 */
export class ReplyViolation extends Error {
  override readonly name = "ReplyViolation";
}

/** Of a line: an error's text may be long, a number is not. */
const LONGEST_LINE = 65_536;
/** What one string may hold, in bytes. */
const LONGEST_TEXT = 512 * 1024 * 1024;
/** Elements of an array; the longest that is asked for has a few thousand. */
const MOST_ELEMENTS = 1_000_000;
const DEEPEST = 8;
const [CR, LF] = [13, 10];

/** A text without a byte, up to its last CR: `0`, CR LF and CR. */
const LAST = 4;

const NOTHING = Buffer.alloc(0);

/** Where in a reply the next byte stands. */
type Inside = "line" | "line's feed" | "text" | "text's return" | "text's feed";

export class Replies {
  #inside: Inside = "line";
  #line = "";
  /** Bytes of a text that are still to come. */
  #left = 0;
  #held = NOTHING;
  /** Elements that are still to come, of the arrays that are open, the outermost first. */
  readonly #open: number[] = [];

  /**
   * The driver takes a reply for whole before its last byte is there (a null by its second one), and then waits for one
   * reply less than is counted here. So the driver is given lines as a whole, and texts with their end.
   *
   * @param waiting how many commands wait for a reply. Throws where these bytes cannot be replies to them.
   * @returns what the driver may read now.
   */
  push(chunk: Buffer, waiting: number): Buffer {
    this.#look(chunk, waiting);
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const unfinished = this.#unfinished;
    if (unfinished === 0) {
      this.#held = NOTHING;
      return bytes;
    }
    const end = Math.max(0, bytes.length - unfinished);
    this.#held = Buffer.from(bytes.subarray(end));
    return bytes.subarray(0, end);
  }

  /** So many bytes, of those that have come, wait for the next. */
  get #unfinished(): number {
    if (this.#inside === "text") return 0;
    if (this.#inside === "line") return this.#line.length;
    return this.#inside === "line's feed" ? this.#line.length + 1 : LAST;
  }

  #look(chunk: Buffer, waiting: number): void {
    let begun = this.#between ? 0 : 1;
    for (let at = 0; at < chunk.length; ) {
      if (this.#between && ++begun > waiting) throw new ReplyViolation("a reply that nobody asked for");
      const whole = this.#inside === "line" && this.#line === "" ? endOfText(chunk, at) : -1;
      if (whole >= 0) this.#end();
      at = whole >= 0 ? whole : this.#step(chunk, at);
    }
  }

  get #between(): boolean {
    return this.#inside === "line" && this.#line === "" && this.#open.length === 0;
  }

  /** Takes bytes from this place on; where it goes on. */
  #step(chunk: Buffer, at: number): number {
    switch (this.#inside) {
      case "line": {
        const end = chunk.indexOf(CR, at);
        this.#line += chunk.toString("latin1", at, end < 0 ? chunk.length : end);
        if (this.#line.length > LONGEST_LINE) throw new ReplyViolation("a line without an end");
        if (end < 0) return chunk.length;
        this.#inside = "line's feed";
        return end + 1;
      }
      case "text": {
        const taken = Math.min(this.#left, chunk.length - at);
        this.#left -= taken;
        if (this.#left === 0) this.#inside = "text's return";
        return at + taken;
      }
      case "text's return":
        this.#expect(chunk[at] === CR);
        this.#inside = "text's feed";
        return at + 1;
      case "line's feed":
        this.#expect(chunk[at] === LF);
        this.#begin();
        return at + 1;
      case "text's feed":
        this.#expect(chunk[at] === LF);
        this.#end();
        return at + 1;
    }
  }

  #expect(holds: boolean): void {
    if (!holds) throw new ReplyViolation("a line or text without its end");
  }

  /** A line has ended: a whole element, or the head of one. */
  #begin(): void {
    const [type, rest] = [this.#line[0], this.#line.slice(1)];
    this.#line = "";
    if (type === ":") this.#expect(/^[+-]?\d{1,19}$/.test(rest));
    if (type === "+" || type === "-" || type === ":") {
      this.#end();
      return;
    }
    if (type !== "$" && type !== "*") throw new ReplyViolation("an element of no known kind");
    const count = /^(-1|\d{1,10})$/.test(rest) ? Number(rest) : Number.NaN;
    if (!(count <= (type === "$" ? LONGEST_TEXT : MOST_ELEMENTS))) throw new ReplyViolation("an impossible length");
    if (count === -1 || (count === 0 && type === "*")) {
      this.#end();
      return;
    }
    if (type === "*") {
      if (this.#open.push(count) > DEEPEST) throw new ReplyViolation("arrays too deep within each other");
      this.#inside = "line";
      return;
    }
    this.#left = count;
    this.#inside = count === 0 ? "text's return" : "text";
  }

  /** An element is whole, and with it, maybe, arrays. */
  #end(): void {
    this.#inside = "line";
    while (this.#open.length > 0) {
      const left = this.#open.pop()! - 1;
      if (left > 0) {
        this.#open.push(left);
        return;
      }
    }
  }
}

const [DOLLAR, MINUS, ZERO, NINE] = [36, 45, 48, 57];

/**
 * Where a text that begins here ends, or "no text" does: -1 where it is neither, or not here as a whole. Nearly all that
 * comes is one of the two, so they are worth a look without a string for each length.
 */
function endOfText(chunk: Buffer, at: number): number {
  if (chunk[at] !== DOLLAR) return -1;
  let digit = at + 1;
  const none = chunk[digit] === MINUS && chunk[digit + 1] === ZERO + 1;
  if (none) digit += 2;
  let length = 0;
  while (!none && digit - at < 10 && chunk[digit]! >= ZERO && chunk[digit]! <= NINE) {
    length = length * 10 + chunk[digit++]! - ZERO;
  }
  if (digit === at + 1 || length > LONGEST_TEXT || chunk[digit] !== CR || chunk[digit + 1] !== LF) return -1;
  if (none) return digit + 2;
  const end = digit + 2 + length;
  return chunk[end] === CR && chunk[end + 1] === LF ? end + 2 : -1;
}
