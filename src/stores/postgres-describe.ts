import type { RowShape } from "../control/postgres-rows.js";
import { FerryError } from "../errors.js";
import type { PostgresLink } from "./postgres-link.js";
import { MARKER, quoteIdentifier, quoteTable, type Statement, type TableNames } from "./postgres-sql.js";

/** What the doctor tells about a session table. */
export interface PostgresFacts {
  /** As PostgreSQL prints it. */
  readonly version: string;
  readonly role: string;
  /** The TimeZone of this role in this database, in which the application's connections fill a column without zone. */
  readonly timeZone: string;
  /** The table's name, quoted and with its schema. */
  readonly table: string;
  readonly columns: { readonly sid: string; readonly value: string; readonly expiry: string };
  /** False: the expiry depends on `timeZone`, and is an hour off for what expires while summer time ends. */
  readonly zoned: boolean;
  /** Of SELECT, INSERT, UPDATE and DELETE on the table, those that the role lacks. */
  readonly missingRights: readonly string[];
  /** Rows without an expiry: connect-pg-simple does not find them, and neither do we. */
  readonly withoutExpiry: number;
  /** A pooler stands between us and the server. */
  readonly pooled: boolean;
}

const OLDEST_VERSION = 100_000;
const RIGHTS = ["SELECT", "INSERT", "UPDATE", "DELETE"] as const;
const TYPES = {
  sid: ["character varying", "text"],
  value: ["json", "jsonb", "text", "character varying"],
  expiry: ["timestamp without time zone", "timestamp with time zone"],
} as const;
type Role = keyof typeof TYPES;

const statement = (name: string, text: string, row: RowShape, least: number): Statement => ({
  name: `sessionferry:${name}`,
  text: `${MARKER} ${text}`,
  row,
  least,
});

const SERVER = statement(
  "describeServer",
  `SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
    current_setting('TimeZone') AS zone, current_user::text AS role`,
  { version: "string", number: "number", zone: "string", role: "string" },
  1,
);

const TABLE = statement(
  "describeTable",
  `SELECT c.relkind::text AS kind, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name,
    ARRAY(SELECT r FROM unnest($2::text[]) AS r WHERE NOT has_table_privilege(c.oid, r)) AS missing_rights
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1::text)`,
  { kind: "string", name: "string", missing_rights: "list" },
  0,
);

const COLUMNS = statement(
  "describeColumns",
  `SELECT a.attname::text AS name, format_type(a.atttypid, NULL) AS type,
    a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS demanded,
    EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indimmediate AND i.indisvalid
      AND i.indpred IS NULL AND i.indkey::text = a.attnum::text) AS is_unique
    FROM pg_attribute a WHERE a.attrelid = to_regclass($1::text) AND a.attnum > 0 AND NOT a.attisdropped`,
  { name: "string", type: "string", demanded: "boolean", is_unique: "boolean" },
  0,
);

interface Column {
  readonly name: string;
  readonly type: string;
  readonly demanded: boolean;
  readonly is_unique: boolean;
}

/** Rejects with TABLE_UNSUITABLE, naming everything that is missing, when the table cannot hold the preset's sessions. */
export async function describeTable(link: PostgresLink, names: TableNames, deadline: number): Promise<PostgresFacts> {
  const table = quoteTable(names.name);
  const [server] = await link.read<{ version: string; number: number; zone: string; role: string }>(() => SERVER, []);
  if (server!.number < OLDEST_VERSION) {
    throw new FerryError("VERSION_UNSUPPORTED", `PostgreSQL is ${server!.version}; 10 is the oldest that is known.`);
  }
  const [found] = await link.read<{ kind: string; name: string; missing_rights: string[] }>(
    () => TABLE,
    [table, RIGHTS],
  );
  if (found === undefined) {
    throw new FerryError("TABLE_UNSUITABLE", `There is no table ${table} that the role ${server!.role} can see.`);
  }
  const columns = await link.read<Column>(() => COLUMNS, [table]);
  const problems = found.kind === "r" || found.kind === "p" ? [] : ["it is not a table"];
  const types = Object.fromEntries(
    (Object.keys(TYPES) as Role[]).map((role) => {
      const column = columns.find(({ name }) => name === names[role]);
      if (column === undefined) problems.push(`the column ${quoteIdentifier(names[role])} is missing`);
      else if (!(TYPES[role] as readonly string[]).includes(column.type)) {
        problems.push(
          `${quoteIdentifier(names[role])} is of type ${column.type} instead of ${TYPES[role].join(" or ")}`,
        );
      }
      if (role === "sid" && column?.is_unique === false) {
        problems.push(`${quoteIdentifier(names.sid)} has neither a primary key nor a unique index of its own`);
      }
      return [role, column?.type ?? ""];
    }),
  ) as Record<Role, string>;
  for (const { name, demanded } of columns) {
    if (demanded && ![names.sid, names.value, names.expiry].includes(name)) {
      problems.push(`${quoteIdentifier(name)} must be given and is not part of the format`);
    }
  }
  if (problems.length > 0) throw new FerryError("TABLE_UNSUITABLE", `The table ${found.name}: ${problems.join("; ")}.`);
  return {
    version: server!.version,
    role: server!.role,
    timeZone: server!.zone,
    table: found.name,
    columns: types,
    zoned: types.expiry === "timestamp with time zone",
    missingRights: found.missing_rights,
    withoutExpiry: found.missing_rights.includes("SELECT") ? 0 : await countWithoutExpiry(link, names, deadline),
    pooled: link.pooled,
  };
}

async function countWithoutExpiry(link: PostgresLink, names: TableNames, deadline: number): Promise<number> {
  const text = `SELECT count(*)::float8 AS count FROM ${quoteTable(names.name)} WHERE ${quoteIdentifier(names.expiry)} IS NULL`;
  const [row] = await link.read<{ count: number }>(
    () => statement("withoutExpiry", text, { count: "number" }, 1),
    [],
    deadline,
  );
  return row!.count;
}
