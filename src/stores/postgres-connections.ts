import type { Socket } from "node:net";
import pg from "pg";
import { PostgresClient } from "../control/postgres-client.js";
import { secretsOf } from "../control/redact.js";
import { FerryError } from "../errors.js";
import { ControlUnreachable } from "../ports/control-store.js";
import { type Fence, NO_FENCE } from "../ports/fence.js";
import { LegacyUnreachable } from "../ports/legacy-store.js";
import { LATE, within } from "./deadline.js";
import { shownUrl, unreachable } from "./postgres-errors.js";
import { STARTED } from "./postgres-settle.js";
import { fits, MARKER, quoteTable, type Statements, statementsFor, type TableNames } from "./postgres-sql.js";

export interface PostgresConnectionOptions {
  readonly table: TableNames;
  readonly connections: number;
  /** Milliseconds a caller waits at most. */
  readonly deadline: number;
  readonly applicationName: string;
  readonly fence?: Fence;
}

/** A connection that the fence let pass, and what was learned about it before its first use. */
export interface Held {
  readonly client: pg.Client;
  readonly pid: number;
  readonly started: string;
  /** A pooler stands between us and the backend. */
  readonly pooled: boolean;
  readonly statements: Statements;
  /** Statements are not prepared any more, because the server did not know one that was. */
  forgets: boolean;
  /** Called when the connection ends, by whoever uses it. */
  ended: () => void;
  /** Server's clock minus our monotonic one, in milliseconds; never too large. */
  clockOffset: number;
  /** When the fence was last passed, by our monotonic clock. */
  fencedAt: number;
  /** When it came free, by our monotonic clock. */
  freeSince: number;
  /** Whether the pool has given it to us. */
  ours: boolean;
}

interface Waiting {
  /** Whether a connection was asked of the pool on its account. */
  asked: boolean;
  /** Why there was none for him yet, where others stand that he may get. */
  refusal: Error | null;
  give(held: Held): void;
  fail(error: unknown): void;
}

const IDLE_FOR = 300_000;
/** How long a connection stays at hand before it goes back to the pool, which closes it when it is not used; about. */
const AT_HAND = 1_000;
/** How long closed connections may take to say goodbye before they are cut. */
const GOODBYE = 1_000;
/** Milliseconds until a connection is tried again for callers that the fence could not answer. */
const AGAIN = 25;
/** The same where the server gave none. */
const LATER = 250;

const GREETING = `${MARKER} SELECT pg_backend_pid() AS pid,
  (SELECT ${STARTED} FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS started,
  pg_is_in_recovery() AS standby,
  (SELECT format_type(atttypid, NULL) FROM pg_attribute
    WHERE attrelid = to_regclass($1::text) AND attname = $2) AS value_type`;

const GREETED = {
  name: "greeting",
  text: GREETING,
  row: { pid: "number", started: "string", standby: "boolean", value_type: "string or null" },
  least: 1,
} as const;

const STANDBY = `${MARKER} SELECT pg_is_in_recovery() AS standby`;

interface Greeted {
  readonly pid: number;
  readonly started: string;
  readonly standby: boolean;
  readonly value_type: string | null;
}

const CLOCK = `${MARKER} SELECT (extract(epoch from clock_timestamp()) * 1000)::float8 AS now`;

/**
 * Connections that may be used, for callers who take their turn.
 *
 * The driver's pool makes and closes them. Between two statements a connection stays here, at hand: giving it back to
 * the pool and asking for it again costs timers and listeners for every statement, a good part of what a statement
 * costs this process. It goes on to the caller that has waited longest, else it is the next one's without a wait.
 *
 * The fence refuses a new connection, or holds it up, while the control store is away; the older ones go on serving, and
 * whoever waits takes the first that comes free.
 */
export class PostgresConnections {
  readonly where: string;
  /** What no error may tell. */
  readonly secrets: readonly string[];
  readonly #pool: pg.Pool;
  readonly #fence: Fence;
  readonly #greeted = new WeakMap<pg.ClientBase, Held>();
  readonly #open = new Set<pg.Client>();
  /** Those that the fence let pass. */
  readonly #standing = new Set<pg.Client>();
  /** The one that was used last comes last. */
  readonly #free: Held[] = [];
  readonly #waiting: Waiting[] = [];
  #tidying: NodeJS.Timeout | undefined;
  #closed = false;
  /** True once a connection was made and found to run through a pooler. */
  pooled = false;

  constructor(
    connection: pg.ClientConfig,
    url: URL,
    private readonly options: PostgresConnectionOptions,
  ) {
    this.where = shownUrl(url);
    this.secrets = secretsOf(url.href);
    this.#fence = options.fence ?? NO_FENCE;
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
    // There is room for another one.
    this.#pool.on("remove", () => this.#ask());
  }

  /** How long a change may take effect after the fence was last asked, behind a pooler; milliseconds. */
  get lease(): number {
    return 2 * this.options.deadline;
  }

  /** Whether a caller would be given a connection at once. */
  get hasFree(): boolean {
    return this.#free.length > 0;
  }

  /** A connection that may be used now, without a wait; null where there is none. */
  take(): Held | null {
    const held = this.#free.pop();
    return held === undefined || this.#isStale(held) ? this.#putBack(held) : held;
  }

  /** A connection that may be used, by then at the latest, or an error that says that nothing was sent. */
  async acquire(ends: number): Promise<Held> {
    if (this.#closed) throw new FerryError("CLOSED", "The legacy store was closed.");
    const held = this.#free.pop() ?? (await this.#turn(ends));
    if (!this.#isStale(held)) return held;
    const failure = await within(this.#passFence(held), ends - performance.now()).then(
      (answer) => (answer === LATE ? this.#notRenewed() : null),
      (cause: unknown) => unreachable(cause, this.where, this.secrets),
    );
    if (failure === null) return held;
    this.discard(held);
    throw failure;
  }

  /** The next one's. */
  free(held: Held): void {
    if (!this.#open.has(held.client) || (this.#closed && this.#waiting.length === 0)) {
      this.discard(held);
      return;
    }
    held.ended = () => this.#drop(held);
    const next = this.#waiting[0];
    if (next !== undefined) {
      next.give(held);
      return;
    }
    held.freeSince = performance.now();
    this.#free.push(held);
    this.#tidyLater();
  }

  /** The next one's, but where the server takes no changes because it has become a standby. */
  async freeUnlessStandby(held: Held): Promise<void> {
    const asked = held.client.query<Pick<Greeted, "standby">>(STANDBY).then(
      ({ rows }) => rows[0]?.standby === false,
      () => false,
    );
    if ((await within(asked, this.options.deadline)) === true) this.free(held);
    else this.discard(held);
  }

  /** It is not to be used again. */
  discard(held: Held): void {
    this.#giveBack(held, true);
  }

  async end(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#tidying);
    for (const held of this.#free.splice(0)) this.discard(held);
    await this.#pool.end();
    // A server that hangs does not answer a goodbye, and its connections would keep the process alive.
    const left = [...this.#open];
    await within(Promise.all(left.map((client) => new Promise((resolve) => client.once("end", resolve)))), GOODBYE);
    for (const client of this.#open)
      (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
  }

  /** Behind a pooler the fence is asked again as time goes by. */
  #isStale({ pooled, fencedAt }: Held): boolean {
    return pooled && performance.now() - fencedAt > this.lease / 2;
  }

  #putBack(held: Held | undefined): null {
    if (held !== undefined) this.#free.push(held);
    return null;
  }

  #turn(ends: number): Promise<Held> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer);
        const at = this.#waiting.indexOf(waiting);
        if (at >= 0) this.#waiting.splice(at, 1);
      };
      const waiting: Waiting = {
        asked: false,
        refusal: null,
        give: (held) => {
          leave();
          resolve(held);
        },
        fail: (error) => {
          leave();
          reject(error);
        },
      };
      const late = () =>
        waiting.fail(waiting.refusal ?? new LegacyUnreachable(`${this.where} gave no connection in time.`));
      const timer = setTimeout(late, Math.max(0, ends - performance.now()));
      this.#waiting.push(waiting);
      this.#ask();
    });
  }

  /** Asks the pool for a connection for each caller that waits, as many as there may be. */
  #ask(): void {
    for (const waiting of this.#waiting) {
      const { idleCount, waitingCount, totalCount } = this.#pool;
      if (this.#closed || (idleCount <= waitingCount && totalCount >= this.options.connections)) return;
      if (waiting.asked) continue;
      waiting.asked = true;
      // The driver reads the files that a URL names, and throws where it cannot.
      (async () => this.#pool.connect())().then(
        (client) => {
          const held = this.#greeted.get(client)!;
          held.ours = true;
          this.free(held);
        },
        (error: unknown) => this.#failed(waiting, error),
      );
    }
  }

  #failed(waiting: Waiting, error: unknown): void {
    const refusal = unreachable(error, this.where, this.secrets);
    if (this.#standing.size > 0) {
      // One of those that stand will be free, be it that the server gives no more of them.
      waiting.asked = false;
      waiting.refusal = refusal;
      setTimeout(() => this.#ask(), error instanceof ControlUnreachable ? AGAIN : LATER).unref();
    } else {
      waiting.fail(refusal);
      this.#ask();
    }
  }

  /** To the pool, which destroys a connection that is not fit for use. */
  #giveBack(held: Held, isUnfit = false): void {
    if (!held.ours) return;
    held.ours = false;
    held.ended = () => {};
    (held.client as pg.PoolClient).release(isUnfit);
  }

  #drop(held: Held): void {
    const at = this.#free.indexOf(held);
    if (at >= 0) this.#free.splice(at, 1);
    this.discard(held);
  }

  #tidyLater(): void {
    this.#tidying ??= setTimeout(() => {
      this.#tidying = undefined;
      const since = performance.now() - AT_HAND;
      while (this.#free.length > 0 && this.#free[0]!.freeSince < since) {
        this.#giveBack(this.#free.shift()!);
      }
      if (this.#free.length > 0) this.#tidyLater();
    }, AT_HAND).unref();
  }

  /** The pool's hook: learns what stands behind a new connection, then asks the fence. A rejection destroys it. */
  async #greet(client: pg.Client): Promise<void> {
    this.#open.add(client);
    client.once("end", () => {
      this.#open.delete(client);
      this.#standing.delete(client);
      this.#greeted.get(client)?.ended();
    });
    const { table, deadline } = this.options;
    const greeting = client.query({ text: GREETING, values: [quoteTable(table.name), table.value] });
    const answer = await within(greeting, deadline);
    if (answer === LATE) throw new LegacyUnreachable(`${this.where} took a connection and did not answer.`);
    if (!fits(GREETED, answer.rows)) throw new LegacyUnreachable(`${this.where} does not tell who it is.`);
    const { pid, started, standby, value_type } = answer.rows[0] as Greeted;
    // What it has not heard of yet is no absence, and what it still has may have been logged out.
    if (standby) throw new LegacyUnreachable(`${this.where} is a standby, which may be behind.`);
    const pooled = pid !== (client as unknown as { processID: number }).processID;
    const held: Held = {
      client,
      pid,
      started,
      pooled,
      statements: statementsFor(table, value_type, pooled),
      forgets: false,
      ended: () => {},
      clockOffset: 0,
      fencedAt: 0,
      freeSince: 0,
      ours: false,
    };
    this.pooled = pooled;
    if ((await within(this.#passFence(held), deadline)) === LATE) throw this.#notRenewed();
    this.#greeted.set(client, held);
    this.#standing.add(client);
  }

  /** The clocks are compared anew each time, because a machine that slept may have stopped counting. */
  async #passFence(held: Held): Promise<void> {
    if (held.pooled) {
      const { rows } = await held.client.query(CLOCK);
      held.clockOffset = (rows[0] as { now: number }).now - performance.now();
    }
    // Counted from before the question: the registration may end right after the answer was given.
    const asked = performance.now();
    await this.#fence({ store: "legacy", endpoint: null });
    held.fencedAt = asked;
  }

  #notRenewed(): LegacyUnreachable {
    return new LegacyUnreachable(`${this.where}: this node's registration could not be renewed in time.`);
  }
}
