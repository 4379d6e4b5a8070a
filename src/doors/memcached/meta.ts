import type { ItemVerb } from "../../ports/items.js";
import { type Block, type Command, fits, LONGEST_KEY, type ParserContext } from "./commands.js";
import { expiryOf } from "./exptime.js";
import { Flags } from "./meta-flags.js";
import { MetaArithmetic, MetaDelete, MetaGet, MetaSet } from "./meta-replies.js";
import { int32 } from "./numbers.js";
import { BAD_LINE, line, lineOf } from "./said.js";
import { Dropped, removal } from "./too-large.js";
import type { Words } from "./words.js";

/** A CAS number that is never given out. */
const NOBODYS = (1n << 64n) - 1n;

/**
 * The meta commands as memcached 1.6.18 has them. What each flag means to us:
 *
 * | flag | mg | ms | md | ma |
 * | --- | --- | --- | --- | --- |
 * | b k O q c | as memcached | as memcached | as memcached (no c there) | as memcached |
 * | s t f v | as memcached | ignored, as by memcached | ignored | t and v; the rest ignored |
 * | T | moves the expiry | the expiry | ignored | moves the expiry, after the count |
 * | C | ignored | only if the number stands | likewise | likewise |
 * | F, M | ignored | flags, mode | ignored | ignored; mode |
 * | D, J, N | N refused | ignored | ignored | step, first value, its expiry |
 * | u | ignored: the stores order nothing by use | ignored | ignored | ignored |
 * | I | ignored | refused beside C, else ignored | refused | ignored |
 * | h, l, R | refused | ignored | ignored | ignored |
 * | L, P | ignored | ignored | ignored | ignored |
 *
 * Refused is what memcached's own bookkeeping of an item would have to answer: whether and when it was fetched, whether
 * it is stale, who may make it anew. No other store has that, so it is refused in every phase, and with it `me`. An
 * answer `ma ... q` that made the item is hidden, which 1.6.18 forgot.
 */
const MOST_WORDS = 19;
const LONGEST_VALUE = 2 ** 31 - 3;
const TOO_MANY = "CLIENT_ERROR options flags too long";
const REFUSED = "CLIENT_ERROR this flag is not available through sessionferry";
const BAD_FLAGS = "CLIENT_ERROR invalid or duplicate flag";
const MODES = { E: "add", A: "append", P: "prepend", R: "replace", S: "set" } as const;

export class MetaCommands {
  readonly #flags = new Flags();

  constructor(private readonly context: ParserContext) {}

  command(words: Words): Command | Block {
    const { count } = words;
    switch (words.text(0)) {
      case "mg":
        return count < 2 ? line("ERROR") : this.#get(words);
      case "ms":
        return count < 2 ? line("ERROR") : this.#set(words);
      case "md":
        return count < 2 ? line("ERROR") : this.#delete(words);
      case "ma":
        return count < 2 ? line("ERROR") : this.#arithmetic(words);
      case "mn":
        return line("MN");
      case "me":
        return line(
          count < 2 || words.length(1) > LONGEST_KEY
            ? BAD_LINE
            : "CLIENT_ERROR this command is not available through sessionferry",
        );
      default:
        return line("ERROR");
    }
  }

  #get(words: Words): Command {
    if (words.length(1) > LONGEST_KEY) return line(BAD_LINE);
    if (words.count > MOST_WORDS) return line("CLIENT_ERROR options flags are too long");
    const flags = this.#flags;
    const error = flags.read(words, 2) ?? flags.tooLongOpaque();
    if (error !== null) return line(error);
    if (flags.has("N") || flags.has("R") || flags.has("h") || flags.has("l")) return line(REFUSED);
    const now = this.context.now();
    const touch: ItemVerb | null = flags.has("T")
      ? { verb: "get-and-touch", expiresAt: expiryOf(flags.ttl, now) }
      : null;
    const token = flags.has("c") && this.context.tokens;
    return new MetaGet(flags.key, flags.returned(), flags.has("v"), flags.has("q"), token, touch).command();
  }

  #set(words: Words): Command | Block {
    if (words.length(1) > LONGEST_KEY || words.count === 2) return line(BAD_LINE);
    if (words.count > MOST_WORDS) return line(TOO_MANY);
    const length = int32(words.bytes, words.from(2), words.to(2));
    if (Number.isNaN(length) || length < 0 || length > LONGEST_VALUE) return line(BAD_LINE);
    const flags = this.#flags;
    const error = flags.read(words, 3) ?? flags.tooLongOpaque();
    if (error !== null) return new Dropped(length, error);
    const mode = flags.has("M") ? MODES[flags.mode as keyof typeof MODES] : "set";
    if (mode === undefined) return new Dropped(length, "CLIENT_ERROR invalid mode for ms M token");
    const isCas = flags.has("C") && (mode === "set" || mode === "replace");
    if (flags.has("I") && isCas) return new Dropped(length, REFUSED);
    const { key, clientFlags } = flags;
    if (!fits(this.context.itemSize, key.raw.length, clientFlags, length))
      return new NoRoom(key.raw, length, "too-large");
    if (!this.context.admit(length)) return new NoRoom(key.raw, length, "memory");
    const expiresAt = expiryOf(flags.has("T") ? flags.ttl : 0, this.context.now());
    const verb = (value: Buffer): ItemVerb => {
      if (mode === "append" || mode === "prepend") return { verb: mode, data: value, token };
      const session = { value, flags: clientFlags, expiresAt };
      return isCas ? { verb: "cas", session, token } : { verb: mode, session };
    };
    const token = flags.has("C") ? flags.cas : 0n;
    const returned = flags.returned();
    const quiet = flags.has("q");
    const wished = flags.has("c") && this.context.tokens;
    return {
      length,
      keep: true,
      finish: (value, whole) =>
        whole ? new MetaSet(key, verb(value!), returned, quiet, wished, length) : line("CLIENT_ERROR bad data chunk"),
    };
  }

  #delete(words: Words): Command {
    if (words.length(1) > LONGEST_KEY) return line(BAD_LINE);
    if (words.count > MOST_WORDS) return line(TOO_MANY);
    const flags = this.#flags;
    if (flags.read(words, 2) !== null) return line(BAD_FLAGS);
    const error = flags.tooLongOpaque();
    if (error !== null) return line(error);
    if (flags.has("I")) return line(REFUSED);
    // To a verb 0 says that none was asked for; to memcached it is a number that no item has.
    const asked = flags.cas === 0n ? NOBODYS : flags.cas;
    const verb: ItemVerb = { verb: "delete", token: flags.has("C") ? asked : 0n };
    return new MetaDelete(flags.key, verb, flags.returned(), flags.has("q"));
  }

  #arithmetic(words: Words): Command {
    if (words.length(1) > LONGEST_KEY) return line(BAD_LINE);
    if (words.count > MOST_WORDS) return line(TOO_MANY);
    const flags = this.#flags;
    if (flags.read(words, 2) !== null) return line(BAD_FLAGS);
    const mode = flags.has("M") ? flags.mode : "I";
    const isIncr = mode === "I" || mode === "+";
    if (!isIncr && mode !== "D" && mode !== "-") return line("CLIENT_ERROR invalid mode for ma M token");
    const error = flags.tooLongOpaque();
    if (error !== null) return line(error);
    const now = this.context.now();
    const moved = flags.has("T") ? expiryOf(flags.ttl, now) : null;
    const initial = flags.has("N")
      ? { value: Buffer.from(String(flags.initial)), flags: 0, expiresAt: moved ?? expiryOf(flags.vivifyTtl, now) }
      : null;
    const verb: ItemVerb = {
      verb: isIncr ? "incr" : "decr",
      by: flags.delta,
      initial,
      token: flags.has("C") ? flags.cas : 0n,
    };
    const then: ItemVerb | null = moved === null ? null : { verb: "touch", expiresAt: moved };
    const token = flags.has("c") && this.context.tokens;
    return new MetaArithmetic(flags.key, verb, then, flags.returned(), flags.has("v"), flags.has("q"), token);
  }
}

/** `ms` removes the old item in every mode where it finds no room. */
class NoRoom implements Block {
  readonly keep = false;

  constructor(
    private readonly key: string,
    readonly length: number,
    private readonly kind: "too-large" | "memory",
  ) {}

  finish(): Command {
    return removal(this.key, (out) => out.text(lineOf({ kind: this.kind, code: "VALUE_TOO_LARGE" })));
  }
}
