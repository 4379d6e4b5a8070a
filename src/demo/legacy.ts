import { FerryError } from "../errors.js";
import { loadPeer, type PlainStore, type SessionModule } from "./peers.js";
import type { QuietSession } from "./quiet.js";

/** The legacy stores that the demo can start from. */
export const LEGACY_NAMES = ["postgres", "memcached"] as const;
export type LegacyName = (typeof LEGACY_NAMES)[number];

export interface LegacyTraits {
  /** What people call it. */
  readonly title: string;
  readonly preset: string;
  /** The finest expiry it can express in milliseconds, where coarser than its sessions ask for. */
  readonly granularity: number;
  /** Whether its store keeps to a session's value when it only renews it, so that parallel requests are safe. */
  readonly touches: boolean;
}

export const LEGACY: Readonly<Record<LegacyName, LegacyTraits>> = {
  postgres: { title: "PostgreSQL", preset: "connect-pg-simple", granularity: 0, touches: true },
  // connect-memcached's touch writes the whole session: a page view can undo a cart change or a logout beside it.
  memcached: { title: "memcached", preset: "connect-memcached", granularity: 1000, touches: false },
};

interface PgPool {
  query(text: string, values?: unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
  end(): Promise<void>;
}
interface MemcachedClient {
  set(key: string, value: unknown, seconds: number, callback: (error?: unknown) => void): void;
  stats(callback: (error: unknown, servers: Record<string, unknown>[]) => void): void;
  end(): void;
}

/** The store that the application used before sessionferry came: an ordinary package with its ordinary options. */
export async function openPlainStore(
  legacy: LegacyName,
  url: string,
): Promise<{ store: PlainStore; close(): Promise<void> }> {
  const session = await loadPeer<SessionModule>("express-session", legacy);
  if (legacy === "postgres") {
    const connect = await loadPeer<(session: SessionModule) => new (options: unknown) => PlainStore>(
      "connect-pg-simple",
      legacy,
    );
    const Store = connect(session);
    const store = new Store({ conString: url, createTableIfMissing: true });
    return { store, close: async () => store.close?.() };
  }
  const client = await openMemcached(url);
  const connect = await loadPeer<(session: SessionModule) => new (options: unknown) => PlainStore>(
    "connect-memcached",
    legacy,
  );
  const Store = connect(session);
  return { store: new Store({ client }), close: async () => client.end() };
}

/**
 * Writes sessions as the old application would have, a long time before the migration.
 * @throws FerryError GUARD_REFUSED where the store holds anything already: it is not a store for demos
 */
export async function seed(legacy: LegacyName, url: string, sessions: readonly QuietSession[]): Promise<void> {
  if (legacy === "postgres") await seedPostgres(url, sessions);
  else await seedMemcached(url, sessions);
}

async function seedPostgres(url: string, sessions: readonly QuietSession[]): Promise<void> {
  // The first read makes the table, from the package's own table.sql.
  const { store, close } = await openPlainStore("postgres", url);
  await ask(store, "nobody");
  await close();
  const { Pool } = await loadPeer<{ Pool: new (options: unknown) => PgPool }>("pg", "postgres");
  const pool = new Pool({ connectionString: url });
  try {
    const { rows } = await pool.query('SELECT 1 FROM "session" LIMIT 1');
    if (rows.length > 0) throw notEmpty("The table session of this PostgreSQL holds rows.");
    for (const page of pages(sessions, 5000)) {
      await pool.query(
        `INSERT INTO "session" (sid, sess, expire)
         SELECT sid, sess::json, to_timestamp(expire) FROM unnest($1::text[], $2::text[], $3::float8[]) AS q (sid, sess, expire)`,
        [page.map((each) => each.sid), page.map((each) => each.value), page.map((each) => each.expiresAt / 1000)],
      );
    }
  } finally {
    await pool.end();
  }
}

async function seedMemcached(url: string, sessions: readonly QuietSession[]): Promise<void> {
  const client = await openMemcached(url);
  try {
    const [stats] = await new Promise<Record<string, unknown>[]>((resolve, reject) => {
      client.stats((error, servers) => (error ? reject(error) : resolve(servers)));
    });
    if (Number(stats?.curr_items) !== 0) throw notEmpty("This memcached holds items.");
    for (const page of pages(sessions, 500)) {
      await Promise.all(
        page.map(
          ({ sid, value, expiresAt }) =>
            new Promise<void>((resolve, reject) => {
              // As connect-memcached does it: an object, which the client marks as JSON, and seconds from now.
              const seconds = Math.round((expiresAt - Date.now()) / 1000);
              client.set(sid, JSON.parse(value), seconds, (error) => (error ? reject(error) : resolve()));
            }),
        ),
      );
    }
  } finally {
    client.end();
  }
}

function notEmpty(message: string): FerryError {
  return new FerryError("GUARD_REFUSED", message, { remedy: "Give the demo servers that nobody uses." });
}

async function openMemcached(url: string): Promise<MemcachedClient> {
  const Memcached = await loadPeer<new (servers: string, options: unknown) => MemcachedClient>(
    "memcached",
    "memcached",
  );
  return new Memcached(new URL(url).host, { poolSize: 10 });
}

/** `store.get` as a promise: null when there is no such session. */
export function ask(store: PlainStore, sid: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    store.get(sid, (error, session) => (error ? reject(error) : resolve(session ?? null)));
  });
}

export function* pages<T>(all: readonly T[], size: number): Iterable<T[]> {
  for (let at = 0; at < all.length; at += size) yield all.slice(at, at + size);
}
