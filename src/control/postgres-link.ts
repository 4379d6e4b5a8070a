import pg from "pg";
import { FerryError } from "../errors.js";
import { ControlUnreachable, NotSetUp } from "../ports/control-store.js";
import { type ControlOptions, connectionNameOf, DEFAULT_DEADLINE } from "./options.js";
import { PostgresClient } from "./postgres-client.js";
import { cleanCause, codeOf, secretsOf, shownUrl } from "./redact.js";

export type Row = Record<string, unknown>;
export type Statement = (text: string, values?: readonly unknown[]) => Promise<Row[]>;

/** How often a statement is repeated that the server took back because of a concurrent one (nothing had changed). */
const REPETITIONS = 8;
/** How long `close` waits for a server that does not answer its goodbye. */
const GOODBYE = 500;

/**
 * The few connections of one process to the control database, one deadline over everything, and every failure turned
 * into one of ours. Statements are unnamed and leave no session state, so that PgBouncer may deal out a server
 * connection per transaction.
 */
export class PostgresLink {
  readonly deadline: number;
  readonly #pool: pg.Pool;
  readonly #clients = new Set<pg.PoolClient>();
  /** The role that statements run as, for GRANT lines. */
  readonly #role: string;
  readonly #shown: string;
  readonly #secrets: readonly string[];
  #closed: Promise<void> | null = null;

  constructor(url: string, options: ControlOptions) {
    this.deadline = options.deadline ?? DEFAULT_DEADLINE;
    this.#shown = shownUrl(url);
    this.#secrets = secretsOf(url);
    const config: pg.PoolConfig = {
      Client: PostgresClient,
      // A name in the URL would replace ours, by which an eviction finds the connection.
      connectionString: url.replace(/([?&])application_name=[^&#]*/g, "$1"),
      application_name: connectionNameOf(options.node),
      max: 2,
      connectionTimeoutMillis: this.deadline,
      idleTimeoutMillis: 30_000,
      keepAlive: true,
    };
    this.#role = this.#roleOf(config);
    this.#pool = new pg.Pool(config);
    // A connection that breaks while idle is nobody's failure: the pool makes a new one for the next statement.
    this.#pool.on("error", () => {});
    this.#pool.on("connect", (client) => this.#clients.add(client));
    this.#pool.on("remove", (client) => this.#clients.delete(client));
  }

  /** One statement, one round trip. */
  async query(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    const end = performance.now() + this.deadline;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#with(end, async (statement) => {
          const rows = await statement(text, values);
          // Where more is said than one statement asks for, the driver gives a list of results.
          if (!Array.isArray(rows)) throw new Error("gave more answers than there were questions");
          return rows;
        });
      } catch (error) {
        if (!isTakenBack(error) || attempt === REPETITIONS) throw this.#translate(error);
      }
    }
  }

  /**
   * Several statements in one transaction; each has the whole deadline. Only setup and destroy need it. A failure ends
   * the connection, and with it the transaction.
   */
  async transaction<T>(work: (statement: Statement) => Promise<T>): Promise<T> {
    try {
      return await this.#with(null, async (statement) => {
        await statement("BEGIN ISOLATION LEVEL READ COMMITTED");
        const result = await work(statement);
        await statement("COMMIT");
        return result;
      });
    } catch (error) {
      throw this.#translate(error);
    }
  }

  /** Ends the connections, politely as long as the server answers. */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  /** The user that the driver would log in as; finds out on the way whether it can read the URL at all. */
  #roleOf(config: pg.PoolConfig): string {
    try {
      return new pg.Client(config).user ?? "";
    } catch (error) {
      // The parser's error holds the URL with its password, so it is no cause to keep.
      const { code, syscall } = error as NodeJS.ErrnoException;
      if (syscall !== undefined) {
        throw new FerryError(
          "CONFIG_INVALID",
          `A file that control.url names cannot be read (${code}): ${this.#shown}`,
        );
      }
      throw new FerryError("CONFIG_INVALID", `control.url is no PostgreSQL URL: ${this.#shown}`);
    }
  }

  /** Runs `work` on one connection, which is thrown away if anything goes wrong on it. */
  async #with<T>(end: number | null, work: (statement: Statement) => Promise<T>): Promise<T> {
    const client = await this.#connect();
    let failure: Error | undefined;
    let sent = false;
    const onError = (error: Error) => {
      failure = error;
    };
    client.on("error", onError);
    try {
      return await work(async (text, values = []) => {
        const left = end === null ? this.deadline : end - performance.now();
        if (left <= 0) throw new Error("no connection was free within the deadline");
        sent = true;
        const query: pg.QueryConfig & { query_timeout: number } = {
          text,
          values: [...values],
          query_timeout: Math.ceil(left),
        };
        return (await client.query<Row>(query)).rows;
      });
    } catch (error) {
      failure ??= error instanceof Error ? error : new Error(String(error));
      throw Object.assign(failure, { sent });
    } finally {
      client.off("error", onError);
      client.release(failure);
    }
  }

  /** The pool's own limit starts anew when a caller that waited must connect itself, so ours stands over both. */
  async #connect(): Promise<pg.PoolClient> {
    if (this.#closed !== null) throw new FerryError("CLOSED", "the control store was closed");
    let late = false;
    let timer: NodeJS.Timeout | undefined;
    const connecting = this.#pool.connect();
    connecting.then(
      (client) => late && client.release(),
      () => {},
    );
    const timeout = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        late = true;
        reject(new Error(`no connection within ${this.deadline} ms`));
      }, this.deadline);
    });
    try {
      return await Promise.race([connecting, timeout]);
    } finally {
      clearTimeout(timer);
    }
  }

  #translate(error: unknown): Error {
    if (error instanceof FerryError || error instanceof NotSetUp || error instanceof ControlUnreachable) return error;
    const cause = cleanCause(error, this.#secrets);
    const state = sqlState(error);
    const at = `the control store ${this.#shown}`;
    if (isMissing(state, cause.message)) return new NotSetUp(`${at} has no tables of sessionferry`, { cause });
    if (state === "28P01" || state === "28000" || cause.message.startsWith("SASL")) {
      return new FerryError("AUTHENTICATION_FAILED", `${at} refused the login: ${cause.message}`, { cause });
    }
    if (state === "3D000") return new FerryError("CONFIG_INVALID", `${at}: ${cause.message}`, { cause });
    if (state === "42501") return this.#forbidden(at, cause);
    if (state !== null && !isTemporary(state)) {
      return new FerryError("CONTROL_REFUSED", `${at} refused a statement (${state}): ${cause.message}`, { cause });
    }
    const sent = (error as { sent?: boolean }).sent === true && (state === null || /^(08|57P)/.test(state));
    return new ControlUnreachable(`${at} cannot be reached: ${cause.message}`, { sent, cause });
  }

  #forbidden(at: string, cause: Error): FerryError {
    const role = pg.escapeIdentifier(this.#role);
    return new FerryError("GUARD_REFUSED", `${at} lacks rights: ${cause.message}`, {
      cause,
      remedy: [
        "As the owner of the schema run, then repeat the command:",
        `GRANT USAGE ON SCHEMA sessionferry TO ${role};`,
        `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA sessionferry TO ${role};`,
        `GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA sessionferry TO ${role};`,
      ].join("\n"),
    });
  }

  async #end(): Promise<void> {
    const ended = this.#pool.end().catch(() => {});
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, GOODBYE);
    });
    await Promise.race([ended, patience]);
    clearTimeout(timer);
    for (const client of this.#clients) streamOf(client)?.destroy();
  }
}

/** PostgreSQL's five-character code; null for errors that are the network's or the driver's. */
function sqlState(error: unknown): string | null {
  const code = codeOf(error);
  return code !== undefined && /^(?=.*\d)[0-9A-Z]{5}$/.test(code) ? code : null;
}

/** Serialization failure or deadlock: the server undid the statement and asks for it again. */
function isTakenBack(error: unknown): boolean {
  const state = sqlState(error);
  return state === "40001" || state === "40P01";
}

/** No such table, schema or function of ours. */
function isMissing(state: string | null, message: string): boolean {
  return state === "42P01" || state === "3F000" || (state === "42883" && message.includes("sessionferry."));
}

/**
 * States of the server in which the same statement may succeed later: connection trouble, out of memory, disk or
 * connections, locked, shutting down or starting, cancelled, input or output errors, read-only (a standby).
 */
function isTemporary(state: string): boolean {
  return /^(08|40|53|55|57|58|XX)/.test(state) || state === "25006";
}

function streamOf(client: pg.PoolClient): { destroy(): void } | undefined {
  return (client as unknown as { connection?: { stream?: { destroy(): void } } }).connection?.stream;
}
