import type { Socket } from "node:net";
import { REQUEST } from "./binary-format.js";
import { BinaryParser } from "./binary-parser.js";
import type { Budget } from "./budget.js";
import type { Command, Parser, ParserContext } from "./commands.js";
import type { Answer, Executor } from "./executor.js";
import type { SaslAccount } from "./options.js";
import type { Output } from "./output.js";
import { RelayChannel, type RelayClient } from "./relay.js";
import { RelayCommands } from "./relay-commands.js";
import type { RelayPool } from "./relay-pool.js";
import { TextParser } from "./text-parser.js";

/** Commands, and bytes of their values, that may wait on one connection before no more is read from it. */
const MOST_WAITING = 256;
const MOST_BYTES = 4 * 1024 * 1024;
/** Failed attempts to authenticate before the connection ends. */
const MOST_ATTEMPTS = 8;

/** Milliseconds for which a client may take nothing of its replies while there is no memory left for those of others. */
const CROWDED = 2_000;

export type Cut = "idle" | "stalled" | "malformed" | "memory" | "drain";

export interface ConnectionOptions {
  readonly executor: Executor;
  /** Shared by all connections: written and taken in one go. */
  readonly out: Output;
  readonly budget: Budget;
  readonly itemSize: number;
  readonly tokens: boolean;
  /** Null: all commands take the usual way. */
  readonly relays: RelayPool | null;
  /** Null: nobody must authenticate. */
  readonly authenticate: ((who: SaslAccount | null) => boolean) | null;
  cut(reason: Cut): void;
  commands(count: number): void;
  /** So many relayed commands were answered with an error of the server. */
  failed(count: number, error: Error): void;
}

/**
 * One client. What it sends is parsed as far as its commands may wait, the commands are carried out in order, and the
 * answers of one step leave in one write.
 *
 * Nothing grows without bound: while commands wait, or their answers have not been taken, no more are carried out, then
 * no more is parsed, then nothing is read from the socket, and the client's own writes stop.
 */
export class Connection implements ParserContext, RelayClient {
  #parser: Parser | null = null;
  readonly #queue: Command[] = [];
  #queued = 0;
  /** What was read and not parsed yet. */
  #unread: Buffer | null = null;
  #unreadFrom = 0;
  #busy = false;
  /** Replies wait for the client. */
  #blocked = false;
  #blockedBytes = 0;
  /** Wakes the command that waits until its answers so far have been taken. */
  #goOn: () => void = () => {};
  #ended = false;
  #draining = false;
  #over = false;
  #accounted = 0;
  #attempts = 0;
  #authenticated: boolean;
  /** The way to memcached as it is, while there is one. */
  readonly #channel: RelayChannel | null;
  /** Commands found in this chunk, those that were relayed after it was sent. */
  #taken = 0;
  /** For the sweep: since when what is there has been waiting for the client. */
  #heardAt = performance.now();
  #partialSince = 0;
  #sentAt = performance.now();
  #sent = 0;

  constructor(
    readonly socket: Socket,
    private readonly options: ConnectionOptions,
  ) {
    this.#authenticated = options.authenticate === null;
    this.#channel =
      options.relays === null
        ? null
        : new RelayChannel(options.relays, this, new RelayCommands(options.itemSize, options.tokens));
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("end", () => {
      this.#ended = true;
      this.#pump();
    });
    socket.on("drain", () => this.#drained());
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#over = true;
      this.#queue.length = 0;
      this.#queued = 0;
      this.#unread = null;
      this.#blockedBytes = 0;
      this.#parser = null;
      this.#account();
      this.#goOn();
      this.#channel?.leave();
    });
  }

  // ParserContext

  now(): number {
    return Date.now();
  }

  get itemSize(): number {
    return this.options.itemSize;
  }

  get tokens(): boolean {
    return this.options.tokens;
  }

  get accounts(): boolean {
    return this.options.authenticate !== null;
  }

  get authenticated(): boolean {
    return this.#authenticated;
  }

  get full(): boolean {
    if (this.#channel?.full) return true;
    return this.#draining || this.#queue.length >= MOST_WAITING || this.#queued > MOST_BYTES;
  }

  admit(size: number): boolean {
    return this.options.budget.admits(size);
  }

  authenticate(who: SaslAccount | null): boolean {
    this.#authenticated = this.options.authenticate?.(who) ?? true;
    if (!this.#authenticated && ++this.#attempts >= MOST_ATTEMPTS) this.#draining = true;
    return this.#authenticated;
  }

  take(command: Command, from: number, to: number): void {
    if (from >= 0 && this.#mayRelay()) {
      const kind = command.kind === "read" || command.kind === "change" ? command.relay : undefined;
      if (kind !== undefined && this.#channel!.offer(kind, from, to)) return;
    }
    this.#taken++;
    this.#queue.push(command);
    this.#queued += command.size;
  }

  pass(chunk: Buffer, from: number): number {
    return this.#authenticated && this.#mayRelay() ? this.#channel!.pass(chunk, from) : from;
  }

  /** Whether nothing waits that must be answered first. */
  #mayRelay(): boolean {
    return this.#channel !== null && this.#queue.length === 0 && !this.#busy && !this.#blocked;
  }

  // Ends

  /** Reads no more; ends when what was read whole is answered. */
  drain(): void {
    this.#draining = true;
    this.#unread = null;
    this.socket.pause();
    this.#pump();
  }

  cut(reason: Cut): void {
    if (this.socket.destroyed) return;
    this.#over = true;
    this.options.cut(reason);
    this.socket.destroy();
  }

  /** Cuts off a client that has been silent, or slow, for too long. Called about once a second. */
  sweep(now: number, idle: number, stall: number): void {
    this.#channel?.sweep(now);
    const { socket } = this;
    const taken = socket.bytesWritten - socket.writableLength;
    if (taken !== this.#sent || socket.writableLength === 0) {
      this.#sent = taken;
      this.#sentAt = now;
    }
    if (!this.#parser?.partial) this.#partialSince = 0;
    else if (this.#partialSince === 0) this.#partialSince = now;
    const isPartial = this.#partialSince > 0 && now - this.#partialSince > stall && !this.#busy && !this.#blocked;
    const deaf = now - this.#sentAt;
    if (isPartial || deaf > stall) this.cut("stalled");
    // Everybody waits for the room that it takes.
    else if (this.#blocked && deaf > CROWDED && !this.options.budget.admits(0)) this.cut("memory");
    else if (idle > 0 && now - this.#heardAt > idle && this.#isAtRest()) this.cut("idle");
  }

  #isAtRest(): boolean {
    return this.#queue.length === 0 && !this.#busy && (this.#channel?.waiting ?? 0) === 0;
  }

  // In

  #read(chunk: Buffer): void {
    if (this.#over || this.#draining) return;
    this.#heardAt = performance.now();
    if (this.#unread !== null) {
      // A chunk that was on its way when reading stopped.
      this.#unread = Buffer.concat([this.#unread.subarray(this.#unreadFrom), chunk]);
      this.#unreadFrom = 0;
      return;
    }
    this.#parse(chunk, 0);
    this.#pump();
  }

  #parse(chunk: Buffer, from: number): void {
    this.#parser ??= chunk[0] === REQUEST ? new BinaryParser(this) : new TextParser(this);
    const parser = this.#parser;
    const at = parser.push(chunk, from);
    if (this.#channel !== null) this.#taken += this.#channel.send(chunk);
    if (this.#taken > 0) {
      this.options.commands(this.#taken);
      this.#taken = 0;
      this.#partialSince = 0;
    }
    if (at < chunk.length) {
      this.#unread = chunk;
      this.#unreadFrom = at;
      this.socket.pause();
    }
    this.#account();
  }

  // Out

  /** Goes on until there is nothing to do but to wait. */
  #pump(): void {
    // Whoever takes no answers gets none, also of those that cost nothing.
    if (this.#blocked) return;
    // What memcached was sent as it came is answered first.
    if (this.#busy || (this.#channel !== null && this.#channel.waiting > 0)) return;
    const { out } = this.options;
    const queue = this.#queue;
    for (;;) {
      let done = 0;
      while (done < queue.length && !this.#over) {
        const command = queue[done]!;
        if (command.kind !== "said" && command.kind !== "quit") break;
        command.answer(out);
        done++;
        if (command.kind === "quit") {
          this.#quit(command.malformed);
          return;
        }
      }
      this.#done(done);
      this.#flush();
      if (this.#over || this.#blocked) return;
      if (queue.length > 0) {
        this.#start();
        return;
      }
      if (this.#unread === null || this.#draining) break;
      const unread = this.#unread;
      this.#unread = null;
      this.#parse(unread, this.#unreadFrom);
      if (this.#channel !== null && this.#channel.waiting > 0) return;
    }
    if (this.#ended || this.#draining) this.#finish();
    else if (this.socket.isPaused()) this.socket.resume();
  }

  #start(): void {
    const { budget, executor } = this.options;
    this.#busy = true;
    const go = () => {
      this.#busy = false;
      this.#pump();
    };
    if (!budget.begin(go)) return;
    const run = executor.run(this.#queue, 0, (answer, done) => this.#answered(answer, done));
    run.then(
      () => {
        budget.end();
        go();
      },
      () => {
        budget.end();
        this.cut("malformed");
      },
    );
  }

  #answered(answer: Answer, done: number): Promise<void> | undefined {
    if (this.#over) return undefined;
    answer(this.options.out);
    this.#done(done);
    this.#flush();
    if (!this.#blocked) return undefined;
    return new Promise((resolve) => {
      this.#goOn = resolve;
    });
  }

  #done(count: number): void {
    if (count === 0) return;
    const queue = this.#queue;
    for (let n = 0; n < count && n < queue.length; n++) this.#queued -= queue[n]!.size;
    if (count === queue.length) queue.length = 0;
    else queue.splice(0, count);
    this.#account();
  }

  #flush(): void {
    const { out } = this.options;
    if (out.size === 0) return;
    const pieces = out.take();
    const { socket } = this;
    if (this.#over || !socket.writable) return;
    if (pieces.length === 1) socket.write(pieces[0]!);
    else {
      socket.cork();
      for (const piece of pieces) socket.write(piece);
      socket.uncork();
    }
    this.#mind();
  }

  /** Waits for a client that does not take what it is sent. */
  #mind(): void {
    if (!this.socket.writableNeedDrain) return;
    this.#blocked = true;
    this.#blockedBytes = this.socket.writableLength;
    this.#channel?.flow(false);
    this.#account();
  }

  // RelayClient

  relayed(bytes: Buffer): void {
    const { socket } = this;
    if (this.#over || !socket.writable) return;
    socket.write(bytes);
    this.#mind();
  }

  relayAdvanced(): void {
    this.#pump();
  }

  relayBroken(): void {
    this.socket.destroy();
  }

  relayFailed(count: number, error: Error): void {
    this.options.failed(count, error);
  }

  #drained(): void {
    this.#blocked = false;
    this.#channel?.flow(true);
    this.#blockedBytes = 0;
    this.#account();
    this.#goOn();
    this.#pump();
  }

  #quit(malformed: boolean): void {
    this.#flush();
    if (malformed) this.options.cut("malformed");
    this.#finish();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.socket.destroySoon();
  }

  #account(): void {
    const held = (this.#parser?.held ?? 0) + this.#queued + this.#blockedBytes;
    if (held === this.#accounted) return;
    const by = held - this.#accounted;
    this.#accounted = held;
    this.options.budget.change(by);
  }
}
