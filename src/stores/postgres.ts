import { isUtf8 } from "node:buffer";
import { setTimeout as delay } from "node:timers/promises";
import type { RowShape } from "../control/postgres-rows.js";
import type { Session, Sid } from "../core/session.js";
import { FerryError } from "../errors.js";
import { connectionName, type Fence } from "../ports/fence.js";
import {
  type Applied,
  type ConditionalChange,
  LegacyRefused,
  type LegacyStore,
  LegacyUnreachable,
  type ListOptions,
  OutcomeUnknown,
  type Token,
} from "../ports/legacy-store.js";
import type { LegacyPreset } from "../ports/preset.js";
import { describeTable, type PostgresFacts } from "./postgres-describe.js";
import { PostgresGets, type Row, toSession } from "./postgres-gets.js";
import { PostgresLink } from "./postgres-link.js";
import { MARKER, quoteTable, type Statement, type TableNames } from "./postgres-sql.js";

export interface PostgresLegacyOptions {
  /** postgres://user:password@host:port/database, with pg's own parameters. */
  readonly url: string;
  readonly preset: LegacyPreset;
  /** Where the sessions are not in the preset's table; may have its schema in front. */
  readonly table?: string;
  /** The node's id; its connections carry it in their application_name. */
  readonly node: string;
  /** Connections of this process at most. */
  readonly connections: number;
  /** Milliseconds that a call takes at most. */
  readonly deadline: number;
  /** The same for statements over the whole table (listing, counting, pruning); a minute unless said. */
  readonly slowDeadline?: number;
  /** Named statements behind a pooler, too: one that knows them. */
  readonly preparedStatements?: boolean;
  readonly fence?: Fence;
  /** Told of a value that `applyIf` could not write because the table refuses it; its change counts as refused. */
  readonly report?: (error: FerryError, sid: Sid) => void;
}

interface PostgresToken extends Token {
  /** The row's xmin, and when the server started. */
  readonly stamp: string;
}

const SLOW = 60_000;
const PRUNE_BATCH = 1_000;
const PRUNE_BATCHES = 100;
const LOOK_AGAIN = 50;

const statement = (name: string, text: string, row: RowShape = {}): Statement => ({
  name: `sessionferry:${name}`,
  text: `${MARKER} ${text}`,
  row,
  least: Object.keys(row).length > 0 ? 1 : 0,
});

const WHO = `(SELECT oid FROM pg_database WHERE datname = current_database()) || ':' || to_regclass($1::text)::oid`;
// A write-ahead log file is named by its timeline first, right after a promotion too.
const IDENTITY = statement(
  "identity",
  `SELECT (SELECT system_identifier FROM pg_control_system()) || ':' || ` +
    `substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || ':' || ${WHO} AS identity`,
  { identity: "string or null" },
);
const LESSER_IDENTITY = statement("lesserIdentity", `SELECT ${WHO} AS identity`, { identity: "string or null" });

const DISCONNECT = statement(
  "disconnect",
  "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
);
const CONNECTIONS = statement(
  "connections",
  "SELECT count(*)::int AS count FROM pg_stat_activity WHERE application_name = $1 AND ($2 OR state <> 'idle')",
  { count: "number" },
);

/** Text in PostgreSQL holds no U+0000, so a sid with one is never there. */
const canBeThere = (sid: Sid): boolean => !sid.includes("\0");

/** A session table in PostgreSQL as L. Opens no connection before the first call. */
export function openPostgresLegacy(options: PostgresLegacyOptions): PostgresLegacyStore {
  return new PostgresLegacyStore(options);
}

export class PostgresLegacyStore implements LegacyStore {
  readonly kind = "postgres";
  readonly lossy = false;
  readonly expiryGranularity = 1;
  readonly #link: PostgresLink;
  readonly #gets: PostgresGets;
  readonly #table: TableNames;
  readonly #slow: number;

  constructor(private readonly options: PostgresLegacyOptions) {
    const { preset } = options;
    if (preset.table === undefined)
      throw new FerryError("CONFIG_INVALID", `${preset.name} is no preset for PostgreSQL.`);
    const { url, connections, deadline, node, fence } = options;
    this.#table = { ...preset.table, name: options.table ?? preset.table.name };
    this.#slow = Math.max(deadline, options.slowDeadline ?? SLOW);
    this.#link = new PostgresLink({
      url,
      table: this.#table,
      connections,
      deadline,
      preparedStatements: options.preparedStatements ?? false,
      applicationName: connectionName(node),
      fence,
    });
    this.#gets = new PostgresGets(this.#link, deadline);
  }

  async get(sid: Sid): Promise<Session | null> {
    return canBeThere(sid) ? this.#gets.get(sid) : null;
  }

  async getMany(sids: readonly Sid[]): Promise<(Session | null)[]> {
    if (sids.length === 0) return [];
    const rows = await this.#link.read<Row>((s) => s.getMany, [sids.filter(canBeThere)]);
    const found = new Map(rows.map((row) => [row.sid, toSession(row)]));
    return sids.map((sid) => found.get(sid) ?? null);
  }

  async holds(sids: readonly Sid[]): Promise<boolean[]> {
    if (sids.length === 0) return [];
    const rows = await this.#link.read<{ sid: string }>((s) => s.holds, [sids.filter(canBeThere)]);
    const found = new Set(rows.map((row) => row.sid));
    return sids.map((sid) => found.has(sid));
  }

  async set(sid: Sid, session: Session): Promise<void> {
    const values = [sid, textOf(session), session.expiresAt];
    const { count } = await this.#link.write((s) => s.set, values);
    if (count === 0) throw tooLate();
  }

  touch(sid: Sid, expiresAt: number): Promise<boolean> {
    return this.#change((s) => s.touch, sid, expiresAt);
  }

  destroy(sid: Sid): Promise<boolean> {
    return this.#change((s) => s.destroy, sid);
  }

  async tokens(sids: readonly Sid[]): Promise<(Token | null)[]> {
    if (sids.length === 0) return [];
    const wanted = sids.filter(canBeThere);
    const { rows } = await this.#link
      .write<{ sid: string; token: string }>((s) => s.tokens, [wanted])
      .catch((error: unknown) => {
        // A placeholder that may or may not have been made changes nothing for anybody.
        throw error instanceof OutcomeUnknown ? new LegacyUnreachable(error.message) : error;
      });
    const found = new Map(rows.map((row): [Sid, PostgresToken] => [row.sid, { sid: row.sid, stamp: row.token }]));
    return sids.map((sid) => found.get(sid) ?? null);
  }

  /**
   * A change whose value the table refuses is reported, too; in a batch it does not hold up the others.
   */
  async applyIf(changes: readonly ConditionalChange[]): Promise<Applied[]> {
    if (changes.length === 0) return [];
    // A second change of one sid cannot hold: the first one makes an end of its token.
    const first = new Map<Sid, ConditionalChange>();
    for (const change of changes) if (!first.has(change.token.sid)) first.set(change.token.sid, change);
    const outcomes = await this.#applyAll([...first.values()]);
    const outcomeOf = ({ token }: ConditionalChange) => outcomes.get(token.sid) ?? "changed";
    return changes.map((change) => (first.get(change.token.sid) === change ? outcomeOf(change) : "changed"));
  }

  async *list(options: ListOptions): AsyncIterable<Sid[]> {
    const { pageSize, signal } = options;
    for (let after = options.after; ; ) {
      signal?.throwIfAborted();
      const rows =
        after === undefined
          ? await this.#link.read<{ sid: string }>((s) => s.firstPage, [pageSize], this.#slow)
          : await this.#link.read<{ sid: string }>((s) => s.nextPage, [pageSize, after], this.#slow);
      const page = rows.map((row) => row.sid);
      if (page.length > 0) yield page;
      if (page.length < pageSize) return;
      after = page.at(-1);
    }
  }

  async count(): Promise<number> {
    const [row] = await this.#link.read<{ count: number }>((s) => s.count, [], this.#slow);
    return row!.count;
  }

  async prune(goOn: () => boolean = () => true): Promise<number> {
    let pruned = 0;
    for (let batch = 0; batch < PRUNE_BATCHES && goOn(); batch++) {
      const { count } = await this.#link.write((s) => s.prune, [PRUNE_BATCH], this.#slow);
      pruned += count;
      if (count < PRUNE_BATCH) break;
    }
    return pruned;
  }

  /**
   * System identifier, timeline, database and table; of these the first two only where the role may ask for them (some
   * managed services refuse), so that a failover goes unseen there.
   */
  async identity(): Promise<string> {
    const table = [quoteTable(this.#table.name)];
    const read = (which: Statement) => this.#link.read<{ identity: string | null }>(() => which, table);
    const [row] = await read(IDENTITY).catch((error: unknown) => {
      if (error instanceof LegacyUnreachable) throw error;
      return read(LESSER_IDENTITY);
    });
    if (row?.identity == null) throw new FerryError("TABLE_UNSUITABLE", `There is no table ${table[0]}.`);
    return `postgres:${row.identity}`;
  }

  async now(): Promise<number> {
    const [row] = await this.#link.read<{ now: number }>((s) => s.now, []);
    return Math.round(row!.now);
  }

  /** Behind a pooler it takes as long as the evicted node's changes may still take effect: twice the deadline. */
  async disconnectNode(node: string): Promise<boolean> {
    const name = connectionName(node);
    // Without the right to end them they may still end by themselves.
    await this.#link.read(() => DISCONNECT, [name]).catch(rethrowUnreachable);
    if (this.#link.pooled) await delay(this.#link.lease);
    for (const ends = performance.now() + this.options.deadline; performance.now() < ends; await delay(LOOK_AGAIN)) {
      // A pooler's own connections stay, and may carry the name of whoever used them last.
      const [row] = await this.#link.read<{ count: number }>(() => CONNECTIONS, [name, !this.#link.pooled]);
      if (row!.count === 0) return true;
    }
    return false;
  }

  /** For the doctor. Rejects with TABLE_UNSUITABLE, naming what is missing. */
  describe(): Promise<PostgresFacts> {
    return describeTable(this.#link, this.#table, this.#slow);
  }

  close(): Promise<void> {
    return this.#link.close();
  }

  async #change(choose: Parameters<PostgresLink["write"]>[0], sid: Sid, ...values: unknown[]): Promise<boolean> {
    if (!canBeThere(sid)) return false;
    const { rows, count } = await this.#link.write<{ done: boolean; timely?: boolean }>(choose, [sid, ...values]);
    const [row] = rows;
    if (row?.timely === false) throw tooLate();
    return row === undefined ? count > 0 : row.done;
  }

  /** By sid; those are not named whose token does not stand any more. */
  async #applyAll(changes: readonly ConditionalChange[]): Promise<Map<Sid, Applied>> {
    try {
      const { rows } = await this.#link.write<{ sid: string }>(
        (s) => s.applyIf,
        [
          changes.map(({ token }) => token.sid),
          changes.map(({ token }) => (token as PostgresToken).stamp),
          changes.map(({ session }) => (session === null ? null : textOf(session))),
          changes.map(({ session }) => session?.expiresAt ?? 0),
        ],
      );
      return new Map(rows.map((row) => [row.sid, "applied"]));
    } catch (error) {
      const unfit = unfitness(error);
      if (unfit === null) throw error;
      if (changes.length === 1) {
        this.options.report?.(unfit, changes[0]!.token.sid);
        return new Map([[changes[0]!.token.sid, "refused"]]);
      }
      // Somewhere among them: mostly it is one of many.
      const half = Math.ceil(changes.length / 2);
      const first = await this.#applyAll(changes.slice(0, half));
      return new Map([...first, ...(await this.#applyAll(changes.slice(half)))]);
    }
  }
}

const UNFIT: ReadonlySet<string> = new Set(["VALUE_INVALID", "VALUE_TOO_LARGE", "KEY_TOO_LONG"]);
/** SQLSTATE classes that speak of what was written: data, constraints, and what a trigger says. */
const SPEAKS_OF_DATA = /^(22|23|P0)/;

/** What the table has against a value that was written; null where the error is about something else. */
function unfitness(error: unknown): FerryError | null {
  if (error instanceof FerryError) return UNFIT.has(error.code) ? error : null;
  if (!(error instanceof LegacyRefused) || !SPEAKS_OF_DATA.test(error.code)) return null;
  return new FerryError("LEGACY_REFUSED", error.message, { cause: error });
}

function textOf(session: Session): string {
  if (!isUtf8(session.value)) throw new FerryError("VALUE_INVALID", "A session's value is not text, let alone JSON.");
  return session.value.toString("utf8");
}

function tooLate(): LegacyUnreachable {
  return new LegacyUnreachable("The change reached PostgreSQL after its time and was not made.");
}

function rethrowUnreachable(error: unknown): void {
  if (error instanceof LegacyUnreachable) throw error;
}
