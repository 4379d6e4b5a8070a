import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { type RunningServer, startMemcached, startPostgres, startRedis } from "../../src/servers/index.js";
import { freePort } from "../../src/servers/ports.js";
import { until } from "../support/processes.js";
import { transpiledPackage } from "../support/processes-of-src.js";
import type { DocumentedCommand } from "./commands.js";
import type { Section } from "./sections.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** connect-pg-simple's own table. */
const TABLE = `CREATE TABLE session (sid varchar NOT NULL COLLATE "default" PRIMARY KEY, sess json NOT NULL,
  expire timestamp(6) NOT NULL); CREATE INDEX "IDX_session_expire" ON session (expire);`;

/** One command takes a second or so; a transition that waits for something on purpose takes a few. */
const PATIENCE = 60_000;

export interface Ran {
  readonly exit: number;
  /** stdout and stderr as they came. */
  readonly output: string;
  readonly stdout: string;
}

interface Application {
  readonly process: ChildProcess;
  readonly port: number;
}

export function documentOf(name: string): string {
  return readFileSync(join(ROOT, name), "utf8");
}

/**
 * A reader of the documents: an empty folder with the package installed, servers that already run, and a shell. The
 * files that the commands speak of are there; `sessionferry.yaml` and the application are the documents' own.
 */
export class Stage {
  readonly applications: Application[] = [];
  /** More variables for the commands. */
  readonly environment: Record<string, string> = {};

  private constructor(
    readonly folder: string,
    readonly packaged: { readonly path: string; remove(): void },
    readonly postgres: RunningServer,
    readonly redis: RunningServer,
    readonly memcached: RunningServer,
  ) {}

  static async open(): Promise<Stage> {
    const [postgres, redis, memcached] = await Promise.all([
      startPostgres(),
      startRedis({ args: ["--appendonly", "yes", "--appendfsync", "always"] }),
      startMemcached(),
    ]);
    const packaged = transpiledPackage();
    symlinkSync("src", join(packaged.path, "dist"));
    const folder = mkdtempSync(join(tmpdir(), "sessionferry-docs-"));
    const stage = new Stage(folder, packaged, postgres, redis, memcached);
    mkdirSync(join(folder, "bin"));
    mkdirSync(join(folder, "node_modules"));
    symlinkSync(packaged.path, join(folder, "node_modules/sessionferry"));
    for (const name of ["express", "express-session"]) {
      symlinkSync(join(ROOT, "node_modules", name), join(folder, "node_modules", name));
    }
    symlinkSync(join(ROOT, "scripts"), join(folder, "scripts"));
    const main = join(packaged.path, "src/cli/main.js");
    writeFileSync(join(folder, "bin/sessionferry"), `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`, {
      mode: 0o755,
    });
    writeFileSync(join(folder, "id.txt"), "session-1\n");
    writeFileSync(join(folder, "ids.txt"), "session-2\nsession-3\n");
    await stage.sql(TABLE);
    await stage.seed(300);
    return stage;
  }

  async close(): Promise<void> {
    await this.stopApplications();
    await Promise.all([this.postgres.stop(), this.redis.stop(), this.memcached.stop()]);
    rmSync(this.folder, { recursive: true, force: true });
    this.packaged.remove();
  }

  async sql(text: string, values: readonly unknown[] = []): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ connectionString: this.postgres.url });
    await client.connect();
    try {
      const result = await client.query(text, values.length === 0 ? undefined : [...values]);
      return Array.isArray(result) ? [] : result.rows;
    } finally {
      await client.end();
    }
  }

  /** Sessions as connect-pg-simple writes them. */
  async seed(count: number): Promise<void> {
    const cookie = {
      originalMaxAge: 86_400_000,
      expires: new Date(Date.now() + 86_400_000),
      httpOnly: true,
      path: "/",
    };
    await this.sql(
      `INSERT INTO session SELECT 'session-' || n, $1::json, now() + interval '1 day' FROM generate_series(1, ${count}) n`,
      [JSON.stringify({ cookie, cart: ["tea"] })],
    );
  }

  /** Runs a command line as a reader would who has no terminal at hand. */
  async run(line: string): Promise<Ran> {
    const child = spawn("sh", ["-c", line], {
      cwd: this.folder,
      env: this.#env(),
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    let output = "";
    let stdout = "";
    child.stdout.on("data", (part) => {
      output += part;
      stdout += part;
    });
    child.stderr.on("data", (part) => {
      output += part;
    });
    const timer = setTimeout(() => process.kill(-child.pid!, "SIGKILL"), PATIENCE);
    const exit = await new Promise<number>((resolve) => child.on("close", (code) => resolve(code ?? -1)));
    clearTimeout(timer);
    return { exit, output, stdout };
  }

  /** As `run`, for what prepares a scene: any exit but the expected one is an error. */
  async must(line: string, exit = 0): Promise<string> {
    const ran = await this.run(line);
    if (ran.exit !== exit) throw new Error(`${line}\nended with ${ran.exit}, not ${exit}:\n${ran.output}`);
    return ran.stdout;
  }

  async document(line: string): Promise<Record<string, unknown>> {
    return JSON.parse(await this.must(line)) as Record<string, unknown>;
  }

  /** Starts the documents' own application as so many processes and waits until each answers. */
  async startApplications(count: number): Promise<void> {
    const started = await Promise.all(
      Array.from({ length: count }, async () => {
        const port = await freePort();
        const child = spawn(process.execPath, ["app.mjs"], {
          cwd: this.folder,
          env: { ...this.#env(), PORT: String(port) },
          stdio: ["ignore", "ignore", "ignore"],
        });
        return { process: child, port };
      }),
    );
    this.applications.push(...started);
    await Promise.all(
      started.map(({ port, process }) =>
        until(`the application on port ${port} answers`, async () => {
          if (process.exitCode !== null) throw new Error(`the application ended with ${process.exitCode}`);
          // A page that is not there begins no session: the figures of the gates stay those of the documents' readers.
          return fetch(`http://127.0.0.1:${port}/ready`).then(
            () => true,
            () => false,
          );
        }),
      ),
    );
  }

  async stopApplications(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const gone = this.applications.splice(0).map(async ({ process }) => {
      if (process.exitCode !== null || process.signalCode !== null) return;
      const ended = new Promise((resolve) => process.once("exit", resolve));
      process.kill("SIGCONT");
      process.kill(signal);
      const timer = setTimeout(() => process.kill("SIGKILL"), 10_000);
      await ended;
      clearTimeout(timer);
    });
    await Promise.all(gone);
  }

  /** Asks one of the applications; the response's status and the session's count of views. */
  async visit(cookie: string | null = null): Promise<{ status: number; views: number; cookie: string | null }> {
    const { port } = this.applications[0]!;
    const response = await fetch(`http://127.0.0.1:${port}/`, { headers: cookie === null ? {} : { cookie } });
    const set = response.headers.get("set-cookie")?.split(";")[0] ?? cookie;
    const { views = -1 } = (await response.json().catch(() => ({}))) as { views?: number };
    return { status: response.status, views, cookie: set };
  }

  #env(): NodeJS.ProcessEnv {
    const { SESSIONFERRY_CONFIG: _config, ...env } = process.env;
    return {
      ...env,
      PATH: `${join(this.folder, "bin")}:${process.env.PATH}`,
      NO_COLOR: "1",
      SESSION_SECRET: "a secret of the tests",
      LEGACY_URL: this.postgres.url,
      REDIS_URL: this.redis.url,
      CONTROL_URL: this.postgres.url,
      MEMCACHED_URL: this.memcached.url,
      ...this.environment,
    };
  }
}

/** What a document's section needs before its commands, by its heading. */
export type Scenes = Readonly<Record<string, (stage: Stage) => Promise<void>>>;

/**
 * Runs every command of a document in its order; the first that ends otherwise than promised is told.
 * @param meanwhile what else has to happen within a section, before the command that it is named after.
 */
export async function perform(
  name: string,
  sections: readonly Section[],
  stage: Stage,
  scenes: Scenes,
  meanwhile: Scenes = {},
): Promise<number> {
  let count = 0;
  for (const { heading, commands } of sections) {
    if (commands.length > 0) await scenes[heading]?.(stage);
    for (const command of commands) {
      await meanwhile[`${heading}: ${command.command}`]?.(stage);
      await performOne(name, command, stage);
      count++;
    }
  }
  return count;
}

async function performOne(name: string, { line, command, expectedExit = 0 }: DocumentedCommand, stage: Stage) {
  const { exit, output } = await stage.run(command);
  if (exit === expectedExit) return;
  throw new Error(`${name}:${line}: ended with ${exit}, promised is ${expectedExit}\n  ${command}\n${output}`);
}
