/**
 * The statements over a session table, as text. Every parameter is numbered, nothing depends on the state of a
 * connection, and each is one statement: so they work behind a pooler that gives every transaction another connection.
 *
 * Expiry. The column may be a timestamp with or without time zone. Without one, the application filled it by
 * to_timestamp() in the TimeZone of its connections, so it only means something in that TimeZone again. We never set
 * one: our connections have the defaults of the same database and role. Comparing the bare column with now(), and
 * casting it to timestamptz, both go through that TimeZone and are right for either type.
 *
 * Value. Read as text only: looking inside a json value fails for sessions that hold U+0000.
 *
 * Last parameter of a change that is `timed`: the moment after which it must no longer take effect (milliseconds since the
 * epoch by the server's clock; infinite on a direct connection). See postgres-link.ts, "Poolers". On a direct connection
 * the changes of one session go without, as plainly as an application would write them.
 *
 * Shapes. No answer has a column of the table's own type: a prepared statement whose answer changes its type with the
 * table is refused for good.
 */

import { type RowShape, rowsFit } from "../control/postgres-rows.js";

export interface TableNames {
  /** Possibly with its schema in front: `public.session`. Quotes are honoured where a name contains a dot. */
  readonly name: string;
  readonly sid: string;
  readonly value: string;
  readonly expiry: string;
}

export interface Statement {
  /** Of the prepared statement, where those are used. */
  readonly name: string;
  readonly text: string;
  readonly row?: RowShape;
  /** How many rows there are at least. */
  readonly least?: number;
  /** The word that PostgreSQL says when it has carried it out, where its number of rows is the answer. */
  readonly command?: "INSERT" | "UPDATE" | "DELETE";
  /** Whether its plan may be kept: where it finds rows by their sid, whatever else there is in the table. */
  readonly prepared?: boolean;
  readonly timed?: boolean;
}

/** Whether the driver's rows are an answer to this statement. */
export function fits({ row = {}, least = 0 }: Statement, rows: readonly Readonly<Record<string, unknown>>[]): boolean {
  return rows.length >= least && rowsFit(row, rows);
}

/** How long ago a placeholder expired when it is made, in SQL. See `tokens`. */
const PLACEHOLDER_AGE = "interval '2 hours'";
/** What a row must be expired for before it is pruned, in SQL: well beyond a fresh placeholder. */
const PRUNE_AGE = "interval '4 hours'";
/** Never shown to a reader; shaped so that even a reader that ignores expiries could parse it. */
const PLACEHOLDER_VALUE = `{"cookie":{}}`;
/** Marks our statements in pg_stat_activity. */
export const MARKER = "/* sessionferry */";

const VALUE_TYPES: readonly string[] = ["json", "jsonb", "text", "character varying"];

/** Quotes a name for SQL, as connect-pg-simple does: letters keep their case. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** `a.b` becomes `"a"."b"`; parts that are already quoted are taken as they are written. */
export function quoteTable(name: string): string {
  const parts = name.match(/"(?:[^"]|"")*"|[^."]+/g) ?? [name];
  return parts
    .map((part) => (part.startsWith('"') ? part.slice(1, -1).replaceAll('""', '"') : part))
    .map(quoteIdentifier)
    .join(".");
}

export type Statements = ReturnType<typeof statementsFor>;

/**
 * @param valueType the type of the value column as PostgreSQL names it; null when it could not be learned.
 * @param pooled whether a pooler stands between us and the server.
 */
export function statementsFor(names: TableNames, valueType: string | null, pooled: boolean) {
  const table = quoteTable(names.name);
  const sid = quoteIdentifier(names.sid);
  const value = quoteIdentifier(names.value);
  const expiry = quoteIdentifier(names.expiry);
  const type = valueType !== null && VALUE_TYPES.includes(valueType) ? valueType : "json";

  const milliseconds = `(extract(epoch from t.${expiry}::timestamptz) * 1000)::float8`;
  const at = (parameter: string) => `to_timestamp(${parameter}::float8 / 1000)`;
  const live = `t.${expiry} > now()`;
  // Another server, or this one after a crash, may give a transaction's number to another transaction.
  const token = "(t.xmin::text || ':' || extract(epoch from pg_postmaster_start_time()))";
  const named = (name: string, text: string, row: RowShape = {}, least = 0): Statement => ({
    name: `sessionferry:${name}:${type}`,
    text: `${MARKER} ${text}`,
    row,
    least,
  });
  const kept = (statement: Statement): Statement => ({ ...statement, prepared: true });
  const timed = (statement: Statement): Statement => ({ ...statement, timed: true });
  const session: RowShape = { value: "string", expires_at: "number" };
  const changed: RowShape = { done: "boolean", timely: "boolean" };
  const taken = `ON CONFLICT (${sid}) DO UPDATE SET ${value} = excluded.${value}, ${expiry} = excluded.${expiry}`;
  const change = (statement: Statement, command: Statement["command"]): Statement => ({
    ...statement,
    command,
    prepared: true,
  });

  // An expired row is destroyed, too: whoever holds its token is refused and starts again.
  const plainChanges = () => ({
    set: change(
      named("set", `INSERT INTO ${table} (${sid}, ${value}, ${expiry}) VALUES ($1, $2::${type}, ${at("$3")}) ${taken}`),
      "INSERT",
    ),
    touch: change(
      named("touch", `UPDATE ${table} AS t SET ${expiry} = ${at("$2")} WHERE t.${sid} = $1 AND ${live}`),
      "UPDATE",
    ),
    destroy: change(
      named("destroy", `DELETE FROM ${table} AS t WHERE t.${sid} = $1 RETURNING ${live} AS done`, { done: "boolean" }),
      "DELETE",
    ),
  });

  const timedChanges = (): ReturnType<typeof plainChanges> => {
    const until = (name: string, text: string, row: RowShape = {}, least = 0) =>
      kept(timed(named(`${name}-timed`, text, row, least)));
    return {
      set: until(
        "set",
        `INSERT INTO ${table} (${sid}, ${value}, ${expiry}) SELECT $1, $2::${type}, ${at("$3")} ` +
          `WHERE now() <= ${at("$4")} ${taken}`,
      ),
      touch: until(
        "touch",
        `WITH moved AS (UPDATE ${table} AS t SET ${expiry} = ${at("$2")} WHERE t.${sid} = $1 AND ${live} ` +
          `AND now() <= ${at("$3")} RETURNING 1) ` +
          `SELECT EXISTS (SELECT FROM moved) AS done, now() <= ${at("$3")} AS timely`,
        changed,
        1,
      ),
      destroy: until(
        "destroy",
        `WITH gone AS (DELETE FROM ${table} AS t WHERE t.${sid} = $1 AND now() <= ${at("$2")} RETURNING ${live} AS live) ` +
          `SELECT coalesce((SELECT live FROM gone), false) AS done, now() <= ${at("$2")} AS timely`,
        changed,
        1,
      ),
    };
  };

  return {
    get: kept(
      named(
        "get",
        `SELECT t.${value}::text AS value, ${milliseconds} AS expires_at FROM ${table} t WHERE t.${sid} = $1 AND ${live}`,
        session,
      ),
    ),

    getMany: kept(
      named(
        "getMany",
        `SELECT t.${sid}::text AS sid, t.${value}::text AS value, ${milliseconds} AS expires_at FROM ${table} t ` +
          `WHERE t.${sid} = ANY($1::text[]) AND ${live}`,
        { sid: "string", ...session },
      ),
    ),

    holds: kept(
      named("holds", `SELECT t.${sid}::text AS sid FROM ${table} t WHERE t.${sid} = ANY($1::text[]) AND ${live}`, {
        sid: "string",
      }),
    ),

    ...(pooled ? timedChanges() : plainChanges()),

    // A row's token is the id of the transaction that wrote it, on this run of the server. Only what is not there is put
    // there, because an attempt to insert what is costs more than a look. All parts see the table as it was when the
    // statement began, so no sid comes twice; one that was inserted meanwhile by somebody else comes not at all.
    // Placeholders lie two hours back, because a local time without zone is an hour off when summer time ends.
    tokens: timed(
      named(
        "tokens",
        `WITH wanted AS (SELECT DISTINCT w.sid FROM unnest($1::text[]) AS w(sid)), ` +
          `placed AS (INSERT INTO ${table} AS t (${sid}, ${value}, ${expiry}) ` +
          `SELECT w.sid, '${PLACEHOLDER_VALUE}'::${type}, now() - ${PLACEHOLDER_AGE} FROM wanted w ` +
          `WHERE now() <= ${at("$2")} AND NOT EXISTS (SELECT FROM ${table} t WHERE t.${sid} = w.sid) ORDER BY w.sid ` +
          `ON CONFLICT (${sid}) DO NOTHING RETURNING t.${sid} AS sid, ${token} AS token) ` +
          `SELECT sid::text, token FROM placed ` +
          `UNION ALL SELECT t.${sid}::text, ${token} FROM ${table} t JOIN wanted w ON t.${sid} = w.sid`,
        { sid: "string", token: "string" },
      ),
    ),

    // A row that another transaction holds counts as changed: whoever holds it may take his time, which the others in the
    // batch need not wait for; and two such batches cannot block each other crosswise.
    applyIf: timed(
      named(
        "applyIf",
        `WITH held AS (SELECT t.${sid} AS sid, i.token, i.value, i.expires_at FROM ${table} t ` +
          `JOIN unnest($1::text[], $2::text[], $3::text[], $4::float8[]) AS i(sid, token, value, expires_at) ` +
          `ON t.${sid} = i.sid AND ${token} = i.token WHERE now() <= ${at("$5")} ` +
          `FOR UPDATE OF t SKIP LOCKED), ` +
          `updated AS (UPDATE ${table} AS t SET ${value} = h.value::${type}, ${expiry} = ${at("h.expires_at")} FROM held h ` +
          `WHERE t.${sid} = h.sid AND ${token} = h.token AND h.value IS NOT NULL RETURNING t.${sid} AS sid), ` +
          `deleted AS (DELETE FROM ${table} AS t USING held h ` +
          `WHERE t.${sid} = h.sid AND ${token} = h.token AND h.value IS NULL RETURNING t.${sid} AS sid) ` +
          `SELECT sid::text FROM updated UNION ALL SELECT sid::text FROM deleted`,
        { sid: "string" },
      ),
    ),

    firstPage: named(
      "firstPage",
      `SELECT t.${sid}::text AS sid FROM ${table} t WHERE ${live} ORDER BY t.${sid} LIMIT $1`,
      {
        sid: "string",
      },
    ),

    nextPage: named(
      "nextPage",
      `SELECT t.${sid}::text AS sid FROM ${table} t WHERE t.${sid} > $2 AND ${live} ORDER BY t.${sid} LIMIT $1`,
      { sid: "string" },
    ),

    count: named("count", `SELECT count(*)::float8 AS count FROM ${table} t WHERE ${live}`, { count: "number" }, 1),

    // The age is asked for in the outer WHERE too: that one is looked at again when a row was renewed meanwhile.
    prune: timed(
      named(
        "prune",
        `WITH old AS (SELECT t.${sid} AS sid FROM ${table} t WHERE t.${expiry} < now() - ${PRUNE_AGE} ` +
          `LIMIT $1 FOR UPDATE SKIP LOCKED) ` +
          `DELETE FROM ${table} AS t USING old o ` +
          `WHERE t.${sid} = o.sid AND t.${expiry} < now() - ${PRUNE_AGE} AND now() <= ${at("$2")}`,
      ),
    ),

    now: named("now", "SELECT (extract(epoch from clock_timestamp()) * 1000)::float8 AS now", { now: "number" }, 1),
  };
}
