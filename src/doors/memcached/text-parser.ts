import { ClassicCommands } from "./classic.js";
import type { Block, Parser, ParserContext } from "./commands.js";
import { Intake } from "./intake.js";
import { unauthenticated } from "./login.js";
import { MetaCommands } from "./meta.js";
import { MALFORMED } from "./said.js";
import { Words } from "./words.js";

/**
 * The text protocol: lines, and after some of them a block of as many bytes as the line says, with its own line end.
 *
 * A line ends with a line feed, before which one carriage return is dropped, except from a line of nothing else. A line
 * of more than 2048 bytes of which the end has not come is the end of the connection; only `get` and `gets` may be
 * longer, because they may ask for many keys (memcached sets no bound there, we do).
 */
const LONGEST_LINE = 2048;
const LONGEST_GET = 1024 * 1024;
const MOST_BLANKS = 100;
const FEED = 10;
const RETURN = 13;

export class TextParser implements Parser {
  readonly #intake = new Intake();
  readonly #words = new Words();
  readonly #classic: ClassicCommands;
  readonly #meta: MetaCommands;
  #block: Block | null = null;
  /** The beginning of a line of which the end has not come. */
  #line: Buffer[] = [];
  #lineLength = 0;
  #over = false;
  /** Where the command that is being read begins in this chunk; -1 where it began in an earlier one. */
  #start = -1;

  constructor(private readonly context: ParserContext) {
    this.#classic = new ClassicCommands(context);
    this.#meta = new MetaCommands(context);
  }

  get partial(): boolean {
    return this.#lineLength > 0 || this.#block !== null;
  }

  get held(): number {
    return this.#lineLength + this.#intake.held;
  }

  push(chunk: Buffer, from: number): number {
    let at = from;
    this.#start = -1;
    while (at < chunk.length && !this.#over && !this.context.full) {
      if (this.#block !== null) at = this.#blockOf(this.#block, chunk, at);
      else {
        if (this.#lineLength === 0) {
          const rest = this.context.pass(chunk, at);
          if (rest > at) {
            at = rest;
            continue;
          }
        }
        at = this.#lineOf(chunk, at);
      }
    }
    return this.#over ? chunk.length : at;
  }

  #lineOf(chunk: Buffer, from: number): number {
    const feed = chunk.indexOf(FEED, from);
    if (feed < 0) {
      this.#keep(chunk.subarray(from));
      return chunk.length;
    }
    if (this.#lineLength === 0) {
      this.#start = from;
      this.#command(chunk, from, feed);
      return feed + 1;
    }
    this.#start = -1;
    const line = Buffer.concat([...this.#line, chunk.subarray(from, feed)]);
    this.#line = [];
    this.#lineLength = 0;
    this.#command(line, 0, line.length);
    return feed + 1;
  }

  #keep(piece: Buffer): void {
    // A copy: a few bytes must not keep a whole chunk alive.
    this.#line.push(Buffer.from(piece));
    this.#lineLength += piece.length;
    if (this.#lineLength <= LONGEST_LINE) return;
    const line = Buffer.concat(this.#line);
    this.#line = [line];
    if (this.#lineLength > LONGEST_GET || !isGet(line)) this.#end();
  }

  #command(bytes: Buffer, from: number, feed: number): void {
    const to = feed - from > 1 && bytes[feed - 1] === RETURN ? feed - 1 : feed;
    const words = this.#words;
    words.split(bytes, from, to);
    if (!this.context.authenticated) {
      const found = unauthenticated(this.context, words);
      if ("finish" in found) this.#begin(found);
      else this.context.take(found, -1, -1);
      return;
    }
    const isMeta = words.count > 0 && words.length(0) === 2 && words.first(0) === 109;
    const found = isMeta ? this.#meta.command(words) : this.#classic.command(words);
    if (found === null) {
      this.#end();
      return;
    }
    if (!("finish" in found)) {
      if (found.kind === "quit") this.#over = true;
      this.context.take(found, this.#start, feed + 1);
      return;
    }
    this.#begin(found);
  }

  #begin(block: Block): void {
    this.#block = block;
    this.#intake.begin(block.length + 2, block.keep);
  }

  #blockOf(block: Block, chunk: Buffer, from: number): number {
    const to = this.#intake.feed(chunk, from);
    if (this.#intake.open) return to;
    this.#block = null;
    const bytes = this.#intake.value;
    const { length } = block;
    const command =
      bytes === null
        ? block.finish(null, true)
        : block.finish(bytes.subarray(0, length), bytes[length] === RETURN && bytes[length + 1] === FEED);
    if (command !== null) this.context.take(command, bytes === null ? -1 : this.#start, to);
    return to;
  }

  #end(): void {
    this.#over = true;
    this.#line = [];
    this.#lineLength = 0;
    this.context.take(MALFORMED, -1, -1);
  }
}

function isGet(line: Buffer): boolean {
  let at = 0;
  while (line[at] === 32) at++;
  const word = line.toString("latin1", at, at + 5);
  return at <= MOST_BLANKS && (word.startsWith("get ") || word === "gets ");
}
