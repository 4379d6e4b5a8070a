import pg from "pg";
import { PostgresClient } from "../control/postgres-client.js";
import type { LegacyWitness } from "../ports/witness.js";

/** Every value as PostgreSQL sends it: the witness compares bytes, and parsing a session would lose them. */
const AS_SENT = { getTypeParser: () => (text: string) => text };

/**
 * Asks for a session with the statement and the parameters that connect-pg-simple sends. It shares nothing with our
 * store, on purpose: not the SQL, not the clock (connect-pg-simple takes the application's), not the connection.
 *
 * @param table as in `legacy.table`, possibly with its schema in front.
 */
export function openPostgresWitness(options: { url: string; table: string; timeout: number }): LegacyWitness {
  const table = options.table
    .split(".")
    .map((part) => `"${part}"`)
    .join(".");
  const pool = new pg.Pool({
    Client: PostgresClient,
    connectionString: options.url,
    application_name: "sessionferry-witness",
    connectionTimeoutMillis: options.timeout,
    query_timeout: options.timeout,
    max: 2,
    types: AS_SENT,
  });
  pool.on("error", () => {});
  return {
    async get(sid) {
      const { rows } = await pool.query<{ sess: string }>(
        `SELECT sess FROM ${table} WHERE sid = $1 AND expire >= to_timestamp($2)`,
        [sid, Math.ceil(Date.now() / 1000)],
      );
      const row = rows[0];
      return row === undefined ? null : Buffer.from(row.sess, "utf8");
    },
    close: () => pool.end(),
  };
}
