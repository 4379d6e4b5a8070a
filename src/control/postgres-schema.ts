import pg from "pg";
import { FerryError } from "../errors.js";
import { loadMigrations, type Migration } from "./migrations.js";
import type { Row, Statement } from "./postgres-link.js";
import { codeOf } from "./redact.js";

/**
 * The tables of all migrations in one database live in the schema `sessionferry`. Whoever makes or removes them holds
 * this transaction-wide lock, so that setups and removals that start together run one after the other.
 */
const LOCK = "SELECT pg_advisory_xact_lock(hashtext('sessionferry'), hashtext('schema'))";

/** Everything that the SQL files make, in an order in which it can be dropped. */
const DROP_ALL = `
  DROP FUNCTION IF EXISTS sessionferry.join_fleet(text, text, text, integer, text, integer, text, double precision);
  DROP TABLE IF EXISTS sessionferry.ledger, sessionferry.documents, sessionferry.locks, sessionferry.nodes,
    sessionferry.control_record, sessionferry.schema_migrations;
  DROP FUNCTION IF EXISTS sessionferry.guard_record();`;

/** Brings the tables up to date within a transaction; changes nothing, and needs no right to, where they are. */
export async function applyMigrations(
  statement: Statement,
  migrations: readonly Migration[] = loadMigrations(),
): Promise<void> {
  await statement(LOCK);
  const facts = await lookAt(statement);
  if (!facts.schema) {
    if (!facts.mayCreateSchema) throw lacksSchema(facts);
    await statement("CREATE SCHEMA sessionferry");
  } else if (!facts.mayUse) throw lacksRight(facts, "USAGE, CREATE");
  if (!facts.table) {
    if (facts.schema && !facts.mayCreateTable) throw lacksRight(facts, "USAGE, CREATE");
    await statement(`CREATE TABLE sessionferry.schema_migrations (
      number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())`);
  }
  const rows = await statement("SELECT number FROM sessionferry.schema_migrations");
  const applied = new Set(rows.map((row) => row.number));
  const missing = migrations.filter(({ number }) => !applied.has(number));
  if (missing.length > 0 && facts.schema && !facts.mayCreateTable) throw lacksRight(facts, "USAGE, CREATE");
  for (const { number, name, sql } of missing) {
    await statement(sql);
    await statement("INSERT INTO sessionferry.schema_migrations (number, name) VALUES ($1, $2)", [number, name]);
  }
}

/**
 * Removes one migration's rows, and the tables when it was the last one. Who may not drop them leaves them empty; the
 * schema itself stays where something else lies in it or another role made it.
 */
export async function removeMigration(statement: Statement, migration: string): Promise<void> {
  await statement(LOCK);
  const { table, mayUse } = await lookAt(statement);
  if (!table || !mayUse) return;
  await statement("DELETE FROM sessionferry.control_record WHERE migration = $1", [migration]);
  const others = await statement("SELECT FROM sessionferry.control_record LIMIT 1");
  if (others.length > 0) return;
  await attempt(statement, DROP_ALL);
  await attempt(statement, "DROP SCHEMA sessionferry RESTRICT");
}

interface Facts {
  readonly role: string;
  readonly database: string;
  readonly schema: boolean;
  readonly table: boolean;
  readonly mayCreateSchema: boolean;
  readonly mayUse: boolean;
  readonly mayCreateTable: boolean;
}

async function lookAt(statement: Statement): Promise<Facts> {
  // Asked of the catalogue rather than by to_regclass, which stumbles where the role may not use the schema.
  const [row] = await statement(`
    SELECT current_user AS role, current_database() AS database, s.oid IS NOT NULL AS schema,
      EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = s.oid AND c.relname = 'schema_migrations') AS "table",
      has_database_privilege(current_database(), 'CREATE') AS "mayCreateSchema",
      coalesce(has_schema_privilege(s.oid, 'USAGE'), false) AS "mayUse",
      coalesce(has_schema_privilege(s.oid, 'CREATE'), false) AS "mayCreateTable"
    FROM (SELECT) one LEFT JOIN pg_namespace s ON s.nspname = 'sessionferry'`);
  return row as Row & Facts;
}

function lacksSchema({ role, database }: Facts): FerryError {
  const name = pg.escapeIdentifier(role);
  return new FerryError(
    "GUARD_REFUSED",
    `the role ${name} may not create the schema sessionferry in the database ${pg.escapeIdentifier(database)}`,
    {
      remedy: [
        "As a superuser or the owner of the database run, then repeat the command:",
        `CREATE SCHEMA sessionferry AUTHORIZATION ${name};`,
      ].join("\n"),
    },
  );
}

function lacksRight({ role }: Facts, rights: string): FerryError {
  const name = pg.escapeIdentifier(role);
  return new FerryError("GUARD_REFUSED", `the role ${name} may not create tables in the schema sessionferry`, {
    remedy: [
      "As the owner of the schema run, then repeat the command:",
      `GRANT ${rights} ON SCHEMA sessionferry TO ${name};`,
    ].join("\n"),
  });
}

/** Runs what may be refused for want of rights or because others depend on it, without losing the transaction. */
async function attempt(statement: Statement, sql: string): Promise<void> {
  await statement("SAVEPOINT attempt");
  try {
    await statement(sql);
    await statement("RELEASE SAVEPOINT attempt");
  } catch (error) {
    const code = codeOf(error);
    if (code !== "42501" && code !== "2BP01") throw error;
    await statement("ROLLBACK TO SAVEPOINT attempt");
  }
}
