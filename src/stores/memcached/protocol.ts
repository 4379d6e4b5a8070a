import type { Key } from "./keys.js";

/**
 * memcached's text protocol, as far as we speak it: the meta commands (mg, ms, md), `stats` and `version`. Pure: bytes
 * in, replies out, however the network cut them.
 *
 * A reply is one line; a `VA` line is followed by a block of as many bytes as it says. `stats` answers with many lines
 * up to END, which the connection puts together.
 */
export interface Reply {
  /** The line's first word: HD, VA, EN, NF, NS, EX, MN, STAT, END, VERSION, OK, ERROR, CLIENT_ERROR, SERVER_ERROR. */
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

const LONGEST_LINE = 8_192;
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
      const [code = "", ...words] = line.split(" ");
      if (code !== "VA") {
        replies.push({ code, words, value: null });
        at = end + 1;
        continue;
      }
      const length = Number(words.shift());
      if (!Number.isSafeInteger(length) || length < 0) throw new ProtocolViolation("a value without a length");
      const from = end + 1;
      const next = from + length + CRLF.length;
      if (bytes.length < next) {
        this.#keep(bytes.subarray(at), next - at);
        return replies;
      }
      if (bytes[next - 2] !== 13 || bytes[next - 1] !== 10) throw new ProtocolViolation("a value without its end");
      // A copy: a view would keep the whole chunk alive for as long as the session is.
      replies.push({ code, words, value: Buffer.from(bytes.subarray(from, from + length)) });
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

/** What a return flag carries: `flag(reply, "t")` of `HD t30 c4` is "30"; null where it is missing. */
export function flag(reply: Reply, letter: string): string | null {
  return reply.words.find((word) => word.startsWith(letter))?.slice(1) ?? null;
}

export interface Command {
  readonly parts: readonly Buffer[];
  /** True for a reply of many lines, up to END. */
  readonly many: boolean;
}

const line = (text: string, many = false): Command => ({ parts: [Buffer.from(`${text}\r\n`)], many });
const keyed = (key: Key): string => (key.base64 ? `${key.token} b` : key.token);

/** `mg`. A miss is EN; else VA with the value where the flags ask for it (`v`), or HD. */
export function metaGet(key: Key, flags: string): Command {
  return line(`mg ${keyed(key)} ${flags}`);
}

/** `ms`. HD when stored, else NS, EX or NF. */
export function metaSet(key: Key, value: Buffer, flags: string): Command {
  const head = key.base64 ? `ms ${key.token} ${value.length} b ${flags}` : `ms ${key.token} ${value.length} ${flags}`;
  return { parts: [Buffer.from(`${head}\r\n`), value, CRLF], many: false };
}

/** `md`. HD when removed, else NF or EX. */
export function metaDelete(key: Key, flags = ""): Command {
  return line(`md ${keyed(key)}${flags === "" ? "" : ` ${flags}`}`);
}

export const VERSION: Command = line("version");

/** `stats`, or `stats settings` and the like. */
export function stats(which = ""): Command {
  return line(which === "" ? "stats" : `stats ${which}`, true);
}

/** The lines of a `stats` reply by name. */
export function statsOf(replies: readonly Reply[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const { code, words } of replies) if (code === "STAT") found.set(words[0] ?? "", words.slice(1).join(" "));
  return found;
}
