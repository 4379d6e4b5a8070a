import { int32, uint32, uint64 } from "./numbers.js";
import type { Words } from "./words.js";

const BAD_TOKEN = "CLIENT_ERROR bad token in command line format";
/** With its letter. */
const LONGEST_OPAQUE = 32;
const KNOWN: ReadonlySet<string> = new Set("bNTRlOPLkstcfvhuqFCMJDI");
/** Flags that come back in the order in which they were asked for. */
const RETURNED: ReadonlySet<string> = new Set("stcfOkTN");

/** A key of a meta command: what it stands for, and how replies repeat it. */
export interface MetaKey {
  /** One character a byte. */
  readonly raw: string;
  readonly shown: string;
}

/** One word of the flags: its letter, and the whole word where it is repeated. */
export interface Returned {
  readonly letter: string;
  readonly word: string;
}

/**
 * The flags of a meta command. All of them are looked at before an error is told, and the last error is the one that is,
 * except that a letter that stands twice, or that nobody knows, ends the search.
 */
export class Flags {
  key: MetaKey = { raw: "", shown: "" };
  ttl = 0;
  vivifyTtl = 0;
  clientFlags = 0;
  cas = 0n;
  delta = 1n;
  initial = 0n;
  mode = "";
  #letters = "";
  #returned: Returned[] = [];
  #opaqueTooLong = false;

  /** @returns the line of an error, else null. */
  read(words: Words, first: number): string | null {
    const raw = words.text(1);
    this.key = { raw, shown: raw };
    this.#reset();
    let error: string | null = null;
    for (let word = first; word < words.count; word++) {
      const letter = String.fromCharCode(words.first(word));
      if (letter >= "\x7f" || this.#letters.includes(letter)) return "CLIENT_ERROR duplicate flag";
      if (!KNOWN.has(letter)) return "CLIENT_ERROR invalid flag";
      this.#letters += letter;
      if (RETURNED.has(letter)) this.#returned.push({ letter, word: words.text(word) });
      error = this.#value(letter, words, word) ?? error;
    }
    return error;
  }

  has(letter: string): boolean {
    return this.#letters.includes(letter);
  }

  returned(): readonly Returned[] {
    return this.#returned;
  }

  tooLongOpaque(): string | null {
    return this.#opaqueTooLong ? "CLIENT_ERROR opaque token too long" : null;
  }

  #reset(): void {
    this.ttl = 0;
    this.vivifyTtl = 0;
    this.clientFlags = 0;
    this.cas = 0n;
    this.delta = 1n;
    this.initial = 0n;
    this.mode = "";
    this.#letters = "";
    this.#returned = [];
    this.#opaqueTooLong = false;
  }

  #value(letter: string, words: Words, word: number): string | null {
    const { bytes } = words;
    const from = words.from(word) + 1;
    const to = words.to(word);
    switch (letter) {
      case "b":
        return this.#decodeKey();
      case "T":
        this.ttl = int32(bytes, from, to);
        return Number.isNaN(this.ttl) ? BAD_TOKEN : null;
      case "N":
        this.vivifyTtl = int32(bytes, from, to);
        return Number.isNaN(this.vivifyTtl) ? BAD_TOKEN : null;
      case "R":
        return Number.isNaN(int32(bytes, from, to)) ? BAD_TOKEN : null;
      case "F":
        this.clientFlags = uint32(bytes, from, to);
        return Number.isNaN(this.clientFlags) ? "CLIENT_ERROR bad command line format" : null;
      case "C":
        return this.#wide("cas", bytes, from, to) ? null : BAD_TOKEN;
      case "J":
        return this.#wide("initial", bytes, from, to) ? null : "CLIENT_ERROR invalid numeric initial value";
      case "D":
        return this.#wide("delta", bytes, from, to) ? null : "CLIENT_ERROR invalid numeric delta value";
      case "M":
        if (to - from !== 1) return "CLIENT_ERROR incorrect length for M token";
        this.mode = String.fromCharCode(bytes[from]!);
        return null;
      case "O":
        this.#opaqueTooLong = to - from + 1 > LONGEST_OPAQUE;
        return null;
      default:
        return null;
    }
  }

  #wide(field: "cas" | "initial" | "delta", bytes: Buffer, from: number, to: number): boolean {
    const value = uint64(bytes, from, to);
    if (value === null) return false;
    this[field] = value;
    return true;
  }

  #decodeKey(): string | null {
    const encoded = this.key.raw;
    const decoded = Buffer.from(encoded, "base64");
    // Node reads whatever looks like it; memcached wants every character and the padding right.
    if (decoded.length === 0 || decoded.toString("base64") !== encoded) return "CLIENT_ERROR error decoding key";
    this.key = { raw: decoded.toString("latin1"), shown: `${encoded} b` };
    return null;
  }
}
