import { FerryError } from "../../errors.js";
import { type CallLimits, RedisRefused, RedisUnreachable } from "../../ports/redis-records.js";
import type { Connection, Conversation } from "./connection.js";
import { NoAnswer, settled } from "./failures.js";
import { Waiters } from "./waiters.js";

/** Milliseconds between two attempts to connect; drawn anew each time, so that a fleet does not come back at once. */
const RETRY = { least: 100, most: 250 };

/** One call while it is under way. */
export class Call {
  #expired = false;

  constructor(
    readonly connection: Conversation,
    private readonly until: number,
    private readonly whole?: Call,
  ) {}

  /** True once the caller was told that no answer came: nothing more may be sent for it. */
  get expired(): boolean {
    return this.whole?.expired ?? this.#expired;
  }

  expire(): void {
    this.#expired = true;
  }

  /** Milliseconds, at least one. */
  get left(): number {
    return Math.max(1, Math.floor(this.until - performance.now()));
  }

  /** To be asked before anything that a call sends after its first answer. */
  check(): void {
    if (this.expired) throw new RedisUnreachable("Redis did not answer in time.", true);
  }

  /** The same call to a server that a slot is on its way to. */
  asking(): Call {
    return new Call(this.connection.asking(), this.until, this);
  }
}

/**
 * Keeps one connection to R as well as may be, and gives every call its deadline. A call is sent once or not at all:
 * nothing is queued beyond the deadline and nothing is ever repeated.
 */
export class Link {
  #connection: Connection | null = null;
  /** Why the last attempt failed, or the connection broke; null before the first attempt has ended. */
  #failure: Error | null = null;
  #ended = false;
  /** Connections that are over for us and perhaps not for R. */
  #predecessors: readonly Connection[] = [];
  /** A call ran out of time, and not a single answer has come since. */
  #stalled = false;
  #wake: () => void = () => {};
  readonly #waiting = new Waiters();
  /** Resolves with the first attempt's end: null when it succeeded. */
  readonly first: Promise<Error | null>;

  constructor(readonly connect: () => Promise<Connection>) {
    this.first = new Promise((resolve) => {
      void this.#keepConnected(resolve);
    });
  }

  async run<T>(limits: CallLimits, perform: (call: Call) => Promise<T>): Promise<T> {
    const until = performance.now() + limits.deadline;
    if (this.#stalled && !limits.hold) throw new RedisUnreachable("Redis does not answer.", false);
    const connection = this.#connection ?? (await this.#connected(until, limits.hold));
    return this.#within(connection, new Call(connection, until), perform);
  }

  /** Of the server; null while there is no connection. */
  get runId(): string | null {
    return this.#connection?.run ?? null;
  }

  get isConnected(): boolean {
    return this.#connection !== null;
  }

  end(): void {
    this.#ended = true;
    this.#wake();
    this.#connection?.close();
    this.#connection = null;
    this.#waiting.wake();
  }

  async #connected(until: number, hold: boolean): Promise<Connection> {
    for (;;) {
      if (this.#ended) throw new FerryError("CLOSED", "The connection to Redis was closed.");
      if (this.#connection !== null) return this.#connection;
      const left = until - performance.now();
      if (left <= 0 || (this.#failure !== null && !hold)) throw this.#unreachable();
      await this.#waiting.wait(left);
    }
  }

  #unreachable(): RedisUnreachable {
    const cause = this.#failure ?? undefined;
    return new RedisUnreachable(cause?.message ?? "There is no connection to Redis yet.", false, { cause });
  }

  #within<T>(connection: Connection, call: Call, perform: (call: Call) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const expire = () => {
        if (call.expired) return;
        call.expire();
        if (this.#connection === connection) this.#stalled = true;
        reject(new RedisUnreachable("Redis did not answer in time.", true));
      };
      // An answer may lie unread while this process was busy: it is looked at before the deadline counts.
      let immediate: NodeJS.Immediate | undefined;
      const timer = setTimeout(() => {
        immediate = setImmediate(expire);
      }, call.left);
      const settle = (act: () => void) => {
        clearTimeout(timer);
        clearImmediate(immediate);
        if (!call.expired) act();
      };
      // An answer that comes too late is swallowed, but it shows that R answers again; also where the call had more to ask
      // and must not any more. (Or the connection broke, and the next one is asked.)
      const answered = () => {
        if (this.#connection === connection) this.#stalled = false;
      };
      perform(call).then(
        (answer) => {
          answered();
          settle(() => resolve(answer));
        },
        (failure: unknown) => {
          const error = settled(failure);
          answered();
          // Questions and answers are out of step.
          if (error instanceof NoAnswer) this.#leave(connection, error);
          // A master that became a replica stays one: the next attempt asks who the master is now.
          if (error instanceof RedisRefused && error.message.includes("READONLY")) this.#leave(connection, error);
          settle(() => reject(error));
        },
      );
    });
  }

  #leave(connection: Connection, reason: Error): void {
    if (this.#connection !== connection) return;
    this.#connection = null;
    this.#stalled = false;
    this.#failure = reason;
    connection.close();
    this.#waiting.wake();
  }

  async #keepConnected(first: (failure: Error | null) => void): Promise<void> {
    while (!this.#ended) {
      try {
        const connection = await this.connect();
        if (this.#ended) return connection.close();
        const predecessors = this.#predecessors;
        this.#predecessors = [...predecessors, connection];
        // Where this fails the connection is broken, and the next one outlives it, too.
        await connection.outlive(predecessors);
        this.#predecessors = [connection];
        if (this.#ended) return connection.close();
        this.#connection = connection;
        this.#stalled = false;
        this.#failure = null;
        first(null);
        this.#waiting.wake();
        const since = performance.now();
        await connection.closed;
        this.#leave(connection, new Error("The connection to Redis broke."));
        if (performance.now() - since > RETRY.most) continue;
      } catch (error) {
        this.#failure = error as Error;
        first(this.#failure);
        this.#waiting.wake();
      }
      await this.#pause();
    }
  }

  #pause(): Promise<void> {
    const { least, most } = RETRY;
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, least + Math.random() * (most - least));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
