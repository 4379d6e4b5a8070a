import { LegacyUnreachable } from "../../ports/legacy-store.js";
import type { Key } from "./keys.js";

/**
 * memcached's text protocol, as far as we speak it: the meta commands (mg, ms, md, ma), the classic ones that store on a
 * condition, `stats` and `version`. Pure: bytes in, replies out, however the network cut them.
 *
 * A reply is one line; a `VA` line is followed by a block of as many bytes as it says. `stats` answers with many lines
 * up to END, which the connection puts together.
 *
 * Nothing is believed of a server but its shape: a line that no memcached sends, an answer that does not fit its
 * question, or a length beyond all items is the end of the connection, before it can become a wrong session.
 */
export interface Reply {
  /** The line's first word, one of `CODES`. */
  readonly code: string;
  /** The words after it; for VA those after the length. Return flags of meta commands are such words. */
  readonly words: readonly string[];
  /** The block of a VA, else null. */
  readonly value: Buffer | null;
}

/** Thrown when the bytes are no memcached reply: the connection cannot be used any more. */
export class ProtocolViolation extends Error {
  override readonly name = "ProtocolViolation";
}

const REFUSALS: readonly string[] = ["ERROR", "CLIENT_ERROR", "SERVER_ERROR"];
const CODES: ReadonlySet<string> = new Set([
  "HD",
  "VA",
  "EN",
  "NF",
  "NS",
  "EX",
  "STORED",
  "NOT_STORED",
  "EXISTS",
  "NOT_FOUND",
  "STAT",
  "END",
  "VERSION",
  "OK",
  ...REFUSALS,
]);

const LONGEST_LINE = 8_192;
/** memcached's own limit for an item (`-I`). */
const LARGEST_ITEM = 1024 ** 3;
/** In a reply of many lines: more than `stats conns` has for as many connections as there are ports. */
export const MOST_LINES = 500_000;
const CRLF = Buffer.from("\r\n");

export class ReplyParser {
  #chunks: Buffer[] = [];
  #size = 0;
  /** Bytes that must be there before it is worth looking again. */
  #needed = 1;

  /** The replies that these bytes complete. */
  push(chunk: Buffer): Reply[] {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size < this.#needed) return [];
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#size);
    const replies: Reply[] = [];
    let at = 0;
    for (;;) {
      const end = bytes.indexOf(10, at);
      if (end < 0) {
        if (bytes.length - at > LONGEST_LINE) throw new ProtocolViolation("a line without an end");
        this.#keep(bytes.subarray(at), 1);
        return replies;
      }
      // Old servers end some lines by a bare line feed.
      const line = bytes.toString("latin1", at, end > at && bytes[end - 1] === 13 ? end - 1 : end);
      const reply = new Line(line);
      if (!CODES.has(reply.code)) throw new ProtocolViolation("a line that is no reply");
      if (reply.code !== "VA") {
        replies.push(reply);
        at = end + 1;
        continue;
      }
      const length = numeric(reply.takeLength(), 0, LARGEST_ITEM);
      if (length === null) throw new ProtocolViolation("a value without a length");
      const from = end + 1;
      const next = from + length + CRLF.length;
      if (bytes.length < next) {
        this.#keep(bytes.subarray(at), next - at);
        return replies;
      }
      if (bytes[next - 2] !== 13 || bytes[next - 1] !== 10) throw new ProtocolViolation("a value without its end");
      // A copy: a view would keep the whole chunk alive for as long as the session is.
      reply.value = Buffer.from(bytes.subarray(from, from + length));
      replies.push(reply);
      at = next;
    }
  }

  #keep(rest: Buffer, needed: number): void {
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#size = rest.length;
    // One byte more than there is may already end a line; a value is worth looking at only when it is whole.
    this.#needed = Math.max(needed, rest.length + 1);
  }
}

class Line implements Reply {
  readonly code: string;
  words: string[];
  value: Buffer | null = null;

  constructor(line: string) {
    const end = line.indexOf(" ");
    this.code = end < 0 ? line : line.slice(0, end);
    this.words = end < 0 ? [] : line.slice(end + 1).split(" ");
  }

  takeLength(): string | undefined {
    return this.words.shift();
  }
}

/** What a return flag carries: `flag(reply, "t")` of `HD t30 c4` is "30"; null where it is missing. */
export function flag(reply: Reply, letter: string): string | null {
  for (const word of reply.words) if (word.startsWith(letter)) return word.slice(1);
  return null;
}

function numeric(text: string | undefined, least: number, most: number): number | null {
  const number = text !== undefined && /^-?\d{1,20}$/.test(text) ? Number(text) : Number.NaN;
  return number >= least && number <= most ? number : null;
}

/** True for anything but an answer to the question. */
export function isRefusal({ code }: Reply): boolean {
  return REFUSALS.includes(code);
}

/**
 * What a server said, fit to be shown. Its usual words quote neither keys nor values, but bytes that were mixed up on
 * the way may hold either: whatever is no short plain word is left out.
 */
export function said({ code, words }: Pick<Reply, "code" | "words">): string {
  return [
    code,
    ...words
      .slice(0, 12)
      .map((word) => (/^[a-z][a-z'-]{0,15}[.,:;]?$/i.test(word) && !/[a-z][A-Z]/.test(word) ? word : "*")),
  ].join(" ");
}

/** One character for each byte: keys are encoded before they get here. */
export interface Command {
  /** The line, with its end. */
  readonly line: string;
  /** The block that follows it, else null. */
  readonly value: Buffer | null;
  /** True for a reply of many lines, up to END. */
  readonly many: boolean;
  /** Whether a reply that is no refusal can be the answer to this question. */
  fits(reply: Reply): boolean;
}

const keyed = (key: Key): string => (key.base64 ? `${key.token} b` : key.token);

/** What a command wants to be told: the letters of return flags as they stand in it, and whether their order holds. */
interface Shape {
  readonly text: string;
  answers(reply: Reply): boolean;
}

const shapes = new Map<string, Shape>();

/** Flags come back in the order in which they were asked for; each is a number, and `v` is the value itself. */
function shapeOf(letters: string): Shape {
  let shape = shapes.get(letters);
  if (shape === undefined) {
    const flags = letters.replace("v", "");
    const code = letters.includes("v") ? "VA" : "HD";
    const answers = (reply: Reply): boolean => {
      const { words } = reply;
      if (reply.code !== code || words.length < flags.length) return false;
      for (let i = 0; i < flags.length; i++) {
        const word = words[i]!;
        if (word[0] !== flags[i] || !/^-?\d{1,20}$/.test(word.slice(1))) return false;
      }
      return true;
    };
    shape = { text: [...letters].map((letter) => ` ${letter}`).join(""), answers };
    shapes.set(letters, shape);
  }
  return shape;
}

const REFUSED = new Set(["NS", "EX", "NF"]);

/** What the classic storing commands answer, and what `ms` says for it. */
const CLASSIC: ReadonlyMap<string, string> = new Map([
  ["STORED", "HD"],
  ["NOT_STORED", "NS"],
  ["EXISTS", "EX"],
  ["NOT_FOUND", "NF"],
]);

/** The same answer in the words of the meta commands. */
export function asMeta(reply: Reply): Reply {
  const code = CLASSIC.get(reply.code);
  return code === undefined ? reply : { ...reply, code };
}

/**
 * `mg`. A miss is EN; else VA with the value where it is wanted (`v`), or HD.
 *
 * @param wanted letters of return flags: v value, s size, f flags, t remaining life, c CAS
 * @param rest what else the command says
 */
export function metaGet(key: Key, wanted: string, rest = ""): Command {
  const { text, answers } = shapeOf(wanted);
  return {
    line: `mg ${keyed(key)}${text}${rest === "" ? "" : ` ${rest}`}\r\n`,
    value: null,
    many: false,
    fits: (reply) => reply.code === "EN" || answers(reply),
  };
}

/** `ms`. HD when stored, else NS, EX or NF. */
export function metaSet(key: Key, value: Buffer, flags: string, wanted: "" | "c" = ""): Command {
  const { text, answers } = shapeOf(wanted);
  return {
    line: `ms ${key.token} ${value.length}${key.base64 ? " b" : ""} ${flags}${text}\r\n`,
    value,
    many: false,
    fits: (reply) => answers(reply) || REFUSED.has(reply.code),
  };
}

/**
 * The storing commands that `ms` took the place of. Where memcached has no room for the new value, `ms` drops the old one
 * in every mode; of these only `set` does, which is not among them.
 */
export function classicStore(
  verb: "add" | "replace" | "append" | "prepend" | "cas",
  key: Key,
  { value, flags, exptime, cas }: { value: Buffer; flags: number; exptime: number; cas?: string | undefined },
): Command {
  return {
    line: `${verb} ${key.token} ${flags} ${exptime} ${value.length}${cas === undefined ? "" : ` ${cas}`}\r\n`,
    value,
    many: false,
    fits: ({ code }) => CLASSIC.has(code),
  };
}

/** `md`. HD when removed, else NF or EX. */
export function metaDelete(key: Key, flags = ""): Command {
  const fits = ({ code }: Reply): boolean => code === "HD" || REFUSED.has(code);
  return { line: `md ${keyed(key)}${flags === "" ? "" : ` ${flags}`}\r\n`, value: null, many: false, fits };
}

/**
 * `ma`. VA with the number, else NF, NS, EX, or what `isNoNumber` tells. What is wanted stands last: an item that the
 * command makes has its expiry only from where `N` stands.
 */
export function metaArithmetic(key: Key, flags: string, wanted: "v" | "vc" | "vt" | "vtc"): Command {
  const { text, answers } = shapeOf(wanted);
  return {
    line: `ma ${keyed(key)} ${flags}${text}\r\n`,
    value: null,
    many: false,
    fits: (reply) => answers(reply) || REFUSED.has(reply.code),
  };
}

/** The one CLIENT_ERROR that answers a command which was understood. */
export function isNoNumber(reply: Reply): boolean {
  return reply.code === "CLIENT_ERROR" && reply.words[0] === "cannot";
}

const lineOf = (text: string, codes: readonly string[]): Command => ({
  line: `${text}\r\n`,
  value: null,
  many: codes.includes("END"),
  fits: ({ code }) => codes.includes(code),
});

export const VERSION: Command = lineOf("version", ["VERSION"]);

export const FLUSH_ALL: Command = lineOf("flush_all", ["OK"]);

/** `stats`, or `stats settings` and the like. */
export function stats(which = ""): Command {
  return lineOf(which === "" ? "stats" : `stats ${which}`, ["STAT", "END"]);
}

/** A value of this size goes into the packet by itself: copying it would cost more than another piece. */
const COPIED_BELOW = 16_384;

/** The bytes of these commands in as few pieces as is cheap. */
export function encode(commands: readonly Command[]): Buffer[] {
  let size = 0;
  for (const { line, value } of commands) {
    size += line.length;
    if (value !== null) size += CRLF.length + (value.length < COPIED_BELOW ? value.length : 0);
  }
  const bytes = Buffer.allocUnsafe(size);
  const pieces: Buffer[] = [];
  let from = 0;
  let at = 0;
  for (const { line, value } of commands) {
    at += bytes.write(line, at, "latin1");
    if (value === null) continue;
    if (value.length < COPIED_BELOW) {
      at += value.copy(bytes, at);
    } else {
      pieces.push(bytes.subarray(from, at), value);
      from = at;
    }
    bytes[at++] = 13;
    bytes[at++] = 10;
  }
  if (at > from) pieces.push(bytes.subarray(from, at));
  return pieces;
}

/** The lines of a `stats` reply by name. */
export function statsOf(replies: readonly Reply[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const { code, words } of replies) if (code === "STAT") found.set(words[0] ?? "", words.slice(1).join(" "));
  return found;
}

/** One of them that is a number. Rejects with LegacyUnreachable where it is missing or none. */
export function statistic(found: ReadonlyMap<string, string>, name: string): number {
  const number = numeric(found.get(name), 0, Number.MAX_SAFE_INTEGER);
  if (number === null) throw new LegacyUnreachable("memcached's statistics cannot be read.");
  return number;
}
