import { FerryError } from "../../errors.js";
import type { Fence } from "../../ports/fence.js";
import { LegacyUnreachable, OutcomeUnknown } from "../../ports/legacy-store.js";
import { LATE, within } from "../deadline.js";
import { type Answer, Connection } from "./connection.js";
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

/**
 * The connections to one server. A call takes its deadline at most: without a connection by then nothing was sent
 * (`LegacyUnreachable`); sent and not answered, or the connection lost, is the same for a read, which changes nothing,
 * and `OutcomeUnknown` for a write, settled when it is answered late or its connection has certainly ended.
 */
export class MemcachedLink {
  readonly #settler: Settler;
  readonly #open = new Set<Connection>();
  #opening: Promise<Connection> | null = null;
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
    const ends = this.deadline();
    return this.#exchange(await this.connection(ends), commands, "read", ends);
  }

  async write(commands: readonly Command[]): Promise<readonly Reply[]> {
    const ends = this.deadline();
    return this.#exchange(await this.connection(ends), commands, "write", ends);
  }

  /** Over this very connection; null, and nothing sent, when it has ended. */
  async writeOver(
    connection: Connection,
    commands: readonly Command[],
    ends = this.deadline(),
  ): Promise<readonly Reply[] | null> {
    return connection.usable ? this.#exchange(connection, commands, "write", ends) : null;
  }

  /** A usable connection, the least busy one. Rejects with LegacyUnreachable or what kept it from being made. */
  async connection(ends = this.deadline()): Promise<Connection> {
    if (this.#closed) throw new FerryError("CLOSED", "The legacy store was closed.");
    const usable = [...this.#open].filter((connection) => connection.usable);
    const best = usable.reduce<Connection | null>(
      (least, connection) => (least === null || connection.load < least.load ? connection : least),
      null,
    );
    if (best !== null && (best.load === 0 || usable.length >= this.options.connections)) return best;
    const opening = this.#another();
    // A busy connection takes one batch more at once; the new one is for those who come later.
    if (best !== null) return best;
    const connection = await within(opening, ends - performance.now());
    if (connection === LATE)
      throw new LegacyUnreachable(`memcached at ${this.server.address} gave no connection in time.`);
    return connection;
  }

  close(): void {
    this.#closed = true;
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
        connection.socket.once("close", () => this.#open.delete(connection));
        return connection;
      })
      .finally(() => {
        this.#opening = null;
      });
    this.#opening.catch(() => {});
    return this.#opening;
  }

  async #exchange(
    connection: Connection,
    commands: readonly Command[],
    kind: "read" | "write",
    ends: number,
  ): Promise<readonly Reply[]> {
    const sent = connection.send(commands);
    const answer = await within(sent, ends - performance.now());
    if (answer !== LATE && answer.kind === "replies") return answer.replies;
    const what = `memcached at ${this.server.address} ${answer === LATE ? "did not answer in time" : "broke the connection"}`;
    const over = this.#abandon(connection, sent);
    if (kind === "read") throw new LegacyUnreachable(`${what}.`);
    throw new OutcomeUnknown(`${what}; a change may or may not have been made.`, over);
  }

  /** Takes a connection with an unanswered command out of use; resolves when the command is over. */
  async #abandon(connection: Connection, sent: Promise<Answer>): Promise<void> {
    connection.retire();
    const answer = await within(sent, this.options.deadline);
    if (answer !== LATE && answer.kind === "replies") return;
    connection.destroy();
    await this.#settler.settled(connection);
  }
}
