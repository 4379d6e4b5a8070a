import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { PostgresClient } from "../control/postgres-client.js";
import { FerryError } from "../errors.js";
import { ControlUnreachable } from "../ports/control-store.js";
import { type Fence, NO_FENCE } from "../ports/fence.js";
import { LegacyUnreachable, OutcomeUnknown } from "../ports/legacy-store.js";
import { LATE, within } from "./deadline.js";
import { isTransient, refused, shownUrl, unreachable } from "./postgres-errors.js";
import { Settler, STARTED, type Unanswered } from "./postgres-settle.js";
import {
  fits,
  MARKER,
  quoteTable,
  type Statement,
  type Statements,
  statementsFor,
  type TableNames,
} from "./postgres-sql.js";

export interface PostgresLinkOptions {
  readonly url: string;
  readonly table: TableNames;
  readonly connections: number;
  /** Milliseconds a caller waits at most. */
  readonly deadline: number;
  readonly preparedStatements: boolean;
  readonly applicationName: string;
  readonly fence?: Fence;
}

/** What is learned about a new connection before its first use. */
interface Standing {
  readonly pid: number;
  readonly started: string;
  /** A pooler stands between us and the backend. */
  readonly pooled: boolean;
  readonly statements: Statements;
  /** Server's clock minus our monotonic one, in milliseconds; never too large. */
  clockOffset: number;
  /** When the fence was last passed, by our monotonic clock. */
  fencedAt: number;
}

interface Held {
  readonly client: pg.PoolClient;
  readonly standing: Standing;
}

type Answer =
  | { readonly kind: "rows"; readonly rows: Record<string, unknown>[]; readonly count: number }
  | { readonly kind: "refused"; readonly error: pg.DatabaseError }
  /** The connection cannot be used any more; `why` ends a sentence about the server. */
  | { readonly kind: "lost"; readonly why: string };

type Choose = (statements: Statements) => Statement;

const IDLE_FOR = 300_000;

/** How long closed connections may take to say goodbye before they are cut. */
const GOODBYE = 1_000;

/** Milliseconds until a caller that the fence could not answer looks for a connection again. */
const AGAIN = 25;

const GREETING = `${MARKER} SELECT pg_backend_pid() AS pid,
  (SELECT ${STARTED} FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS started,
  (SELECT format_type(atttypid, NULL) FROM pg_attribute
    WHERE attrelid = to_regclass($1::text) AND attname = $2) AS value_type`;

const GREETED = {
  name: "greeting",
  row: { pid: "number", started: "string", value_type: "string or null" },
  least: 1,
} as const;

const CLOCK = `${MARKER} SELECT (extract(epoch from clock_timestamp()) * 1000)::float8 AS now`;

/**
 * Connections to PostgreSQL that know what became of every statement.
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
 */
export class PostgresLink {
  readonly where: string;
  readonly #pool: pg.Pool;
  readonly #settler: Settler;
  readonly #standings = new WeakMap<pg.ClientBase, Standing>();
  readonly #fence: Fence;
  readonly #open = new Set<pg.Client>();
  /** Those that the fence let pass. */
  readonly #standing = new Set<pg.Client>();
  #closing: Promise<void> | null = null;

  constructor(private readonly options: PostgresLinkOptions) {
    const url = parse(options.url);
    this.where = shownUrl(url);
    this.#fence = options.fence ?? NO_FENCE;
    // The name by which an eviction finds our connections is not the URL's to choose.
    for (const name of ["application_name", "fallback_application_name"]) url.searchParams.delete(name);
    const connection: pg.ClientConfig = { connectionString: url.href, keepAlive: true };
    this.#settler = new Settler(connection, options.deadline);
    this.#pool = new pg.Pool({
      ...connection,
      Client: PostgresClient,
      application_name: options.applicationName,
      max: options.connections,
      connectionTimeoutMillis: options.deadline,
      idleTimeoutMillis: IDLE_FOR,
      onConnect: (client) => this.#greet(client as pg.Client),
    });
    // An idle connection that breaks is dropped by the pool; the next call makes another.
    this.#pool.on("error", () => {});
    // One listener for each connection being made.
    this.#pool.setMaxListeners(0);
  }

  /** How long a change may take effect after the fence was last asked, behind a pooler; milliseconds. */
  get lease(): number {
    return 2 * this.options.deadline;
  }

  /** True once a connection was made and found to run through a pooler. */
  pooled = false;

  async read<T>(choose: Choose, values: readonly unknown[], deadline = this.options.deadline): Promise<T[]> {
    const { rows } = await this.#run("read", choose, values, deadline);
    return rows as T[];
  }

  /** Adds the last parameter of every change, the moment after which it does nothing. Resolves with its row count too. */
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
    await this.#pool.end();
    // A server that hangs does not answer a goodbye, and its connections would keep the process alive.
    const left = [...this.#open];
    await within(Promise.all(left.map((client) => new Promise((resolve) => client.once("end", resolve)))), GOODBYE);
    for (const client of this.#open)
      (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
  }

  async #run(kind: "read" | "write", choose: Choose, values: readonly unknown[], deadline: number) {
    const ends = performance.now() + deadline;
    for (let attempt = 1; ; attempt++) {
      const held = await this.#acquire(ends);
      const notAfter = this.#notAfter(held.standing);
      const given = kind === "write" ? [...values, notAfter] : values;
      const sent = this.#send(held.client, choose(held.standing.statements), given);
      const answer = await within(sent, ends - performance.now());
      if (answer === LATE || answer.kind === "lost") {
        const over = this.#abandon(held, sent, notAfter, kind);
        const what = answer === LATE ? "did not answer in time" : answer.why;
        if (kind === "read") throw new LegacyUnreachable(`${this.where} ${what}.`);
        throw new OutcomeUnknown(`${this.where} ${what}; a change may or may not have been made.`, over);
      }
      held.client.release();
      if (answer.kind === "rows") return answer;
      if (attempt > 1 || !isTransient(answer.error)) throw refused(answer.error);
      // The other party of a deadlock must get its turn, or the same two would block each other again.
      await delay(20 + Math.random() * 60);
    }
  }

  /** A connection that may be used, or an error that says that nothing was sent. */
  async #acquire(ends: number): Promise<Held> {
    if (this.#closing !== null) throw new FerryError("CLOSED", "The legacy store was closed.");
    const client = await this.#fromPool(ends).catch((cause: unknown) => {
      throw unreachable(cause, this.where);
    });
    if (client === LATE) throw new LegacyUnreachable(`${this.where} gave no connection in time.`);
    // While it is held, a break is told to the statement on it; unheard, the event would end the process.
    if (client.listenerCount("error") === 0) client.on("error", () => {});
    const standing = this.#standings.get(client)!;
    const age = performance.now() - standing.fencedAt;
    if (standing.pooled && age > this.lease / 2) {
      const failure = await within(this.#passFence(client, standing), ends - performance.now()).then(
        (answer) => (answer === LATE ? this.#notRenewed() : null),
        (cause: unknown) => unreachable(cause, this.where),
      );
      if (failure !== null) {
        client.release(true);
        throw failure;
      }
    }
    return { client, standing };
  }

  /**
   * A connection that the pool has, or makes. The fence refuses a new one, or holds it up, while the control store is
   * away; the older ones go on serving, so whoever met that takes one of them as soon as it comes free.
   */
  async #fromPool(ends: number): Promise<pg.PoolClient | typeof LATE> {
    for (;;) {
      const { idleCount, waitingCount, totalCount } = this.#pool;
      const grows = idleCount === 0 && waitingCount === 0 && totalCount > 0 && totalCount < this.options.connections;
      const connecting = grows ? this.#orFreed(this.#pool.connect()) : this.#pool.connect();
      try {
        const client = await within(connecting, ends - performance.now());
        // Whoever asked has gone; the connection goes to the next one.
        if (client === LATE) connecting.then((late) => late.release()).catch(() => {});
        return client;
      } catch (error) {
        const left = ends - performance.now();
        if (!(error instanceof ControlUnreachable) || this.#standing.size === 0 || left <= 0) throw error;
        await delay(Math.min(left, AGAIN));
      }
    }
  }

  /** The connection being made, or one that comes free before: the other goes back to the pool. */
  #orFreed(connecting: Promise<pg.PoolClient>): Promise<pg.PoolClient> {
    const pool = this.#pool;
    return new Promise((resolve, reject) => {
      let given = false;
      const give = (client: pg.PoolClient) => {
        pool.removeListener("release", freed);
        if (given) client.release();
        given = true;
        resolve(client);
      };
      // The pool tells before it takes the connection back.
      const freed = () =>
        setImmediate(() => {
          if (!given && pool.idleCount > 0) pool.connect().then(give, () => {});
        });
      pool.on("release", freed);
      connecting.then(give, (error) => {
        pool.removeListener("release", freed);
        reject(error);
      });
    });
  }

  /** The pool's hook: learns what stands behind a new connection, then asks the fence. A rejection destroys it. */
  async #greet(client: pg.Client): Promise<void> {
    this.#open.add(client);
    client.once("end", () => {
      this.#open.delete(client);
      this.#standing.delete(client);
    });
    const { table, deadline } = this.options;
    const greeting = client.query({ text: GREETING, values: [quoteTable(table.name), table.value] });
    const answer = await within(greeting, deadline);
    if (answer === LATE) throw new LegacyUnreachable(`${this.where} took a connection and did not answer.`);
    if (!fits({ ...GREETED, text: GREETING }, answer.rows)) {
      throw new LegacyUnreachable(`${this.where} does not tell who it is.`);
    }
    const row = answer.rows[0] as { pid: number; started: string; value_type: string | null };
    const pooled = row.pid !== (client as unknown as { processID: number }).processID;
    const statements = statementsFor(table, row.value_type);
    const standing: Standing = { pid: row.pid, started: row.started, pooled, statements, clockOffset: 0, fencedAt: 0 };
    this.pooled = pooled;
    if ((await within(this.#passFence(client, standing), deadline)) === LATE) throw this.#notRenewed();
    this.#standings.set(client, standing);
    this.#standing.add(client);
  }

  /** The clocks are compared anew each time, because a machine that slept may have stopped counting. */
  async #passFence(client: pg.ClientBase, standing: Standing): Promise<void> {
    if (standing.pooled) {
      const { rows } = await client.query(CLOCK);
      standing.clockOffset = (rows[0] as { now: number }).now - performance.now();
    }
    // Counted from before the question: the registration may end right after the answer was given.
    const asked = performance.now();
    await this.#fence({ store: "legacy", endpoint: null });
    standing.fencedAt = asked;
  }

  #notRenewed(): LegacyUnreachable {
    return new LegacyUnreachable(`${this.where}: this node's registration could not be renewed in time.`);
  }

  #notAfter(standing: Standing): number {
    if (!standing.pooled) return Number.POSITIVE_INFINITY;
    return standing.fencedAt + standing.clockOffset + this.lease;
  }

  #send(client: pg.PoolClient, statement: Statement, values: readonly unknown[]): Promise<Answer> {
    return new Promise((resolve) => {
      const lost = () => resolve({ kind: "lost", why: "broke the connection" });
      client.once("end", lost);
      const answered = (answer: Answer) => {
        client.removeListener("end", lost);
        resolve(answer);
      };
      const query: pg.QueryConfig = { text: statement.text, values: [...values] };
      if (this.options.preparedStatements) query.name = statement.name;
      client.query(query, (error: Error | null, result) => {
        if (!error) {
          const { command, rows, rowCount } = result;
          const isAnswer = command !== null && fits(statement, rows);
          answered(
            isAnswer
              ? { kind: "rows", rows, count: rowCount ?? 0 }
              : { kind: "lost", why: "gave no answer to the question" },
          );
        } else if (error instanceof pg.DatabaseError) {
          // Told again as `drain` when the server is ready for the next statement; `end` comes instead if it is not.
          client.once("drain", () => answered({ kind: "refused", error }));
        } else lost();
      });
    });
  }

  /** Takes a connection with an unanswered statement out of use; resolves when the statement is over. */
  async #abandon(
    { client, standing }: Held,
    sent: Promise<Answer>,
    notAfter: number,
    kind: "read" | "write",
  ): Promise<void> {
    const { pid, started, pooled } = standing;
    const statement: Unanswered = pooled ? { pooled, notAfter } : { pooled, pid, started };
    const cancelled = this.#settler.cancel(statement);
    // It may only be waiting for a lock: another deadline's time to answer saves the connection.
    const answer = await within(sent, this.options.deadline);
    if (answer !== LATE && answer.kind !== "lost") {
      await cancelled;
      // A cancellation may still be on its way to that backend and would hit whatever it runs next.
      client.release(!pooled);
      return;
    }
    client.release(true);
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
