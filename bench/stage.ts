import { mkdtemp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import Memcached from "memcached";
import pg from "pg";
import { loadConfig } from "../src/config.js";
import type { Config } from "../src/core/config.js";
import type { PhaseName } from "../src/core/phase.js";
import { openVisitor, type Visitor } from "../src/runtime/visitor.js";
import { type RunningServer, startMemcached, startPostgres, startRedis } from "../src/servers/index.js";
import { processFolder } from "../src/servers/watchdog.js";
import { payloadOf, sidOf } from "./payload.js";
import type { LegacyName } from "./scale.js";

/** The schema of connect-pg-simple, as its own table.sql makes it. */
const tableSql = (table: string) => `CREATE TABLE "${table}" (
  "sid" varchar NOT NULL COLLATE "default" PRIMARY KEY, "sess" json NOT NULL, "expire" timestamp(6) NOT NULL);
  CREATE INDEX "${table}_expire" ON "${table}" ("expire")`;

/** Connections to the old store, for ours and for the plain one. */
export const CONNECTIONS = 10;

/** Servers of their own for one section, and what lies in them. */
export class Stage {
  readonly #own: RunningServer[] = [];
  readonly #visitors: Visitor[] = [];
  #pool: pg.Pool | null = null;

  private constructor(
    readonly postgres: RunningServer,
    readonly memcached: RunningServer,
    readonly redis: RunningServer,
  ) {
    this.#own.push(postgres, memcached, redis);
  }

  static async set(): Promise<Stage> {
    // As a database in production has it, but for the waiting for disks: those of a shared machine measure the others.
    const postgres = startPostgres({
      settings: { shared_buffers: "1GB", max_connections: "400", max_wal_size: "4GB" },
    });
    const memcached = startMemcached({ args: ["-m", "2048"] });
    return new Stage(await postgres, await memcached, await startRedis());
  }

  get pool(): pg.Pool {
    this.#pool ??= new pg.Pool({ connectionString: this.postgres.url, max: 4 });
    return this.#pool;
  }

  /** Another Redis, empty. It ends with the stage if not before. */
  async anotherRedis(): Promise<RunningServer> {
    const server = await startRedis();
    this.#own.push(server);
    return server;
  }

  async table(name: string): Promise<void> {
    await this.pool.query(tableSql(name));
  }

  /** The configuration of a migration of its own, as an application would have it. */
  settings(
    migration: string,
    legacy: LegacyName,
    redis: RunningServer = this.redis,
    table = tableOf(migration),
  ): Record<string, unknown> {
    const old =
      legacy === "postgres"
        ? { preset: "connect-pg-simple", url: this.postgres.url, table, connections: CONNECTIONS }
        : { preset: "connect-memcached", url: this.memcached.url, prefix: `${table}:`, connections: CONNECTIONS };
    return {
      migration,
      legacy: old,
      redis: { preset: "connect-redis", url: redis.url, prefix: `${migration}:` },
      control: { url: this.postgres.url },
      ramps: { "dual-write": [100], "read-through": [100], "redis-first": [100], "full-redis": [100] },
      // A machine that is shared answers late now and then; that is measured, and must not switch anything off.
      timeouts: { redis: "2s" },
      gates: { maxP95: "1m", minStay: { "full-redis": "0s" } },
    };
  }

  /**
   * A migration that stands in a phase, with empty stores: what is in them later was written through it. That spares
   * the way up, which the section on transitions walks.
   */
  async migration(settings: Record<string, unknown>, phase: PhaseName): Promise<Visitor> {
    const config: Config = loadConfig({ config: settings, env: {} });
    const visitor = await openVisitor(config);
    this.#visitors.push(visitor);
    const generation = "bench";
    const position = { phase, percent: 100 };
    await visitor.control.setup({ position, pending: null, generation, interrupted: false });
    visitor.records.generation = generation;
    await visitor.records.arm(generation, phase === "complete" ? "complete" : "active");
    return visitor;
  }

  /** A folder with the configuration, from which the command line is run. */
  async folder(settings: Record<string, unknown>): Promise<string> {
    const folder = await mkdtemp(join(processFolder(), "bench-"));
    await writeFile(join(folder, "sessionferry.json"), JSON.stringify(settings));
    return folder;
  }

  /** So many live sessions in the old store, written as its own framework does. */
  async seed(legacy: LegacyName, table: string, sessions: number, bytes: number): Promise<void> {
    if (legacy === "postgres") await this.#seedPostgres(table, sessions, bytes);
    else await this.#seedMemcached(table, sessions, bytes);
  }

  async #seedPostgres(table: string, sessions: number, bytes: number): Promise<void> {
    await this.table(table);
    const text = `INSERT INTO "${table}" SELECT r.sid, r.sess::json, to_timestamp(r.at) FROM
      unnest($1::text[], $2::text[], $3::float8[]) AS r(sid, sess, at)`;
    for (let from = 0; from < sessions; from += 5_000) {
      const those = Array.from({ length: Math.min(5_000, sessions - from) }, (_, i) => from + i);
      const payloads = those.map((n) => payloadOf(bytes, n));
      const expiries = payloads.map(({ cookie }) => Date.parse(cookie.expires) / 1000);
      await this.pool.query(text, [those.map(sidOf), payloads.map((each) => JSON.stringify(each)), expiries]);
    }
    await this.pool.query(`ANALYZE "${table}"`);
  }

  async #seedMemcached(prefix: string, sessions: number, bytes: number): Promise<void> {
    const client = new Memcached(`${this.memcached.host}:${this.memcached.port}`, { poolSize: CONNECTIONS });
    let next = 0;
    const lane = async () => {
      while (next < sessions) {
        const n = next++;
        const payload = payloadOf(bytes, n);
        await new Promise<void>((resolve, reject) => {
          client.set(`${prefix}:${sidOf(n)}`, payload, payload.cookie.maxAge / 1000, (error) =>
            error ? reject(error) : resolve(),
          );
        });
      }
    };
    await Promise.all(Array.from({ length: 64 }, lane));
    client.end();
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#visitors.map((visitor) => visitor.close()));
    await this.#pool?.end();
    await Promise.all(this.#own.map((server) => server.stop()));
  }
}

export function tableOf(migration: string): string {
  return `session_${migration.replaceAll("-", "_")}`;
}

export async function onStage<T>(work: (stage: Stage) => Promise<T>): Promise<T> {
  const stage = await Stage.set();
  try {
    return await work(stage);
  } finally {
    await stage.close();
  }
}
