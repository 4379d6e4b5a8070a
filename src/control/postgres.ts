import {
  type ControlChange,
  type ControlRecord,
  type ControlStore,
  type LedgerEntry,
  NodeIdTaken,
  type NodeInfo,
  type NodeRegistration,
  type NodeReport,
  NotSetUp,
  type Renewal,
} from "../ports/control-store.js";
import { encode } from "./json.js";
import type { ControlOptions } from "./options.js";
import { PostgresLink, type Row } from "./postgres-link.js";
import { type RowShape, rowsFit } from "./postgres-rows.js";
import { applyMigrations, removeMigration } from "./postgres-schema.js";
import { decoded, decodedObject, NO_REPORT, soundRecord, span, unreadable } from "./record.js";
import { codeOf } from "./redact.js";

const NOW = "(extract(epoch FROM clock_timestamp()) * 1000)::double precision";
const millis = (column: string) => `round(extract(epoch FROM ${column}) * 1000)::double precision`;
const age = (column: string) => `extract(epoch FROM clock_timestamp() - ${column}) * 1000`;
const recordOf = (alias: string) =>
  ["revision", "phase", "percent", "pending::text AS pending", "generation", "interrupted"]
    .map((column) => `${alias}.${column}`)
    .join(", ");

const RECORD: RowShape = { revision: "string or null" };
const NODE: RowShape = {
  id: "string",
  role: "string",
  protocol: "number",
  host: "string",
  pid: "number",
  version: "string",
  state: "string",
  report: "string or null",
  joined_at: "number",
  renewed_at: "number",
};

/**
 * The control store in PostgreSQL. Every method is one statement in autocommit; whatever must see a concurrent change
 * does so by the lock of a row that the statement itself writes. Each statement ends in a look at the record, so that
 * "not set up" is told apart from "nothing there".
 */
export class PostgresControlStore implements ControlStore {
  readonly kind = "postgres";
  readonly #link: PostgresLink;
  readonly #migration: string;

  constructor(url: string, options: ControlOptions) {
    this.#link = new PostgresLink(url, options);
    this.#migration = options.migration;
  }

  setup(initial: ControlChange): Promise<boolean> {
    return this.#link.transaction(async (statement) => {
      await applyMigrations(statement);
      const made = await statement(
        `INSERT INTO sessionferry.control_record (migration, revision, phase, percent, pending, generation, interrupted)
         VALUES ($1, 1, $2, $3, $4, $5, $6) ON CONFLICT (migration) DO NOTHING RETURNING revision`,
        [this.#migration, ...columnsOf(initial)],
      );
      return made.length > 0;
    });
  }

  async read(): Promise<ControlRecord> {
    const text = `SELECT ${recordOf("r")} FROM sessionferry.control_record r WHERE migration = $1`;
    const [row] = await this.#there(RECORD, text);
    return this.#record(row);
  }

  async compareAndSet(revision: number, next: ControlChange): Promise<ControlRecord | null> {
    const [row] = await this.#there(
      RECORD,
      `WITH changed AS (
         UPDATE sessionferry.control_record SET revision = revision + 1, phase = $3, percent = $4, pending = $5,
           generation = $6, interrupted = $7, changed_at = clock_timestamp()
         WHERE migration = $1 AND revision = $2 RETURNING *
       )
       SELECT ${recordOf("changed")} FROM sessionferry.control_record r LEFT JOIN changed USING (migration)
       WHERE r.migration = $1`,
      [revision, ...columnsOf(next)],
    );
    return row.revision === null ? null : this.#record(row);
  }

  async join(node: NodeRegistration, options: { presence: number }): Promise<ControlRecord> {
    const { id, role, protocol, host, pid, version } = node;
    try {
      const [row] = await this.#there(
        RECORD,
        `SELECT ${recordOf("r")} FROM sessionferry.join_fleet($1, $2, $3, $4, $5, $6, $7, $8) r`,
        [id, role, protocol, host, pid, version, span(options.presence)],
      );
      return this.#record(row);
    } catch (error) {
      if (codeOf((error as Error).cause) !== "23505") throw error;
      throw new NodeIdTaken(`the node id ${id} is registered already`);
    }
  }

  async renew(node: string, report: NodeReport, options: { overdueAfter: number }): Promise<Renewal> {
    // A renewal that a crash of the server takes back only looks older than it was, so it need not wait for the disk.
    const [row] = await this.#there(
      { accepted: "boolean", overdue: "list" },
      `WITH renewed AS (
         UPDATE sessionferry.nodes SET renewed_at = clock_timestamp(), report = $3
         WHERE migration = $1 AND id = $2 AND state = 'live' RETURNING id
       )
       SELECT ${recordOf("r")}, EXISTS (SELECT FROM renewed) AS accepted,
         ARRAY(SELECT id FROM sessionferry.nodes
               WHERE migration = $1 AND id <> $2 AND state = 'live' AND ${age("renewed_at")} > $4
               ORDER BY id COLLATE "C") AS overdue,
         set_config('synchronous_commit', 'off', true)
       FROM sessionferry.control_record r WHERE migration = $1`,
      [node, encode(report), span(options.overdueAfter)],
    );
    return { record: this.#record(row), accepted: row.accepted as boolean, overdue: row.overdue as string[] };
  }

  async leave(node: string): Promise<void> {
    await this.#remove("DELETE FROM sessionferry.nodes WHERE migration = $1 AND id = $2 AND state = 'live'", [node]);
  }

  async nodes(): Promise<NodeInfo[]> {
    const rows = await this.#there(
      { id: "string or null" },
      `SELECT n.id, role, protocol, host, pid, version, state, report::text AS report,
         ${millis("joined_at")} AS joined_at, ${millis("renewed_at")} AS renewed_at
       FROM sessionferry.control_record r LEFT JOIN sessionferry.nodes n USING (migration)
       WHERE r.migration = $1 ORDER BY n.joined_at, n.id`,
    );
    return rows.filter((row) => row.id !== null).map(nodeOf);
  }

  async evict(node: string, { overdueAfter }: { overdueAfter?: number } = {}): Promise<void> {
    await this.#remove(
      `UPDATE sessionferry.nodes SET state = 'evicted'
       WHERE migration = $1 AND id = $2 AND ($3::float8 IS NULL OR ${age("renewed_at")} > $3)`,
      [node, overdueAfter === undefined ? null : span(overdueAfter)],
    );
  }

  async forget(node: string): Promise<void> {
    await this.#remove("DELETE FROM sessionferry.nodes WHERE migration = $1 AND id = $2 AND state = 'evicted'", [node]);
  }

  async lock(name: string, holder: string, ttl: number): Promise<boolean> {
    const [row] = await this.#there(
      { taken: "boolean" },
      `WITH taken AS (
         INSERT INTO sessionferry.locks AS held (migration, name, holder, until)
         SELECT migration, $2, $3, clock_timestamp() + $4 * interval '1 millisecond'
         FROM sessionferry.control_record WHERE migration = $1
         ON CONFLICT (migration, name) DO UPDATE
           SET holder = excluded.holder, until = clock_timestamp() + $4 * interval '1 millisecond'
           WHERE held.holder = excluded.holder OR held.until <= clock_timestamp()
         RETURNING name
       )
       SELECT EXISTS (SELECT FROM taken) AS taken FROM sessionferry.control_record WHERE migration = $1`,
      [name, holder, span(ttl)],
    );
    return row.taken as boolean;
  }

  async unlock(name: string, holder: string): Promise<void> {
    const statement = "DELETE FROM sessionferry.locks WHERE migration = $1 AND name = $2 AND holder = $3";
    await this.#remove(statement, [name, holder]);
  }

  async getDocument<T>(kind: string, id: string): Promise<T | null> {
    const [row] = await this.#there(
      { body: "string or null" },
      `SELECT d.body::text AS body FROM sessionferry.control_record r
       LEFT JOIN sessionferry.documents d ON d.migration = r.migration AND d.kind = $2 AND d.id = $3
       WHERE r.migration = $1`,
      [kind, id],
    );
    return row.body === null ? null : decoded<T>(row.body, `document (${kind})`);
  }

  async putDocument(kind: string, id: string, body: unknown): Promise<void> {
    await this.#there(
      { kind: "string" },
      `INSERT INTO sessionferry.documents (migration, kind, id, body)
       SELECT migration, $2, $3, $4 FROM sessionferry.control_record WHERE migration = $1
       ON CONFLICT (migration, kind, id) DO UPDATE SET body = excluded.body, put = DEFAULT
       RETURNING kind`,
      [kind, id, encode(body)],
    );
  }

  async deleteDocument(kind: string, id: string): Promise<void> {
    const statement = "DELETE FROM sessionferry.documents WHERE migration = $1 AND kind = $2 AND id = $3";
    await this.#remove(statement, [kind, id]);
  }

  async listDocuments<T>(kind: string, limit: number): Promise<{ id: string; body: T }[]> {
    const rows = await this.#there(
      { id: "string or null", body: "string or null" },
      `SELECT d.id, d.body::text AS body FROM sessionferry.control_record r
       LEFT JOIN sessionferry.documents d ON d.migration = r.migration AND d.kind = $2
       WHERE r.migration = $1 ORDER BY d.put DESC LIMIT greatest($3::bigint, 1)`,
      [kind, limit],
    );
    return rows
      .filter((row) => row.id !== null)
      .slice(0, limit)
      .map((row) => ({ id: row.id as string, body: decoded<T>(row.body, `document (${kind})`) }));
  }

  async append(entry: Omit<LedgerEntry, "at">): Promise<void> {
    await this.#there(
      { number: "string" },
      `INSERT INTO sessionferry.ledger (migration, by, action, detail)
       SELECT migration, $2, $3, $4 FROM sessionferry.control_record WHERE migration = $1 RETURNING number`,
      [entry.by, entry.action, encode(entry.detail)],
    );
  }

  async ledger(limit: number, skip = 0): Promise<LedgerEntry[]> {
    const rows = await this.#there(
      { at: "number or null", by: "string or null", action: "string or null", detail: "string or null" },
      `SELECT ${millis("l.at")} AS at, l.by, l.action, l.detail::text AS detail FROM sessionferry.control_record r
       LEFT JOIN (SELECT * FROM sessionferry.ledger WHERE migration = $1
         ORDER BY number DESC LIMIT greatest($2::bigint, 1) OFFSET $3::bigint) l USING (migration)
       WHERE r.migration = $1 ORDER BY l.number DESC`,
      [limit, skip],
    );
    return rows
      .filter((row) => row.at !== null)
      .slice(0, limit)
      .map((row) => ({ ...(row as Row & LedgerEntry), detail: decodedObject(row.detail, "line of the ledger") }));
  }

  async now(): Promise<number> {
    const [row] = await this.#link.query(`SELECT ${NOW} AS now`);
    const now = Math.round(row?.now as number);
    if (!Number.isFinite(now)) throw unreadable("reply");
    return now;
  }

  destroy(): Promise<void> {
    return this.#link.transaction((statement) => removeMigration(statement, this.#migration));
  }

  close(): Promise<void> {
    return this.#link.close();
  }

  /** Runs a statement whose rows come from the record: no row means that there is none. */
  async #there(shape: RowShape, text: string, values: readonly unknown[] = []): Promise<[Row, ...Row[]]> {
    const rows = await this.#link.query(text, [this.#migration, ...values]);
    if (!rowsFit(shape, rows)) throw unreadable("reply");
    const [first, ...rest] = rows;
    if (first === undefined) throw new NotSetUp(`there is no control record of ${this.#migration}`);
    return [first, ...rest];
  }

  /** What should be gone is gone where there is nothing at all. */
  async #remove(text: string, values: readonly unknown[]): Promise<void> {
    try {
      await this.#link.query(text, [this.#migration, ...values]);
    } catch (error) {
      if (!(error instanceof NotSetUp)) throw error;
    }
  }

  #record(row: Row): ControlRecord {
    const { revision, phase, percent, pending, generation, interrupted } = row;
    return soundRecord(this.#migration, {
      revision: Number(revision),
      position: { phase, percent },
      pending: pending === null ? null : decoded(pending, `record of ${this.#migration}`),
      generation,
      interrupted,
    });
  }
}

/** Phase, percent, pending, generation, interrupted: as the statements number them. */
function columnsOf({ position, pending, generation, interrupted }: ControlChange): unknown[] {
  return [position.phase, position.percent, pending === null ? null : encode(pending), generation, interrupted];
}

function nodeOf(row: Row): NodeInfo {
  if (!rowsFit(NODE, [row])) throw unreadable("node");
  const { id, role, protocol, host, pid, version, state } = row as Row & NodeInfo;
  const report = row.report === null ? NO_REPORT : decodedObject<NodeReport>(row.report, "node's report");
  const joinedAt = row.joined_at as number;
  return { id, role, protocol, host, pid, version, state, report, joinedAt, renewedAt: row.renewed_at as number };
}
