import { LegacyRefused, OutcomeUnknown } from "../../ports/legacy-store.js";
import type { RelayConnection } from "../../ports/relay.js";
import type { RelayCommands } from "./relay-commands.js";
import type { RelayPool, Upstream } from "./relay-pool.js";
import { REPLY, RelayReplies, type ReplyKind } from "./relay-replies.js";

/**
 * While every route says L alone there is nothing to decide: the bytes of a client's commands go to memcached as they
 * came, and its replies come back as they are. That is what makes the door about as cheap as a plain pipe. What the
 * door answers itself, and what it does not pass on, takes the usual way, after the replies to what came before.
 *
 * Each client has a connection to memcached of its own while it is there, so its commands keep their order. They are
 * counted as the ferry counts operations, from before they are sent until they are answered; a `mn` behind a command
 * without a reply tells when that one is done.
 */
const MARK = Buffer.from("mn\r\n");
/** Commands that memcached has been sent as they came and has not answered. */
const MOST_WAITING = 4096;
/** Milliseconds that memcached may take for an answer. */
const DEADLINE = 5_000;
const REFUSED = "memcached answered a command with an error of its own.";
const LOST = "SERVER_ERROR temporary failure OUTCOME_UNKNOWN\r\n";

/** The client, as its relay sees it. */
export interface RelayClient {
  /** Takes bytes of replies. */
  relayed(bytes: Buffer): void;
  /** Replies came, or memcached takes more. */
  relayAdvanced(): void;
  /** A reply broke off in the middle. */
  relayBroken(): void;
  /** So many commands were answered with an error of the server. */
  relayFailed(count: number, error: Error): void;
}

interface Run {
  /** As many replies must have come for all of it to be over. */
  readonly until: number;
  readonly commands: number;
  readonly end: () => void;
  readonly sentAt: number;
  /** The client has not taken what came before it in time: how long it took tells nothing of memcached. */
  held: boolean;
}

export class RelayChannel {
  #upstream: Upstream | null = null;
  #connecting = false;
  #replies = new RelayReplies();
  #runs: Run[] = [];
  /** Failed replies that have been counted. */
  #told = 0;
  #gone = false;
  /** When memcached, or the client, last did something. */
  #heardAt = 0;
  /** Since when what was relayed has kept others waiting; 0 while it does not. */
  #closedAt = 0;
  /** Of the chunk that is being parsed: how far its commands go to memcached as they are. */
  #end: (() => void) | null = null;
  #from = 0;
  #to = 0;
  #last: ReplyKind = REPLY.none;
  #count = 0;

  constructor(
    private readonly pool: RelayPool,
    private readonly client: RelayClient,
    private readonly commands: RelayCommands,
  ) {}

  /** Replies that are still to come. */
  get waiting(): number {
    return this.#replies.waiting;
  }

  /** memcached has as much to do as it may be given. */
  get full(): boolean {
    return this.waiting >= MOST_WAITING || (this.#upstream?.connection.socket.writableNeedDrain ?? false);
  }

  /** Takes the plain commands that stand next in the chunk; where the first that is none of them begins. */
  pass(chunk: Buffer, from: number): number {
    const { commands } = this;
    // Where the way is shut, it is not worth a look at what might go there.
    if (this.#end === null && !this.pool.relay.open) return from;
    let at = from;
    while (at < chunk.length && this.waiting < MOST_WAITING) {
      const to = commands.end(chunk, at);
      if (to < 0 || !this.offer(commands.reply, at, to)) break;
      at = to;
    }
    return at;
  }

  /** Whether this command of the chunk, next to those that were taken before, goes to memcached as it is. */
  offer(kind: ReplyKind, from: number, to: number): boolean {
    if (this.#upstream === null && !this.#attach()) return false;
    if (this.#end !== null) {
      // Bytes between two commands belong to one that is not sent.
      if (from !== this.#to) return false;
    } else {
      this.#end = this.pool.relay.begin();
      if (this.#end === null) return false;
      this.#from = from;
    }
    this.#to = to;
    this.#last = kind;
    this.#count++;
    if (kind !== REPLY.none) this.#replies.expect(kind);
    return true;
  }

  /** Sends what was taken of the chunk; how many commands that is. */
  send(chunk: Buffer): number {
    const end = this.#end;
    if (end === null) return 0;
    const commands = this.#count;
    this.#end = null;
    this.#count = 0;
    const { socket } = this.#upstream!.connection;
    const bytes = this.#from === 0 && this.#to === chunk.length ? chunk : chunk.subarray(this.#from, this.#to);
    if (this.#last === REPLY.none) {
      this.#replies.expect(REPLY.mark);
      socket.cork();
      socket.write(bytes);
      socket.write(MARK);
      socket.uncork();
    } else socket.write(bytes);
    const until = this.#replies.answered + this.#replies.waiting;
    this.#runs.push({ until, commands, end, sentAt: performance.now(), held: false });
    return commands;
  }

  /** The client takes its replies, or does not. */
  flow(on: boolean): void {
    const socket = this.#upstream?.connection.socket;
    this.#heardAt = performance.now();
    if (on) socket?.resume();
    else {
      socket?.pause();
      for (const run of this.#runs) run.held = true;
    }
  }

  /**
   * memcached has its deadline. A client that takes its time has more of it, but not once the routes have changed: the
   * fleet waits for what was relayed.
   */
  sweep(now: number): void {
    const oldest = this.#runs[0];
    if (oldest === undefined || this.pool.relay.open) this.#closedAt = 0;
    else if (this.#closedAt === 0) this.#closedAt = now;
    if (oldest === undefined) return;
    const { socket } = this.#upstream!.connection;
    const silent = !socket.isPaused() && now - Math.max(oldest.sentAt, this.#heardAt) > DEADLINE;
    if (silent || (this.#closedAt > 0 && now - this.#closedAt > DEADLINE)) socket.destroy();
  }

  /** The client has gone: what it sent is still answered, to nobody. */
  leave(): void {
    this.#gone = true;
    this.#upstream?.connection.socket.resume();
    this.#release();
    const left = this.#upstream?.connection.socket;
    if (left !== undefined) setTimeout(() => this.#upstream && left.destroy(), DEADLINE).unref();
  }

  #attach(): boolean {
    const upstream = this.pool.take();
    if (upstream !== null) {
      this.#use(upstream);
      return true;
    }
    if (this.#connecting || !this.pool.relay.open) return false;
    this.#connecting = true;
    // Meanwhile commands take the usual way, and if it fails, its error.
    this.pool.connect().then(
      (made) => {
        this.#connecting = false;
        if (this.#gone || this.#upstream !== null) this.pool.give(made);
        else this.#use(made);
      },
      () => {
        this.#connecting = false;
      },
    );
    return false;
  }

  #use(upstream: Upstream): void {
    this.#upstream = upstream;
    this.#replies = new RelayReplies();
    this.#told = 0;
    upstream.user = {
      data: (chunk) => this.#take(upstream, chunk),
      drain: () => this.client.relayAdvanced(),
      close: () => this.#lost(upstream.connection),
    };
  }

  #take(upstream: Upstream, chunk: Buffer): void {
    this.#heardAt = performance.now();
    const handOn = this.#gone ? () => {} : (bytes: Buffer) => this.client.relayed(bytes);
    if (!this.#replies.take(chunk, handOn)) {
      upstream.connection.socket.destroy();
      return;
    }
    const { answered, failed } = this.#replies;
    while (this.#runs.length > 0 && this.#runs[0]!.until <= answered) {
      const { commands, end, sentAt, held } = this.#runs.shift()!;
      // Which of several runs that came at once failed makes no difference to a count.
      const errors = Math.min(failed - this.#told, commands);
      this.#told += errors;
      end();
      this.pool.relay.count({ commands, errors, milliseconds: held ? null : this.#heardAt - sentAt });
      if (errors > 0) this.client.relayFailed(errors, new LegacyRefused(REFUSED, "SERVER_ERROR"));
    }
    if (this.#gone) this.#release();
    else this.client.relayAdvanced();
  }

  #release(): void {
    const upstream = this.#upstream;
    if (upstream === null || this.#replies.waiting > 0) return;
    this.#upstream = null;
    this.pool.give(upstream);
  }

  /** Whether memcached did it nobody can tell: it counts until it certainly can do nothing more. */
  #lost(connection: RelayConnection): void {
    const runs = this.#runs;
    this.#runs = [];
    const { within } = this.#replies;
    const left = this.#replies.abandon();
    this.#upstream = null;
    if (runs.length > 0) {
      const commands = runs.reduce((sum, run) => sum + run.commands, 0);
      const settled = connection.settled();
      this.pool.relay.count({ commands, errors: commands, milliseconds: null });
      this.client.relayFailed(commands, new OutcomeUnknown("The connection to memcached broke off.", settled));
      void settled.then(() => {
        for (const { end } of runs) end();
      });
    }
    if (this.#gone) return;
    if (within) {
      this.client.relayBroken();
      return;
    }
    const answers = left.filter((kind) => kind !== REPLY.mark).length;
    if (answers > 0) this.client.relayed(Buffer.from(LOST.repeat(answers)));
    this.client.relayAdvanced();
  }
}
