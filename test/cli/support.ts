import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable, Writable } from "node:stream";
import { Redis } from "ioredis";
import pg from "pg";
import { expect } from "vitest";
import type { z } from "zod";
import { runCli } from "../../src/cli/run.js";
import { DOCUMENTS } from "../../src/cli/schemas.js";
import { type RunningServer, startPostgres, startRedis } from "../../src/servers/index.js";

/** Passwords of the stage's users: none of them may ever be printed. */
export const PASSWORDS = { postgres: "geheim-pg%40%23", redis: "geheim-redis-7" };
const SECRETS = [PASSWORDS.postgres, decodeURIComponent(PASSWORDS.postgres), PASSWORDS.redis];

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly stdin?: string;
  readonly signal?: AbortSignal;
  /** Told of all that was printed so far. */
  readonly onStdout?: (text: string) => void;
}

/** Runs one command line in this process, as `main` does, and looks after secrets in all it prints. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const written = { stdout: "", stderr: "" };
  const collect = (name: keyof typeof written) =>
    new Writable({
      write(chunk, _encoding, done) {
        written[name] += String(chunk);
        if (name === "stdout") options.onStdout?.(written.stdout);
        done();
      },
    });
  const abort = new AbortController();
  const code = await runCli({
    argv,
    stdin: options.stdin === undefined ? Readable.from([]) : Readable.from([options.stdin]),
    stdout: collect("stdout"),
    stderr: collect("stderr"),
    signal: options.signal ?? abort.signal,
    stop: () => abort.abort(),
    version: "0.0.0",
  });
  for (const secret of SECRETS) {
    expect(written.stdout).not.toContain(secret);
    expect(written.stderr).not.toContain(secret);
  }
  return { code, ...written };
}

type Documents = typeof DOCUMENTS;

/** Runs a command with --json: exactly one document on stdout, of the shape that is promised. */
export async function runJson<K extends keyof Documents>(
  shape: K,
  argv: readonly string[],
  options: RunOptions & { readonly code?: number } = {},
): Promise<z.output<Documents[K]>> {
  const { code, stdout, stderr } = await run([...argv, "--json"], options);
  expect(stdout.trim().split("\n"), stderr).toHaveLength(1);
  expect(code, `${stdout}\n${stderr}`).toBe(options.code ?? 0);
  return DOCUMENTS[shape].parse(JSON.parse(stdout)) as z.output<Documents[K]>;
}

/** A command that must fail: its error document and its exit code. */
export async function runError(argv: readonly string[], options: RunOptions = {}) {
  const { code, stdout } = await run([...argv, "--json"], options);
  const { error } = DOCUMENTS.error.parse(JSON.parse(stdout));
  return { exit: code, ...error };
}

export interface Stage {
  readonly folder: string;
  /** The path of the configuration. */
  readonly config: string;
  readonly postgres: RunningServer;
  readonly redis: RunningServer;
  /** As the superuser. */
  readonly sql: pg.Client;
  readonly keys: Redis;
  readonly legacyUrl: string;
  readonly redisUrl: string;
  /** Writes another configuration beside the first: the given sections are merged in. */
  configure(name: string, changes: Record<string, unknown>): string;
  close(): Promise<void>;
}

/** A PostgreSQL with a session table and a Redis, both asked with passwords, and a configuration for them. */
export async function openStage(): Promise<Stage> {
  const [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
  const folder = mkdtempSync(join(tmpdir(), "sessionferry-cli-"));
  const sql = new pg.Client(postgres.url);
  sql.on("error", () => {});
  await sql.connect();
  const password = decodeURIComponent(PASSWORDS.postgres);
  await sql.query(`CREATE ROLE app LOGIN SUPERUSER PASSWORD '${password}'`);
  await sql.query(
    `CREATE TABLE session (sid varchar NOT NULL PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL)`,
  );
  const keys = new Redis(redis.url, { lazyConnect: true, retryStrategy: () => null });
  keys.on("error", () => {});
  await keys.connect();
  await keys.call("ACL", "SETUSER", "app", "on", `>${PASSWORDS.redis}`, "~*", "+@all");

  const legacyUrl = `postgres://app:${PASSWORDS.postgres}@127.0.0.1:${postgres.port}/postgres`;
  const redisUrl = `redis://app:${PASSWORDS.redis}@127.0.0.1:${redis.port}/0`;
  const base: Record<string, unknown> = {
    migration: "shop",
    legacy: { preset: "connect-pg-simple", url: legacyUrl },
    redis: { url: redisUrl },
    timeouts: { acknowledge: "5s", drain: "5s", legacy: "2s" },
  };
  const configure: Stage["configure"] = (name, changes) => {
    const merged = { ...base };
    for (const [key, change] of Object.entries(changes)) {
      const before = merged[key];
      merged[key] = isSection(before) && isSection(change) ? { ...before, ...change } : change;
    }
    const path = join(folder, `${name}.json`);
    writeFileSync(path, JSON.stringify(merged));
    return path;
  };
  return {
    folder,
    config: configure("sessionferry", {}),
    postgres,
    redis,
    sql,
    keys,
    legacyUrl,
    redisUrl,
    configure,
    async close() {
      keys.disconnect();
      await sql.end().catch(() => {});
      await Promise.all([postgres.stop(), redis.stop()]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function isSection(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Rows as connect-pg-simple writes them; returns their ids. */
export async function seedSessions(sql: pg.Client, count: number, lifetime = "1 day"): Promise<string[]> {
  const { rows } = await sql.query<{ sid: string }>(
    `INSERT INTO session SELECT 'sid-' || md5(random()::text) || i, '{"cookie":{"path":"/"},"cart":[1,2]}',
       now() + $2::interval FROM generate_series(1, $1) AS i RETURNING sid`,
    [count, lifetime],
  );
  return rows.map(({ sid }) => sid);
}

export { PassThrough };
