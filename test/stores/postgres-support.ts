import pg from "pg";
import { newNodeId } from "../../src/core/ids.js";
import { connectPgSimple } from "../../src/presets/connect-pg-simple.js";
import { openPostgresLegacy, type PostgresLegacyOptions } from "../../src/stores/postgres.js";

/** The table as connect-pg-simple's own table.sql makes it. */
export const TABLE = `
CREATE TABLE "session" ("sid" varchar NOT NULL COLLATE "default", "sess" json NOT NULL, "expire" timestamp(6) NOT NULL) WITH (OIDS=FALSE);
ALTER TABLE "session" ADD CONSTRAINT "session_pkey" PRIMARY KEY ("sid") NOT DEFERRABLE INITIALLY IMMEDIATE;
CREATE INDEX "IDX_session_expire" ON "session" ("expire")`;

export function openStore(url: string, options: Partial<PostgresLegacyOptions> = {}) {
  return openPostgresLegacy({
    url,
    preset: connectPgSimple,
    node: newNodeId(),
    connections: 4,
    deadline: 1_000,
    ...options,
  });
}

/** Runs SQL as the superuser, on a connection of its own. */
export async function sql<T extends object = Record<string, unknown>>(url: string, text: string, values?: unknown[]) {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query<T>(text, values)).rows;
  } finally {
    await client.end();
  }
}

/** Holds a transaction open on a connection of its own while `run` goes on, then commits it. */
export async function inTransaction(url: string, begin: string, run: (holder: pg.Client) => Promise<void>) {
  const holder = new pg.Client(url);
  holder.on("error", () => {});
  await holder.connect();
  try {
    await holder.query(`BEGIN; ${begin}`);
    await run(holder);
    await holder.query("COMMIT").catch(() => {});
  } finally {
    await holder.end();
  }
}
