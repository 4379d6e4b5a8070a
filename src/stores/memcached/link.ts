import { FerryError } from "../../errors.js";
import type { Fence } from "../../ports/fence.js";
import { LegacyUnreachable, OutcomeUnknown } from "../../ports/legacy-store.js";
import type { RelayConnection } from "../../ports/relay.js";
import { LATE, within } from "../deadline.js";
import { type Answer, Connection, type Replies, type ServerFacts } from "./connection.js";
import type { Command, Reply } from "./protocol.js";
import type { Server } from "./server.js";
import { Settler } from "./settle.js";

export interface MemcachedLinkOptions {
  /** Connections to the server at most. */
  readonly connections: number;
  /** Milliseconds a caller waits at most. */
  readonly deadline: number;
  readonly fence: Fence;
}

/** Milliseconds that the moment of an answer may be off: with memcached's whole seconds it is still within one. */
const TOO_VAGUE = 250;
const READ_AGAIN = 2;
/** Milliseconds that a reading again may take beyond the deadline of the first. */
const AGAIN_WITHIN = 1_000;
/** memcached takes 1024 connections by default, from everybody. */
const MOST_RELAYS = 256;
/** Milliseconds until one more connection is tried again; each try asks memcached and the control store. */
const AGAIN = 250;

/**
 * The connections to one server. A call takes its deadline at most: without a connection by then nothing was sent
 * (`LegacyUnreachable`); sent and not answered, or the connection lost, is the same for a read, which changes nothing,
 * and `OutcomeUnknown` for a write, settled when it is answered late or its connection has certainly ended.
 */
export class MemcachedLink {
  readonly #settler: Settler;
  /** What the server said of itself when the last connection to it was made; null before the first. */
  facts: ServerFacts | null = null;
  readonly #open = new Set<Connection>();
  /** Handed over to relays. */
  readonly #relays = new Set<Connection>();
  #openingRelay = false;
  #opening: Promise<Connection> | null = null;
  /** By the monotonic clock: no further connection is tried before, while there is one. */
  #again = 0;
  #closed = false;

  constructor(
    readonly server: Server,
    private readonly options: MemcachedLinkOptions,
  ) {
    this.#settler = new Settler(server, options.deadline);
  }

  /** Our ends of the connections that are open. */
  get endpoints(): string[] {
    return [...this.#open].map((connection) => connection.endpoint);
  }

  /** When a call that begins now must have ended, by the monotonic clock. */
  deadline(): number {
    return performance.now() + this.options.deadline;
  }

  async read(commands: readonly Command[]): Promise<readonly Reply[]> {
    return (await this.#exchange(commands, "read")).replies;
  }

  /** With the moment at which the server answered. */
  readTimed(commands: readonly Command[]): Promise<Replies> {
    return this.#exchange(commands, "read");
  }

  /**
   * The same for what goes into R: where the moment is too vague for an expiry and `matters` says that one is told, the
   * commands are sent again, a few times at most; the last answers count.
   */
  async readForCopy(commands: readonly Command[], matters: (reply: Reply) => boolean): Promise<Replies> {
    const ends = this.deadline();
    let read = await this.#exchange(commands, "read", ends);
    for (let again = 0; again < READ_AGAIN; again++) {
      if (read.uncertainty <= TOO_VAGUE || !read.replies.some(matters)) break;
      // The deadline may have passed while this process was stopped, with the answer at hand.
      const soon = Math.max(ends, performance.now() + AGAIN_WITHIN);
      const next = await this.#exchange(commands, "read", soon).catch(() => null);
      if (next === null) break;
      read = next;
    }
    return read;
  }

  async write(commands: readonly Command[]): Promise<readonly Reply[]> {
    return (await this.#exchange(commands, "write")).replies;
  }

  /** Over this very connection; null, and nothing sent, when it has ended. */
  async writeOver(
    connection: Connection,
    commands: readonly Command[],
    ends = this.deadline(),
  ): Promise<readonly Reply[] | null> {
    return connection.usable ? (await this.#exchangeOver(connection, commands, "write", ends)).replies : null;
  }

  /**
   * A usable connection. Rejects with LegacyUnreachable or what kept it from being made. Who shared an attempt that others
   * began, and which came to its end before his own deadline, has one of his own: the server may have come back meanwhile.
   */
  async connection(ends = this.deadline()): Promise<Connection> {
    const ready = this.#ready();
    if (ready !== null) return ready;
    const isShared = this.#opening !== null;
    try {
      return await this.#anotherBy(ends);
    } catch (error) {
      if (!isShared || !(error instanceof LegacyUnreachable) || performance.now() >= ends) throw error;
      return this.#ready() ?? this.#anotherBy(ends);
    }
  }

  async #anotherBy(ends: number): Promise<Connection> {
    const connection = await within(this.#another(), ends - performance.now());
    if (connection !== LATE) return connection;
    throw new LegacyUnreachable(`memcached at ${this.server.address} gave no connection in time.`);
  }

  /**
   * The connection that already takes what leaves in this turn of the event loop, else the least busy one; null where
   * there is none. A busy one takes one batch more at once: the new one that it makes us open is for those who come
   * later.
   */
  #ready(): Connection | null {
    if (this.#closed) throw new FerryError("CLOSED", "The legacy store was closed.");
    let best: Connection | null = null;
    let usable = 0;
    for (const connection of this.#open) {
      if (!connection.usable) continue;
      if (connection.gathering) return connection;
      usable++;
      if (best === null || connection.load < best.load) best = connection;
    }
    const mayHaveMore = best !== null && best.load > 0 && usable < this.options.connections;
    if (mayHaveMore && performance.now() >= this.#again) void this.#another();
    return best;
  }

  /**
   * A connection of somebody's own, fenced like all. Making one asks the server and the control store, so one is made at
   * a time, and not without end: who is refused has the shared ones.
   */
  async relay(): Promise<RelayConnection> {
    if (this.#closed) throw new FerryError("CLOSED", "The legacy store was closed.");
    if (this.#openingRelay || this.#relays.size >= MOST_RELAYS) {
      throw new LegacyUnreachable(`memcached at ${this.server.address} gets no connection for a relay now.`);
    }
    this.#openingRelay = true;
    try {
      const connection = await Connection.open(this.server, this.options.fence, this.options.deadline);
      const socket = connection.handOver();
      this.#relays.add(connection);
      socket.once("close", () => this.#relays.delete(connection));
      if (this.#closed) connection.destroy();
      const settled = () => {
        connection.destroy();
        return this.#settler.settled(connection);
      };
      return { socket, settled };
    } finally {
      this.#openingRelay = false;
    }
  }

  close(): void {
    this.#closed = true;
    for (const connection of this.#relays) connection.destroy();
    this.#settler.close();
    for (const connection of this.#open) connection.retire();
    // Whoever still waits for an answer has a deadline; a server that hangs must not keep the process alive.
    setTimeout(() => {
      for (const connection of this.#open) connection.destroy();
    }, this.options.deadline).unref();
  }

  /** One attempt at a time, which all callers share. */
  #another(): Promise<Connection> {
    this.#opening ??= Connection.open(this.server, this.options.fence, this.options.deadline)
      .then((connection) => {
        if (this.#closed) connection.destroy();
        this.#open.add(connection);
        this.facts = connection.facts;
        connection.socket.once("close", () => this.#open.delete(connection));
        return connection;
      })
      .finally(() => {
        this.#opening = null;
      });
    this.#opening.catch(() => {
      this.#again = performance.now() + AGAIN;
    });
    return this.#opening;
  }

  async #exchange(commands: readonly Command[], kind: "read" | "write", ends = this.deadline()): Promise<Replies> {
    const connection = this.#ready() ?? (await this.connection(ends));
    return this.#exchangeOver(connection, commands, kind, ends);
  }

  async #exchangeOver(
    connection: Connection,
    commands: readonly Command[],
    kind: "read" | "write",
    ends: number,
  ): Promise<Replies> {
    const answer = await connection.send(commands, ends);
    if (answer.kind === "replies") return answer;
    const what = `memcached at ${this.server.address} ${answer.kind === "late" ? "did not answer in time" : "broke the connection"}`;
    const over = this.#abandon(connection, answer);
    if (kind === "read") throw new LegacyUnreachable(`${what}.`);
    throw new OutcomeUnknown(`${what}; a change may or may not have been made.`, over);
  }

  /** Takes a connection with an unanswered command out of use; resolves when the command is over. */
  async #abandon(connection: Connection, answer: Answer): Promise<void> {
    connection.retire();
    if (answer.kind === "late") {
      const late = await within(answer.eventually, this.options.deadline);
      if (late !== LATE && late.kind === "replies") return;
    }
    connection.destroy();
    await this.#settler.settled(connection);
  }
}
