import { fits, LONGEST_KEY } from "./commands.js";
import { REPLY, type ReplyKind } from "./relay-replies.js";

/**
 * Where the plain commands of the text protocol end and how memcached replies to each: all that a relay must know of
 * them.
 *
 * Known here is only the form in which clients send them: one blank between words, numbers of digits alone and short
 * enough for their fields, and the whole command in one piece. Nothing is refused: whatever looks otherwise is left to
 * the parser, which knows every form and every error. What is found here, the parser would find too, with the same end
 * and the same reply; it only would make objects of it, which costs more than carrying the bytes.
 */
const FEED = 10;
const RETURN = 13;
const BLANK = 32;
const ZERO = 48;
const NINE = 57;
const A = 97;
const Z = 122;
/** The longest command's name. */
const LONGEST_NAME = 7;
const NOREPLY = Buffer.from(" noreply\r\n");

/** What stands after the name: keys alone, or a key, numbers of so many digits at most, and perhaps a block. */
interface Form {
  readonly keys: boolean;
  readonly numbers: readonly number[];
  readonly block: boolean;
  /** Whether memcached's CAS number is in the reply. */
  readonly token: boolean;
}

/** Flags, time and length fit their 32 bits with nine digits, what is of 64 bits with eighteen. */
const STORING: Form = { keys: false, numbers: [9, 9, 9], block: true, token: false };
const COUNTING: Form = { keys: false, numbers: [18], block: false, token: false };
const FORMS = new Map<number, Form>(
  Object.entries({
    get: { keys: true, numbers: [], block: false, token: false },
    gets: { keys: true, numbers: [], block: false, token: true },
    set: STORING,
    add: STORING,
    replace: STORING,
    append: STORING,
    prepend: STORING,
    cas: { ...STORING, numbers: [9, 9, 9, 18] },
    incr: COUNTING,
    decr: COUNTING,
    touch: { ...COUNTING, numbers: [9] },
    delete: { ...COUNTING, numbers: [] },
  } satisfies Record<string, Form>).map(([name, form]) => [numberOf(name), form]),
);

/** A name of small letters as a number, of which no other name has the same. */
function numberOf(name: string): number {
  let number = 0;
  for (let n = 0; n < name.length; n++) number = number * 27 + name.charCodeAt(n) - A + 1;
  return number;
}

export class RelayCommands {
  /** To the command that `end` found. */
  reply: ReplyKind = REPLY.none;

  /**
   * @param itemSize bytes of the longest item that may be stored
   * @param tokens whether CAS numbers are given out
   */
  constructor(
    private readonly itemSize: number,
    private readonly tokens: boolean,
  ) {}

  /** Where the command that begins here ends; -1 where that is for the parser to say. */
  end(chunk: Buffer, from: number): number {
    const { length } = chunk;
    let at = from;
    let name = 0;
    for (; ; at++) {
      if (at === length) return -1;
      const byte = chunk[at]!;
      if (byte === BLANK) break;
      if (byte < A || byte > Z || at - from === LONGEST_NAME) return -1;
      name = name * 27 + byte - A + 1;
    }
    const form = FORMS.get(name);
    if (form === undefined || (form.token && !this.tokens)) return -1;
    return form.keys ? this.#keys(chunk, at + 1) : this.#fields(chunk, at + 1, form);
  }

  #keys(chunk: Buffer, from: number): number {
    const { length } = chunk;
    let key = from;
    for (let at = from; at < length; at++) {
      const byte = chunk[at]!;
      if (byte > BLANK) continue;
      if (at === key || at - key > LONGEST_KEY) return -1;
      if (byte === BLANK) key = at + 1;
      else {
        if (byte !== RETURN || chunk[at + 1] !== FEED) return -1;
        this.reply = REPLY.values;
        return at + 2;
      }
    }
    return -1;
  }

  #fields(chunk: Buffer, from: number, { numbers, block }: Form): number {
    const { length } = chunk;
    let at = from;
    while (at < length && chunk[at]! > BLANK) at++;
    const key = at - from;
    if (key === 0 || key > LONGEST_KEY) return -1;
    let flags = 0;
    let size = 0;
    for (let n = 0; n < numbers.length; n++) {
      if (chunk[at] !== BLANK) return -1;
      const begins = ++at;
      let number = 0;
      for (; at < length; at++) {
        const byte = chunk[at]!;
        if (byte < ZERO || byte > NINE) break;
        number = number * 10 + byte - ZERO;
      }
      if (at === begins || at - begins > numbers[n]!) return -1;
      if (n === 0) flags = number;
      else if (n === 2) size = number;
    }
    if (chunk[at] === RETURN && chunk[at + 1] === FEED) {
      this.reply = REPLY.line;
      at += 2;
    } else {
      const ends = at + NOREPLY.length;
      if (ends > length || NOREPLY.compare(chunk, at, ends) !== 0) return -1;
      this.reply = REPLY.none;
      at = ends;
    }
    if (!block) return at;
    // What does not fit is dropped by the door, whatever memcached would have room for.
    if (!fits(this.itemSize, key, flags, size)) return -1;
    at += size;
    return chunk[at] === RETURN && chunk[at + 1] === FEED ? at + 2 : -1;
  }
}
