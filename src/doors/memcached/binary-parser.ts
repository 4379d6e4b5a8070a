import { BinaryCommands } from "./binary.js";
import { type Body, HEADER, REQUEST, type Request } from "./binary-format.js";
import type { Command, Parser, ParserContext } from "./commands.js";
import { Intake } from "./intake.js";
import { MALFORMED } from "./said.js";

/** The binary protocol's packets. One that does not begin like a request is the end of the connection. */
export class BinaryParser implements Parser {
  readonly #intake = new Intake();
  readonly #commands: BinaryCommands;
  #body: Body | null = null;
  /** The beginning of a packet, up to its value, as far as it has come. */
  #head = EMPTY;
  #over = false;

  constructor(private readonly context: ParserContext) {
    this.#commands = new BinaryCommands(context);
  }

  get partial(): boolean {
    return this.#head.length > 0 || this.#body !== null;
  }

  get held(): number {
    return this.#head.length + this.#intake.held;
  }

  push(chunk: Buffer, from: number): number {
    let at = from;
    while (at < chunk.length && !this.#over && !this.context.full) {
      if (this.#body === null) at = this.#headOf(chunk, at);
      else at = this.#bodyOf(this.#body, chunk, at);
    }
    return this.#over ? chunk.length : at;
  }

  #headOf(chunk: Buffer, from: number): number {
    const had = this.#head.length;
    if (had === 0) {
      const length = headLength(chunk, from);
      if (length <= chunk.length - from) {
        this.#request(chunk, from, length);
        return from + length;
      }
      this.#head = Buffer.from(chunk.subarray(from));
      if (this.#head[0] !== REQUEST) this.#end();
      return chunk.length;
    }
    // The header tells how long the rest is, so it is completed first.
    const wanted = had < HEADER ? HEADER : headLength(this.#head, 0);
    const to = Math.min(chunk.length, from + wanted - had);
    this.#head = Buffer.concat([this.#head, chunk.subarray(from, to)]);
    const head = this.#head;
    if (head.length >= HEADER && head.length === headLength(head, 0)) {
      this.#head = EMPTY;
      this.#request(head, 0, head.length);
    }
    return to;
  }

  #request(bytes: Buffer, at: number, length: number): void {
    if (bytes[at] !== REQUEST) {
      this.#end();
      return;
    }
    const extras = bytes[at + 4]!;
    const high = bytes.readUInt32BE(at + 16);
    const low = bytes.readUInt32BE(at + 20);
    const request: Request = {
      bytes,
      opcode: bytes[at + 1]!,
      opaque: bytes.readUInt32BE(at + 12),
      cas: high === 0 && low === 0 ? 0n : bytes.readBigUInt64BE(at + 16),
      from: at + HEADER,
      extras,
      key: length - HEADER - extras,
      value: bytes.readUInt32BE(at + 8) - (length - HEADER),
    };
    const found = this.#commands.command(request);
    if (!("finish" in found)) {
      this.#take(found);
      return;
    }
    if (request.value === 0) {
      this.#take(found.finish(found.keep ? EMPTY : null));
      return;
    }
    this.#body = found;
    this.#intake.begin(request.value, found.keep);
  }

  #bodyOf(body: Body, chunk: Buffer, from: number): number {
    const to = this.#intake.feed(chunk, from);
    if (this.#intake.open) return to;
    this.#body = null;
    this.#take(body.finish(this.#intake.value));
    return to;
  }

  #take(command: Command): void {
    if (command.kind === "quit") this.#over = true;
    this.context.take(command, -1, -1);
  }

  #end(): void {
    this.#over = true;
    this.#head = EMPTY;
    this.context.take(MALFORMED, -1, -1);
  }
}

const EMPTY = Buffer.alloc(0);

/** Bytes up to the value; of a header that is not whole, those that are certain. */
function headLength(bytes: Buffer, at: number): number {
  return bytes.length - at < HEADER ? HEADER : HEADER + bytes[at + 4]! + bytes.readUInt16BE(at + 2);
}
