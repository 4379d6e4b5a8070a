import type pg from "pg";
import { PostgresClient } from "../control/postgres-client.js";
import { MARKER } from "./postgres-sql.js";

/**
 * Finds out when a statement that was sent and not answered can no longer take effect.
 *
 * Directly connected, that is when its backend is gone: we destroyed our end of the connection, but the backend may
 * still have the statement in its socket, be running it, or wait for a lock. So it is told to end, and asked for by pid
 * and start time over another connection until it is not listed any more; a backend leaves the list only after its
 * transaction ended. A restarted PostgreSQL lists none of the old ones.
 *
 * Behind a pooler the backend is not known. There every change carries the moment after which it does nothing, and it
 * is settled when the server's clock has passed that moment and no transaction of ours that began before is running.
 */
export type Unanswered =
  | { readonly pooled: false; readonly pid: number; readonly started: string }
  | { readonly pooled: true; readonly notAfter: number };

const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 2_000;

/** A backend's start in whole microseconds: with the pid it names a backend for good, also across restarts. */
export const STARTED = "(extract(epoch from backend_start) * 1000000)::bigint::text";

const LOOK = `${MARKER} SELECT pg_is_in_recovery() AS standby, (extract(epoch from clock_timestamp()) * 1000)::float8 AS now,
  ARRAY(SELECT pid || ':' || ${STARTED} FROM pg_stat_activity WHERE pid = ANY($1::int[])) AS present,
  (SELECT (extract(epoch from min(coalesce(xact_start, '-infinity'))) * 1000)::float8 FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid() AND state <> 'idle'
    AND (query LIKE '${MARKER}%' OR state = 'disabled')) AS oldest`;

const END = `${MARKER} SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
  JOIN unnest($1::int[], $2::text[]) AS w(pid, started) ON a.pid = w.pid AND ${STARTED} = w.started`;

const CANCEL = `${MARKER} SELECT pg_cancel_backend(a.pid) FROM pg_stat_activity a
  WHERE a.pid = $1 AND ${STARTED} = $2`;

interface Look {
  readonly standby: boolean;
  readonly now: number;
  readonly present: string[];
  readonly oldest: number | null;
}

/** One for all statements of a store: an outage leaves hundreds unanswered, and one question settles them all. */
export class Settler {
  readonly #waiting = new Map<Unanswered, () => void>();
  #running = false;
  #closed = false;
  #wake: () => void = () => {};

  /** @param connection how to reach the same server; @param patience milliseconds for connecting and each question. */
  constructor(
    private readonly connection: pg.ClientConfig,
    private readonly patience: number,
  ) {}

  /** Resolves when the statement is over. Its own connection must have been destroyed before. */
  settled(statement: Unanswered): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.set(statement, resolve);
      void this.#run();
    });
  }

  /** Asks PostgreSQL to give a statement up; best effort. */
  async cancel(statement: Unanswered): Promise<void> {
    if (statement.pooled || this.#closed) return;
    await this.#ask(CANCEL, [statement.pid, statement.started]).catch(() => {});
  }

  /** Stops asking: what is not settled by now stays so. */
  close(): void {
    this.#closed = true;
    this.#wake();
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (let pause = FIRST_PAUSE; this.#waiting.size > 0 && !this.#closed; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      const before = this.#waiting.size;
      await this.#round([...this.#waiting.keys()]).catch(() => {});
      if (this.#waiting.size < before) pause = FIRST_PAUSE;
      else await this.#sleep(pause);
    }
    this.#running = false;
  }

  async #round(statements: readonly Unanswered[]): Promise<void> {
    const direct = statements.filter((statement) => !statement.pooled);
    const pids = direct.map((statement) => statement.pid);
    const starts = direct.map((statement) => statement.started);
    // Without the right to end a backend we still wait for it to end by itself.
    if (direct.length > 0) await this.#ask(END, [pids, starts]).catch(() => {});
    const [look] = await this.#ask<Look>(LOOK, [pids]);
    // A standby knows nothing of the backends of its master, which may be alive.
    if (look === undefined || look.standby) return;
    for (const statement of statements) {
      const over = statement.pooled
        ? look.now > statement.notAfter && (look.oldest === null || look.oldest > statement.notAfter)
        : !look.present.includes(`${statement.pid}:${statement.started}`);
      if (!over) continue;
      this.#waiting.get(statement)?.();
      this.#waiting.delete(statement);
    }
  }

  async #ask<T extends object>(text: string, values: unknown[]): Promise<T[]> {
    const client = new PostgresClient({
      ...this.connection,
      // Not the node's name: an eviction need not wait for connections that never touch a session.
      application_name: "sessionferry",
      connectionTimeoutMillis: this.patience,
      query_timeout: this.patience,
    });
    client.on("error", () => {});
    try {
      await client.connect();
      return (await client.query<T>(text, values)).rows;
    } finally {
      void client.end().catch(() => {});
    }
  }

  #sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
