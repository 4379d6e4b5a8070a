import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { FerryError } from "../errors.js";
import { LegacyUnreachable, OutcomeUnknown } from "../ports/legacy-store.js";
import { LATE, within } from "./deadline.js";
import { type Held, type PostgresConnectionOptions, PostgresConnections } from "./postgres-connections.js";
import { forgotten, isTransient, READ_ONLY, refused } from "./postgres-errors.js";
import { Settler, type Unanswered } from "./postgres-settle.js";
import { fits, type Statement, type Statements } from "./postgres-sql.js";

export interface PostgresLinkOptions extends PostgresConnectionOptions {
  readonly url: string;
  /** Behind a pooler, too. */
  readonly preparedStatements: boolean;
}

type Answer =
  | { readonly kind: "rows"; readonly rows: Record<string, unknown>[]; readonly count: number }
  | { readonly kind: "refused"; readonly error: pg.DatabaseError }
  /** The connection cannot be used any more; `why` ends a sentence about the server. */
  | { readonly kind: "lost"; readonly why: string };

type Choose = (statements: Statements) => Statement;
/** Asked for when a connection is there, so that what has come meanwhile can go along. */
type Values = () => readonly unknown[];

/**
 * Statements that are sent to PostgreSQL, of each of which is known what became of it.
 *
 * A call takes its deadline at most. Without a connection by then, nothing was sent: `LegacyUnreachable`. Sent and not
 * answered, or its connection lost: a read changes nothing and is `LegacyUnreachable` too; a write is `OutcomeUnknown`,
 * settled when its statement is answered late or its backend is gone (postgres-settle.ts). An error that PostgreSQL
 * answered counts as a refusal only once the server says that it is ready again, since by then the statement was rolled
 * back; an error that ends the connection leaves the outcome open.
 *
 * Poolers. A pooler's client connection outlives what an eviction can end: `pg_terminate_backend` ends the pooler's
 * connection, not the node's. Behind one (told by a backend pid that is not the one we were greeted with) the fence is
 * therefore asked again as time goes by, and every change carries a moment not far from the last time it said yes,
 * after which it does nothing. A node that was evicted cannot change a session any more once that time has passed.
 *
 * Preparing. Parsing and planning are most of what PostgreSQL has to do for one session, so its statements are prepared,
 * once on each connection. Behind a pooler the next statement may meet another backend, which knows none of them; where
 * a server says so all the same, its connection goes on without.
 */
export class PostgresLink {
  readonly #connections: PostgresConnections;
  readonly #settler: Settler;
  #closing: Promise<void> | null = null;

  constructor(private readonly options: PostgresLinkOptions) {
    const url = parse(options.url);
    // The name by which an eviction finds our connections is not the URL's to choose.
    for (const name of ["application_name", "fallback_application_name"]) url.searchParams.delete(name);
    const connection: pg.ClientConfig = { connectionString: url.href, keepAlive: true };
    this.#settler = new Settler(connection, options.deadline);
    this.#connections = new PostgresConnections(connection, url, options);
  }

  /** The server, without its password. */
  get where(): string {
    return this.#connections.where;
  }

  get lease(): number {
    return this.#connections.lease;
  }

  get pooled(): boolean {
    return this.#connections.pooled;
  }

  /** Whether a statement would be sent at once. */
  get isFree(): boolean {
    return this.#connections.hasFree;
  }

  async read<T>(choose: Choose, values: readonly unknown[] | Values, deadline = this.options.deadline): Promise<T[]> {
    const { rows } = await this.#run("read", choose, values, deadline);
    return rows as T[];
  }

  /** Adds the last parameter of a timed change, the moment after which it does nothing. Resolves with its row count too. */
  async write<T>(
    choose: Choose,
    values: readonly unknown[],
    deadline = this.options.deadline,
  ): Promise<{ rows: T[]; count: number }> {
    const { rows, count } = await this.#run("write", choose, values, deadline);
    return { rows: rows as T[], count };
  }

  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  async #end(): Promise<void> {
    this.#settler.close();
    await this.#connections.end();
  }

  async #run(kind: "read" | "write", choose: Choose, values: readonly unknown[] | Values, deadline: number) {
    const ends = performance.now() + deadline;
    for (let attempt = 1; ; attempt++) {
      const held = this.#connections.take() ?? (await this.#connections.acquire(ends));
      const notAfter = this.#notAfter(held);
      const statement = choose(held.statements);
      const given = typeof values === "function" ? values() : values;
      const sent = this.#send(held, statement, statement.timed === true ? [...given, notAfter] : given);
      const answer = await within(sent, ends - performance.now());
      if (answer === LATE || answer.kind === "lost") {
        const over = this.#abandon(held, sent, notAfter, kind);
        const what = answer === LATE ? "did not answer in time" : answer.why;
        if (kind === "read") throw new LegacyUnreachable(`${this.where} ${what}.`);
        throw new OutcomeUnknown(`${this.where} ${what}; a change may or may not have been made.`, over);
      }
      if (answer.kind === "refused" && answer.error.code === READ_ONLY) void this.#connections.freeUnlessStandby(held);
      else this.#connections.free(held);
      if (answer.kind === "rows") return answer;
      const wasForgotten = !held.forgets && forgotten(answer.error);
      held.forgets ||= wasForgotten;
      if (wasForgotten) continue;
      if (attempt > 1 || !isTransient(answer.error)) throw refused(answer.error, this.#connections.secrets);
      // The other party of a deadlock must get its turn, or the same two would block each other again.
      await delay(20 + Math.random() * 60);
    }
  }

  #notAfter({ pooled, fencedAt, clockOffset }: Held): number {
    return pooled ? fencedAt + clockOffset + this.lease : Number.POSITIVE_INFINITY;
  }

  #send(held: Held, statement: Statement, values: readonly unknown[]): Promise<Answer> {
    return new Promise((resolve) => {
      const { client } = held;
      const lost = () => resolve({ kind: "lost", why: "broke the connection" });
      held.ended = lost;
      const query = new pg.Query(
        statement.text,
        values as unknown[],
        (error: Error | null | undefined, result: pg.QueryResult) => {
          if (!error) {
            const { command, rows, rowCount } = result;
            // Where more is said than one question asks for, the driver gives a list of results.
            const isAnswer =
              typeof command === "string" && command === (statement.command ?? command) && fits(statement, rows);
            resolve(
              isAnswer
                ? { kind: "rows", rows, count: rowCount ?? 0 }
                : { kind: "lost", why: "gave no answer to the question" },
            );
          } else if (error instanceof pg.DatabaseError) {
            // Told again as `drain` when the server is ready for the next statement; `end` comes instead if it is not.
            client.once("drain", () => resolve({ kind: "refused", error }));
          } else lost();
        },
      );
      if (statement.prepared && !held.forgets && (!held.pooled || this.options.preparedStatements)) {
        (query as { name?: string }).name = statement.name;
      }
      client.query(query);
    });
  }

  /** Takes a connection with an unanswered statement out of use; resolves when the statement is over. */
  async #abandon(held: Held, sent: Promise<Answer>, notAfter: number, kind: "read" | "write"): Promise<void> {
    const { pid, started, pooled } = held;
    const statement: Unanswered = pooled ? { pooled, notAfter } : { pooled, pid, started };
    const cancelled = this.#settler.cancel(statement);
    // It may only be waiting for a lock: another deadline's time to answer saves the connection.
    const answer = await within(sent, this.options.deadline);
    if (answer !== LATE && answer.kind !== "lost") {
      await cancelled;
      // A cancellation may still be on its way to that backend and would hit whatever it runs next.
      if (pooled) this.#connections.free(held);
      else this.#connections.discard(held);
      return;
    }
    this.#connections.discard(held);
    if (kind === "write") await this.#settler.settled(statement);
  }
}

function parse(url: string): URL {
  try {
    return new URL(url);
  } catch {
    throw new FerryError("CONFIG_INVALID", "legacy.url is not a URL; expected postgres://user@host:port/database.");
  }
}
