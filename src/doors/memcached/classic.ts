import type { ItemVerb } from "../../ports/items.js";
import { TextChange, TextFlush, TextRead, TextStats, TextVersion } from "./classic-replies.js";
import { type Block, type Command, fits, LONGEST_KEY, type ParserContext } from "./commands.js";
import { expiryOf } from "./exptime.js";
import { int32, uint32, uint64 } from "./numbers.js";
import { BAD_LINE, line, MALFORMED, NOTHING, QUIT } from "./said.js";
import { TooLarge } from "./too-large.js";
import type { Words } from "./words.js";

/**
 * The classic commands of the text protocol, with the answers of memcached 1.6.18 to lines that are not right. Where it
 * counts words, it counts them before it looks at any: too few or too many are `ERROR`. `noreply` is the last word, and
 * from the moment it is seen it hides errors, too.
 */
const USAGE = "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]";
/** What commands for operators are answered: they are about one server and no business of applications. */
const NOT_PASSED_ON = "CLIENT_ERROR this command is not available through sessionferry";
const OPERATORS: ReadonlySet<string> = new Set([
  "slabs",
  "lru_crawler",
  "lru",
  "watch",
  "cache_memlimit",
  "extstore",
  "refresh_certs",
]);
const BLANK = 32;
/** The longest value that a line may announce. */
const LONGEST_VALUE = 2 ** 31 - 3;

type Stored = "set" | "add" | "replace" | "append" | "prepend" | "cas";

export class ClassicCommands {
  constructor(private readonly context: ParserContext) {}

  /** Null: the connection ends. */
  command(words: Words): Command | Block | null {
    const { count } = words;
    if (count === 0 || words.length(0) < 2) return line("ERROR");
    const name = words.text(0);
    switch (name) {
      case "get":
      case "bget":
        return count < 2 ? line("ERROR") : this.#read(words, false);
      case "gets":
        return count < 2 ? line("ERROR") : this.#read(words, true);
      case "gat":
        return count < 2 ? line("ERROR") : this.#getAndTouch(words, false);
      case "gats":
        return count < 2 ? line("ERROR") : this.#getAndTouch(words, true);
      case "set":
      case "add":
      case "replace":
      case "append":
      case "prepend":
        return count !== 5 && count !== 6 ? line("ERROR") : this.#store(words, name);
      case "cas":
        return count !== 6 && count !== 7 ? line("ERROR") : this.#store(words, name);
      case "incr":
      case "decr":
        return count !== 3 && count !== 4 ? line("ERROR") : this.#count(words, name);
      case "touch":
        return count !== 3 && count !== 4 ? line("ERROR") : this.#touch(words);
      case "delete":
        return count < 2 || count > 4 ? line("ERROR") : this.#delete(words);
      case "flush_all":
        return count > 3 ? line("ERROR") : this.#flush(words);
      case "verbosity":
        return count !== 2 && count !== 3 ? line("ERROR") : this.#verbosity(words);
      case "version":
        return new TextVersion();
      case "stats":
        return new TextStats(statsAsked(words));
      case "quit":
        return QUIT;
      case "shutdown":
        return line("ERROR: shutdown not enabled");
      default:
        return OPERATORS.has(name) ? line(NOT_PASSED_ON) : this.#unknown(words);
    }
  }

  #read(words: Words, token: boolean): Command {
    const keys = keysFrom(words, 1);
    return keys === null ? line(BAD_LINE) : new TextRead(keys, token, token && this.context.tokens);
  }

  #getAndTouch(words: Words, token: boolean): Command {
    const exptime = int32(words.bytes, words.from(1), words.to(1));
    if (Number.isNaN(exptime)) return line("CLIENT_ERROR invalid exptime argument");
    const keys = keysFrom(words, 2);
    if (keys === null) return line(BAD_LINE);
    if (keys.length === 0) return line("END");
    const verb: ItemVerb = { verb: "get-and-touch", expiresAt: expiryOf(exptime, this.context.now()) };
    return new TextChange(keys, verb, false, token ? "gats" : "gat", token && this.context.tokens, 0);
  }

  #store(words: Words, name: Stored): Command | Block {
    const { bytes } = words;
    const noreply = isNoreply(words);
    const refused = noreply ? NOTHING : line(BAD_LINE);
    if (words.length(1) > LONGEST_KEY) return refused;
    const flags = uint32(bytes, words.from(2), words.to(2));
    const exptime = int32(bytes, words.from(3), words.to(3));
    const length = int32(bytes, words.from(4), words.to(4));
    if (Number.isNaN(flags) || Number.isNaN(exptime) || Number.isNaN(length)) return refused;
    const token = name === "cas" ? uint64(bytes, words.from(5), words.to(5)) : 0n;
    if (token === null || length < 0 || length > LONGEST_VALUE) return refused;
    const key = words.text(1);
    if (!fits(this.context.itemSize, key.length, flags, length)) {
      return new TooLarge(key, length, name === "set", noreply, "too-large");
    }
    if (!this.context.admit(length)) return new TooLarge(key, length, name === "set", noreply, "memory");
    return new Storing(this.context, name, key, flags, exptime, length, token, noreply);
  }

  #count(words: Words, name: "incr" | "decr"): Command {
    const noreply = isNoreply(words);
    if (words.length(1) > LONGEST_KEY) return noreply ? NOTHING : line(BAD_LINE);
    const by = uint64(words.bytes, words.from(2), words.to(2));
    if (by === null) return noreply ? NOTHING : line("CLIENT_ERROR invalid numeric delta argument");
    return new TextChange([words.text(1)], { verb: name, by, initial: null, token: 0n }, noreply, name, false, 0);
  }

  #touch(words: Words): Command {
    const noreply = isNoreply(words);
    if (words.length(1) > LONGEST_KEY) return noreply ? NOTHING : line(BAD_LINE);
    const exptime = int32(words.bytes, words.from(2), words.to(2));
    if (Number.isNaN(exptime)) return noreply ? NOTHING : line("CLIENT_ERROR invalid exptime argument");
    const verb: ItemVerb = { verb: "touch", expiresAt: expiryOf(exptime, this.context.now()) };
    return new TextChange([words.text(1)], verb, noreply, "touch", false, 0);
  }

  #delete(words: Words): Command {
    let noreply = false;
    if (words.count > 2) {
      // An old form has a time after the key, of which only 0 is taken.
      const zero = words.is(2, "0");
      noreply = isNoreply(words);
      const valid = words.count === 3 ? zero || noreply : zero && noreply;
      if (!valid) return noreply ? NOTHING : line(USAGE);
    }
    if (words.length(1) > LONGEST_KEY) return noreply ? NOTHING : line(BAD_LINE);
    return new TextChange([words.text(1)], { verb: "delete", token: 0n }, noreply, "delete", false, 0);
  }

  #flush(words: Words): Command {
    const noreply = isNoreply(words);
    let exptime = 0;
    if (words.count !== (noreply ? 2 : 1)) exptime = int32(words.bytes, words.from(1), words.to(1));
    return new TextFlush(exptime, noreply);
  }

  #verbosity(words: Words): Command {
    const noreply = isNoreply(words);
    const level = uint32(words.bytes, words.from(1), words.to(1));
    if (noreply) return NOTHING;
    return line(Number.isNaN(level) ? BAD_LINE : "OK");
  }

  /** A web browser, or whoever sends a request by HTTP to do harm, is not told anything. */
  #unknown(words: Words): Command {
    return words.text(words.count - 1).startsWith("HTTP/") ? MALFORMED : line("ERROR");
  }
}

/** A storing command of which the value is to come. */
class Storing implements Block {
  readonly keep = true;

  constructor(
    private readonly context: ParserContext,
    private readonly name: Stored,
    private readonly key: string,
    private readonly flags: number,
    private readonly exptime: number,
    readonly length: number,
    private readonly token: bigint,
    private readonly noreply: boolean,
  ) {}

  finish(value: Buffer, whole: boolean): Command {
    const { name, noreply } = this;
    if (!whole) return noreply ? NOTHING : line("CLIENT_ERROR bad data chunk");
    return new TextChange([this.key], this.#verb(value), noreply, name, false, this.length);
  }

  #verb(value: Buffer): ItemVerb {
    const { name } = this;
    if (name === "append" || name === "prepend") return { verb: name, data: value, token: 0n };
    const session = { value, flags: this.flags, expiresAt: expiryOf(this.exptime, this.context.now()) };
    return name === "cas" ? { verb: "cas", session, token: this.token } : { verb: name, session };
  }
}

function isNoreply(words: Words): boolean {
  return words.is(words.count - 1, "noreply");
}

/** All keys of a line from this word on, however many; null when one is too long, which spoils them all. */
function keysFrom(words: Words, first: number): string[] | null {
  const keys: string[] = [];
  const { bytes, end } = words;
  if (words.rest < 0) {
    for (let word = first; word < words.count; word++) {
      if (words.length(word) > LONGEST_KEY) return null;
      keys.push(words.text(word));
    }
    return keys;
  }
  let at = words.from(first);
  while (at < end && bytes[at] !== 0) {
    const from = at;
    while (at < end && bytes[at] !== BLANK && bytes[at] !== 0) at++;
    if (at - from > LONGEST_KEY) return null;
    if (at > from) keys.push(bytes.toString("latin1", from, at));
    while (at < end && bytes[at] === BLANK) at++;
  }
  return keys;
}

/** What follows `stats`, with one blank between words. */
function statsAsked(words: Words): string {
  return Array.from({ length: words.count - 1 }, (_, word) => words.text(word + 1)).join(" ");
}
