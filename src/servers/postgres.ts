import { execFile, spawnSync } from "node:child_process";
import { chownSync, mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { FerryError } from "../errors.js";
import { unprivileged } from "./account.js";
import { type Address, ask } from "./ask.js";
import { startContainer } from "./docker.js";
import { findPostgres, type PostgresPrograms } from "./find.js";
import { missing } from "./missing.js";
import { run } from "./process.js";
import type { RunningServer } from "./server.js";
import { processFolder } from "./watchdog.js";

export interface PostgresOptions {
  /** Settings of postgresql.conf, by name; they win over ours. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly port?: number;
}

/** Durability is what a throw-away server does not need and pays most for. */
const SETTINGS: Readonly<Record<string, string>> = {
  fsync: "off",
  synchronous_commit: "off",
  full_page_writes: "off",
  timezone: "UTC",
  log_timezone: "UTC",
};

/** A PostgreSQL with the superuser `postgres`, no password and no socket file. */
export async function startPostgres(options: PostgresOptions = {}): Promise<RunningServer> {
  const settings = Object.entries({ ...SETTINGS, ...options.settings }).flatMap(([name, value]) => [
    "-c",
    `${name}=${value}`,
  ]);
  const url = ({ host, port }: Address) => `postgres://postgres@${host}:${port}/postgres`;
  const programs = await findPostgres();
  if (programs === null) {
    const container = await startContainer("postgres", {
      command: ["postgres", ...settings],
      url,
      port: options.port,
      ready: takesSessions,
    });
    if (container === null) throw missing(["postgres"]);
    return container;
  }
  const folder = ownedFolder();
  const data = join(folder, "data");
  await exec("cp", ["-R", await template(programs), data]);
  return run(
    {
      title: "PostgreSQL",
      command: programs.postgres,
      folder,
      account: unprivileged(),
      // SIGQUIT is its immediate shutdown: it waits for no client, and takes its shared memory with it.
      stopSignal: "SIGQUIT",
      args: (port) => ["-D", data, "-h", "127.0.0.1", "-p", String(port), "-k", "", ...settings],
      url,
      ready: (where, pid) => postgresServes(where, pid, data),
      afterKill: () => removeSharedMemory(data),
    },
    options.port,
  );
}

/** initdb takes about a second, a copy of its work a tenth of that. */
let initialised: Promise<string> | null = null;

function template(programs: PostgresPrograms): Promise<string> {
  initialised ??= initialise(programs);
  return initialised;
}

async function initialise(programs: PostgresPrograms): Promise<string> {
  const data = join(ownedFolder(), "template");
  const args = ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
  // Small log segments: the folder is copied for every server.
  await exec(programs.initdb, [...args, "--wal-segsize=1"]);
  return data;
}

/** Runs a program as the user that owns the data folder. */
async function exec(command: string, args: readonly string[]): Promise<void> {
  try {
    await promisify(execFile)(command, args, {
      cwd: "/",
      env: { ...process.env, LC_ALL: "C" },
      ...unprivileged(),
    });
  } catch (cause) {
    const said = (cause as { stderr?: string }).stderr?.trim() || String(cause);
    throw new FerryError("UNEXPECTED", `PostgreSQL could not be prepared by ${command}; it said:\n${said}`, {
      cause,
      remedy: "See that the temporary folder has room and belongs to a file system that PostgreSQL can use.",
    });
  }
}

function ownedFolder(): string {
  const folder = mkdtempSync(join(processFolder(), "postgres-"));
  const account = unprivileged();
  if (account !== null) chownSync(folder, account.uid, account.gid);
  return folder;
}

/**
 * It serves when its own pid file says ready and a session can be opened. The pid file tells our server from another one
 * that took the port first.
 */
async function postgresServes(where: Address, pid: number, data: string): Promise<boolean> {
  let lines: string[];
  try {
    lines = readFileSync(join(data, "postmaster.pid"), "utf8").split("\n");
  } catch {
    return false;
  }
  if (lines[0]?.trim() !== String(pid) || lines[7]?.trim() !== "ready") return false;
  return takesSessions(where);
}

async function takesSessions(where: Address): Promise<boolean> {
  const answer = await ask(where, startupMessage(), (bytes) => READY_FOR_QUERY.equals(bytes.subarray(-6)));
  return answer !== null;
}

const READY_FOR_QUERY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);

/** Protocol 3.0: length, version, then names and values, each ended by a zero byte, and one more at the end. */
function startupMessage(): Buffer {
  const body = Buffer.from("user\0postgres\0database\0postgres\0\0", "latin1");
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + body.length, 0);
  head.writeUInt32BE(0x0003_0000, 4);
  return Buffer.concat([head, body]);
}

/** A killed PostgreSQL leaves a small System V segment, which would outlive us; its id ends line 7 of the pid file. */
function removeSharedMemory(data: string): void {
  try {
    const id = readFileSync(join(data, "postmaster.pid"), "utf8").split("\n")[6]?.trim().split(/\s+/)[1];
    if (id !== undefined) spawnSync("ipcrm", ["-m", id], { stdio: "ignore" });
  } catch {
    // No pid file, no segment.
  }
}
