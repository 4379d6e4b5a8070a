/**
 * The shape of PostgreSQL's messages, checked before the driver reads them: a letter, a length that counts itself, a
 * body. Pure: bytes in, whole and sound messages out, however the network cut them.
 *
 * The driver trusts the server. Its parser reads beyond a message that is too short, where it throws in the middle of
 * an event (which ends the process); it looks for ever for the end of an error that has none; and it waits for as many
 * bytes as a length promises. A message that the protocol does not know, or knows otherwise, is the connection's end.
 */
export class MessageViolation extends Error {
  override readonly name = "MessageViolation";
}

/** Bytes of a message: what a row may hold (PostgreSQL's own limit), and all others. */
const LONGEST = { row: 1024 ** 3, other: 1024 ** 2 };
const HEAD = 5;
const NOTHING = Buffer.alloc(0);

export class Messages {
  #chunks: Buffer[] = [];
  #size = 0;
  /** Bytes that must be there before another message can be whole. */
  #needed = HEAD;

  /** The whole messages that these bytes complete, one after the other; empty when there is none. */
  push(chunk: Buffer): Buffer {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size < this.#needed) {
      // The length is looked at as soon as it is there: nobody waits for what will be refused.
      return NOTHING;
    }
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#size);
    let at = 0;
    let needed = HEAD;
    while (bytes.length - at >= HEAD) {
      const type = String.fromCharCode(bytes[at]!);
      const end = at + 1 + lengthOf(type, bytes.readUInt32BE(at + 1));
      if (end > bytes.length) {
        needed = end - at;
        break;
      }
      if (!SHAPES[type]!(new Body(bytes, at + HEAD, end))) throw new MessageViolation("a message of another shape");
      at = end;
    }
    this.#chunks = at === bytes.length ? [] : [bytes.subarray(at)];
    this.#size = bytes.length - at;
    this.#needed = needed;
    return at === bytes.length ? bytes : bytes.subarray(0, at);
  }
}

function lengthOf(type: string, length: number): number {
  if (SHAPES[type] === undefined) throw new MessageViolation("a message of no known kind");
  if (length < 4 || length > (type === "D" ? LONGEST.row : LONGEST.other)) {
    throw new MessageViolation("a message of an impossible length");
  }
  return length;
}

/** Reads a body from its beginning; each step is false, or negative, where the body is too short. */
class Body {
  constructor(
    readonly bytes: Buffer,
    public at: number,
    readonly end: number,
  ) {}

  get left(): number {
    return this.end - this.at;
  }

  skip(count: number): boolean {
    this.at += count;
    return count >= 0 && this.at <= this.end;
  }

  /** -1 where there is none; counts are never negative. */
  count(): number {
    const at = this.at;
    return this.skip(2) ? this.bytes.readInt16BE(at) : -1;
  }

  int(): number | null {
    const at = this.at;
    return this.skip(4) ? this.bytes.readInt32BE(at) : null;
  }

  text(): boolean {
    const zero = this.bytes.indexOf(0, this.at);
    return zero >= 0 && this.skip(zero + 1 - this.at);
  }

  times(count: number, step: () => boolean): boolean {
    for (let i = 0; i < count; i++) if (!step()) return false;
    return count >= 0;
  }
}

type Shape = (body: Body) => boolean;

const empty: Shape = (body) => body.left === 0;
const texts =
  (count: number): Shape =>
  (body) =>
    body.times(count, () => body.text()) && body.left === 0;

/** Fields of an error or a notice: a letter and a text each, up to a zero. */
const report: Shape = (body) => {
  while (body.left > 1) if (body.bytes[body.at] === 0 || !body.skip(1) || !body.text()) return false;
  return body.left === 1 && body.bytes[body.at] === 0;
};

const row: Shape = (body) => {
  const field = () => {
    const length = body.int();
    return length === -1 || (length !== null && body.skip(length));
  };
  return body.times(body.count(), field) && body.left === 0;
};

/** Bytes that each kind of a request for a password holds besides its number; null for some, ended by a zero. */
const AUTHENTICATION: Readonly<Record<number, number | null>> = { 0: 0, 3: 0, 5: 4, 10: null, 11: null, 12: null };

const authentication: Shape = (body) => {
  const kind = body.int();
  const holds = kind === null ? undefined : AUTHENTICATION[kind];
  if (holds === undefined) return false;
  if (holds !== null) return body.left === holds;
  return kind !== 10 || (body.left > 1 && body.bytes[body.end - 1] === 0);
};

/** All that a server may send to a client that neither copies nor listens. */
const SHAPES: Readonly<Record<string, Shape>> = {
  "1": empty,
  "2": empty,
  "3": empty,
  n: empty,
  s: empty,
  I: empty,
  A: (body) => body.skip(4) && texts(2)(body),
  C: texts(1),
  D: row,
  E: report,
  K: (body) => body.left >= 8,
  N: report,
  R: authentication,
  S: texts(2),
  T: (body) => body.times(body.count(), () => body.text() && body.skip(18)) && body.left === 0,
  t: (body) => body.times(body.count(), () => body.skip(4)) && body.left === 0,
  Z: (body) => body.left === 1 && "ITE".includes(String.fromCharCode(body.bytes[body.at]!)),
};
