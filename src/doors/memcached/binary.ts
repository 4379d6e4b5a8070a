import type { ItemVerb } from "../../ports/items.js";
import { type Body, type Echo, error, failure, header, type Request, STATUS, type Status } from "./binary-format.js";
import { BinaryChange, BinaryFlush, BinaryRead, BinaryStats, BinaryVersion } from "./binary-replies.js";
import { type Command, fits, LONGEST_KEY, type ParserContext } from "./commands.js";
import { expiryOf } from "./exptime.js";
import { plain } from "./login.js";
import type { Output } from "./output.js";
import { removal } from "./too-large.js";

/**
 * The opcodes of the binary protocol, with memcached 1.6.18's answers to packets that are not right. A quiet form (Q)
 * hides the outcome that was hoped for: of a read that there is nothing, of anything else that it was done.
 *
 * An opcode that nobody knows is answered, and its body skipped. (memcached itself skips as much again and loses step.)
 * memcached knows neither the verbosity nor any other opcode beyond these.
 */
const GET = 0x00;
const SET = 0x01;
const ADD = 0x02;
const REPLACE = 0x03;
const DELETE = 0x04;
const INCREMENT = 0x05;
const DECREMENT = 0x06;
const QUIT = 0x07;
const FLUSH = 0x08;
const NOOP = 0x0a;
const VERSION = 0x0b;
const GETK = 0x0c;
const APPEND = 0x0e;
const PREPEND = 0x0f;
const STAT = 0x10;
const TOUCH = 0x1c;
const GAT = 0x1d;
const GATK = 0x23;
const SASL_LIST = 0x20;
const SASL_AUTH = 0x21;
const SASL_STEP = 0x22;

/** The loud form of each quiet opcode. */
const LOUD: ReadonlyMap<number, number> = new Map([
  [0x09, GET],
  [0x0d, GETK],
  [0x11, SET],
  [0x12, ADD],
  [0x13, REPLACE],
  [0x14, DELETE],
  [0x15, INCREMENT],
  [0x16, DECREMENT],
  [0x17, QUIT],
  [0x18, FLUSH],
  [0x19, APPEND],
  [0x1a, PREPEND],
  [0x1e, GAT],
  [0x24, GATK],
]);
/** These may be sent before the client has said who it is. */
const OPEN: ReadonlySet<number> = new Set([VERSION, SASL_LIST, SASL_AUTH, SASL_STEP]);
const MECHANISM = "PLAIN";
const DO_NOT_CREATE = 0xffffffff;
/** More than any user and password are long. */
const LONGEST_MESSAGE = 1024;

export class BinaryCommands {
  constructor(private readonly context: ParserContext) {}

  command(request: Request): Command | Body {
    const { opcode, key, value, extras } = request;
    if (value < 0) return ending(request, STATUS.unknownCommand);
    if (!this.context.authenticated && !OPEN.has(opcode)) return ending(request, STATUS.authentication);
    if (key > LONGEST_KEY) return ending(request, STATUS.invalid);
    const loud = LOUD.get(opcode) ?? opcode;
    const quiet = loud !== opcode;
    switch (loud) {
      case GET:
      case GETK:
        return extras === 0 && value === 0 && key > 0 ? this.#read(request, loud === GETK, quiet) : invalid(request);
      case SET:
      case ADD:
      case REPLACE:
        return extras === 8 && key > 0 ? this.#store(request, loud, quiet) : invalid(request);
      case APPEND:
      case PREPEND:
        return extras === 0 && key > 0 ? this.#extend(request, loud, quiet) : invalid(request);
      case DELETE:
        return extras === 0 && value === 0 && key > 0
          ? this.#change(request, { verb: "delete", token: request.cas }, "plain", quiet)
          : invalid(request);
      case INCREMENT:
      case DECREMENT:
        return extras === 20 && value === 0 && key > 0 ? this.#count(request, loud, quiet) : invalid(request);
      case TOUCH:
      case GAT:
      case GATK:
        return extras === 4 && value === 0 && key > 0 ? this.#touch(request, loud, quiet) : invalid(request);
      case NOOP:
        return isBare(request) ? done(request) : invalid(request);
      case VERSION:
        return isBare(request) ? new BinaryVersion(echoOf(request)) : invalid(request);
      case QUIT:
        return isBare(request) ? quit(request, quiet) : invalid(request);
      case FLUSH:
        return key === 0 && value === 0 && (extras === 0 || extras === 4)
          ? new BinaryFlush(echoOf(request), quiet, extras === 4 && request.bytes.readUInt32BE(request.from) > 0)
          : invalid(request);
      case STAT:
        return extras === 0 && value === 0 ? new BinaryStats(echoOf(request), keyOf(request)) : invalid(request);
      case SASL_LIST:
        return this.context.accounts ? this.#mechanisms(request) : unknown(request);
      case SASL_AUTH:
      case SASL_STEP:
        return this.context.accounts ? this.#authenticate(request, loud) : unknown(request);
      default:
        return unknown(request);
    }
  }

  #read(request: Request, withKey: boolean, quiet: boolean): Command {
    return new BinaryRead(echoOf(request), keyOf(request), withKey, quiet, this.context.tokens);
  }

  #store(request: Request, loud: number, quiet: boolean): Command | Body {
    const { bytes, from, cas, value: length } = request;
    const echo = echoOf(request);
    const key = keyOf(request);
    const flags = bytes.readUInt32BE(from);
    const exptime = bytes.readUInt32BE(from + 4);
    const room = this.#room(echo, key, flags, length, loud === SET);
    if (room !== null) return room;
    const token = this.context.tokens && !quiet;
    const finish = (value: Buffer | null): Command => {
      const session = { value: value!, flags, expiresAt: expiryOf(exptime, this.context.now()) };
      const name = loud === SET ? "set" : loud === ADD ? "add" : "replace";
      const verb: ItemVerb = cas !== 0n ? { verb: "cas", session, token: cas } : { verb: name, session };
      return new BinaryChange(echo, key, verb, "plain", quiet, token, length);
    };
    return { keep: true, finish };
  }

  #extend(request: Request, loud: number, quiet: boolean): Command | Body {
    const { cas, value: length } = request;
    const echo = echoOf(request);
    const key = keyOf(request);
    const room = this.#room(echo, key, 0, length, false);
    if (room !== null) return room;
    const name = loud === APPEND ? "append" : "prepend";
    const token = this.context.tokens && !quiet;
    const finish = (data: Buffer | null) =>
      new BinaryChange(echo, key, { verb: name, data: data!, token: cas }, "extend", quiet, token, length);
    return { keep: true, finish };
  }

  #room(echo: Echo, key: string, flags: number, length: number, removes: boolean): Body | null {
    const tooLarge = !fits(this.context.itemSize, key.length, flags, length);
    if (!tooLarge && this.context.admit(length)) return null;
    const answer = (out: Output) =>
      failure(out, echo, { kind: tooLarge ? "too-large" : "memory", code: "VALUE_TOO_LARGE" });
    return { keep: false, finish: () => (removes ? removal(key, answer) : { kind: "said", size: 0, answer }) };
  }

  #count(request: Request, loud: number, quiet: boolean): Command {
    const { bytes, from, cas } = request;
    const exptime = bytes.readUInt32BE(from + 16);
    const initial =
      exptime === DO_NOT_CREATE
        ? null
        : {
            value: Buffer.from(String(bytes.readBigUInt64BE(from + 8))),
            flags: 0,
            expiresAt: expiryOf(exptime, this.context.now()),
          };
    const verb = loud === INCREMENT ? "incr" : "decr";
    return this.#change(request, { verb, by: bytes.readBigUInt64BE(from), initial, token: cas }, "count", quiet);
  }

  #touch(request: Request, loud: number, quiet: boolean): Command {
    const expiresAt = expiryOf(request.bytes.readUInt32BE(request.from), this.context.now());
    const told = loud === TOUCH ? "flags" : loud === GAT ? "value" : "key";
    // TOUCH tells the flags, so it must see the item, too.
    return this.#change(request, { verb: "get-and-touch", expiresAt }, told, quiet);
  }

  #change(request: Request, verb: ItemVerb, told: BinaryChange["told"], quiet: boolean): Command {
    // Quiet or not, a get-and-touch tells the item with its number.
    const token = this.context.tokens && verb.verb !== "delete" && (!quiet || verb.verb === "get-and-touch");
    return new BinaryChange(echoOf(request), keyOf(request), verb, told, quiet, token, 0);
  }

  #mechanisms(request: Request): Command {
    if (!isBare(request)) return invalid(request);
    const echo = echoOf(request);
    return told((out) => {
      header(out, echo, STATUS.ok, 0n, 0, 0, MECHANISM.length);
      out.text(MECHANISM);
    });
  }

  #authenticate(request: Request, loud: number): Command | Body {
    if (request.extras !== 0 || request.key === 0) return invalid(request);
    const echo = echoOf(request);
    const known = loud === SASL_AUTH && keyOf(request) === MECHANISM && request.value <= LONGEST_MESSAGE;
    const finish = (message: Buffer | null): Command => {
      const accepted = this.context.authenticate(known && message !== null ? plain(message) : null);
      return told((out) => {
        if (!accepted) return error(out, echo, STATUS.authentication);
        header(out, echo, STATUS.ok, 0n, 0, 0, "Authenticated".length);
        out.text("Authenticated");
      });
    };
    return { keep: known, finish };
  }
}

const echoOf = ({ opcode, opaque }: Request): Echo => ({ opcode, opaque });
const isBare = ({ extras, key, value }: Request) => extras === 0 && key === 0 && value === 0;

function keyOf({ bytes, from, extras, key }: Request): string {
  return bytes.toString("latin1", from + extras, from + extras + key);
}

function told(answer: (out: Output) => void): Command {
  return { kind: "said", size: 0, answer };
}

function done(request: Request): Command {
  const echo = echoOf(request);
  return told((out) => header(out, echo, STATUS.ok, 0n, 0, 0, 0));
}

function quit(request: Request, quiet: boolean): Command {
  const echo = echoOf(request);
  const answer = (out: Output) => {
    if (!quiet) header(out, echo, STATUS.ok, 0n, 0, 0, 0);
  };
  return { kind: "quit", size: 0, malformed: false, answer };
}

function ending(request: Request, status: Status): Command {
  const echo = echoOf(request);
  return { kind: "quit", size: 0, malformed: true, answer: (out) => error(out, echo, status) };
}

const invalid = (request: Request) => ending(request, STATUS.invalid);

function unknown(request: Request): Body {
  const echo = echoOf(request);
  return { keep: false, finish: () => told((out) => error(out, echo, STATUS.unknownCommand)) };
}
