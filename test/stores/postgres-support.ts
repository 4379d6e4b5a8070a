import { randomUUID } from "node:crypto";
import type session from "express-session";
import pg from "pg";
import { newNodeId } from "../../src/core/ids.js";
import type { Session } from "../../src/core/session.js";
import { connectPgSimple } from "../../src/presets/connect-pg-simple.js";
import { openPostgresLegacy, type PostgresLegacyOptions } from "../../src/stores/postgres.js";

/** The table as connect-pg-simple's own table.sql makes it. */
export const TABLE = `
CREATE TABLE "session" ("sid" varchar NOT NULL COLLATE "default", "sess" json NOT NULL, "expire" timestamp(6) NOT NULL) WITH (OIDS=FALSE);
ALTER TABLE "session" ADD CONSTRAINT "session_pkey" PRIMARY KEY ("sid") NOT DEFERRABLE INITIALLY IMMEDIATE;
CREATE INDEX "IDX_session_expire" ON "session" ("expire")`;

export const HOUR = 3_600_000;

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

export function aSession(content: unknown = { n: 1 }, life = HOUR): Session {
  return { value: Buffer.from(JSON.stringify(content)), flags: 0, expiresAt: Date.now() + life };
}

export const newSid = () => `sid-${randomUUID()}`;

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

/** What a promise was rejected with. */
export async function rejection(promise: Promise<unknown>): Promise<Error> {
  const outcome = await promise.then(
    () => null,
    (error: unknown) => error,
  );
  if (!(outcome instanceof Error)) throw new Error("it was not rejected");
  return outcome;
}

/** Milliseconds that a promise takes, fulfilled or not. */
export async function duration(promise: Promise<unknown>): Promise<number> {
  const start = performance.now();
  await promise.catch(() => {});
  return performance.now() - start;
}

/** A session store of express-session, by promises. */
export function promised(store: session.Store) {
  const call = <T>(run: (done: (error?: unknown, value?: T) => void) => void) =>
    new Promise<T | undefined>((resolve, reject) => {
      run((error, value) => (error ? reject(error) : resolve(value)));
    });
  return {
    get: async (sid: string) => (await call<session.SessionData | null>((done) => store.get(sid, done))) ?? null,
    set: (sid: string, data: object) => call((done) => store.set(sid, data as session.SessionData, done)),
    touch: (sid: string, data: object) =>
      call((done) => store.touch!(sid, data as session.SessionData, done as () => void)),
    destroy: (sid: string) => call((done) => store.destroy(sid, done)),
  };
}
