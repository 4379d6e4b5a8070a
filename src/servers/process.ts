/** One server as a child process: started, asked until it serves, stopped, killed, paused, started again. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, fstatSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { FerryError } from "../errors.js";
import type { Account } from "./account.js";
import type { Address } from "./ask.js";
import { freePort } from "./ports.js";
import type { RunningServer } from "./server.js";
import { forget, watch } from "./watchdog.js";

const READY_WITHIN_MS = 30_000;
const STOP_WITHIN_MS = 5_000;
const ASK_EVERY_MS = 15;
const PORT_ATTEMPTS = 5;
const PAUSED_WITHIN_MS = 1_000;

/** What has to be known about a server to run it. */
export interface Program {
  readonly title: string;
  readonly command: string;
  /** Where its log goes; it runs in there. */
  readonly folder: string;
  readonly account: Account | null;
  readonly stopSignal: NodeJS.Signals;
  args(port: number): readonly string[];
  url(where: Address): string;
  /** Asks whether the process `pid` serves at `where`: an answer by anybody else is a no. */
  ready(where: Address, pid: number): Promise<boolean>;
  /** Called after SIGKILL, for what the server could not tidy up itself. */
  afterKill?(): void;
}

/** Starts `program`, on `port` or on a free one. */
export async function run(program: Program, port?: number): Promise<RunningServer> {
  for (let attempt = 1; ; attempt += 1) {
    const server = new ServerProcess(program, port ?? (await freePort()));
    try {
      await server.launch();
      return server;
    } catch (error) {
      if (!(error instanceof PortTaken) || port !== undefined || attempt === PORT_ATTEMPTS) throw error;
    }
  }
}

class PortTaken extends FerryError {
  constructor(program: Program, port: number) {
    super("UNEXPECTED", `${program.title} could not be started: port ${port} is in use.`, {
      remedy: `End what listens on port ${port}, or let a free port be chosen.`,
    });
  }
}

class ServerProcess implements RunningServer {
  readonly host = "127.0.0.1";
  readonly url: string;
  #child: ChildProcess | null = null;
  #ended: Promise<void> = Promise.resolve();

  constructor(
    readonly program: Program,
    readonly port: number,
  ) {
    this.url = program.url(this);
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.launch();
  }

  async launch(): Promise<void> {
    const { program, port } = this;
    const logPath = join(program.folder, "server.log");
    const log = openSync(logPath, "a");
    const logStart = fstatSync(log).size;
    const child = spawn(program.command, program.args(port), {
      cwd: program.folder,
      // Its own session: Ctrl-C on the terminal is for us, who end the servers when their users are done.
      detached: true,
      stdio: ["ignore", log, log],
      env: { ...process.env, LC_ALL: "C" },
      ...program.account,
    });
    closeSync(log);
    let broken: Error | null = null;
    this.#ended = new Promise((resolve) => {
      child.once("error", (error) => {
        broken = error;
        resolve();
      });
      child.once("exit", () => resolve());
    });
    const { pid } = child;
    if (pid !== undefined) {
      watch(pid, program.stopSignal);
      void this.#ended.then(() => forget(pid));
    }
    // A server that nobody stopped must not keep the process alive; the watchdog ends it.
    child.unref();
    this.#child = child;

    const output = () => readFileSync(logPath).subarray(logStart).toString("utf8").trim();
    for (const deadline = Date.now() + READY_WITHIN_MS; ; ) {
      if (broken !== null) throw failed(program, (broken as Error).message, "");
      if (!this.#alive() || pid === undefined) {
        if (/address already in use|address in use/i.test(output())) throw new PortTaken(program, port);
        throw failed(program, "it ended while starting", output());
      }
      if (await program.ready(this, pid)) return;
      if (Date.now() > deadline) {
        await this.kill();
        throw failed(program, `it did not serve within ${READY_WITHIN_MS / 1000} s`, output());
      }
      await delay(ASK_EVERY_MS);
    }
  }

  async stop(): Promise<void> {
    if (!this.#alive()) return;
    this.resume();
    this.#signal(this.program.stopSignal, [this.pid]);
    const late = new AbortController();
    const ended = await Promise.race([
      this.#ended.then(() => true),
      delay(STOP_WITHIN_MS, false, { signal: late.signal }).catch(() => true),
    ]);
    late.abort();
    if (!ended) await this.kill();
  }

  async kill(): Promise<void> {
    if (!this.#alive()) return;
    const family = this.#family();
    this.#signal("SIGKILL", family);
    // An unreferenced child would let the process end while we wait.
    this.#child?.ref();
    await this.#ended;
    // Its children are not ours to wait for; they hold its shared memory until they are gone.
    for (const deadline = Date.now() + STOP_WITHIN_MS; family.some(exists) && Date.now() < deadline; ) await delay(5);
    this.program.afterKill?.();
  }

  pause(): void {
    // The parent first, lest it make a child that escapes.
    this.#signal("SIGSTOP", [this.pid]);
    const family = this.#family();
    this.#signal("SIGSTOP", family);
    waitUntilStopped(family);
  }

  resume(): void {
    this.#signal("SIGCONT", this.#family().reverse());
  }

  #alive(): boolean {
    const child = this.#child;
    return child?.pid !== undefined && child.exitCode === null && child.signalCode === null;
  }

  #family(): number[] {
    return this.#alive() ? [this.pid, ...childrenOf(this.pid)] : [];
  }

  #signal(signal: NodeJS.Signals, pids: readonly number[]): void {
    if (!this.#alive()) return;
    for (const pid of pids) {
      try {
        process.kill(pid, signal);
      } catch {
        // It ended between our look and the signal, which is as good.
      }
    }
  }
}

/** A zombie counts as gone: in a container nobody may ever collect it. */
function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !existsSync("/proc/self/stat") || stateOf(pid) !== "Z";
  } catch {
    return false;
  }
}

/** As the system's letter; throws where there is no such process, or the system does not tell (no /proc). */
function stateOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  // The name before it may hold anything.
  return stat[stat.lastIndexOf(")") + 2]!;
}

function childrenOf(pid: number): number[] {
  let list: string;
  try {
    list = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  } catch {
    list = spawnSync("pgrep", ["-P", String(pid)], { encoding: "utf8" }).stdout ?? "";
  }
  return list.split(/\s+/).filter(Boolean).map(Number);
}

function failed(program: Program, why: string, output: string): FerryError {
  const said = output === "" ? "" : `; it said:\n${output.split("\n").slice(-15).join("\n")}`;
  return new FerryError("UNEXPECTED", `${program.title} could not be started: ${why}${said}`, {
    remedy: `Start it by hand to see why: ${program.command}`,
  });
}

/**
 * A stop takes effect when some thread of a process gets to it, which on a busy machine is not at once; until then
 * others answer.
 */
function waitUntilStopped(pids: readonly number[]): void {
  const clock = new Int32Array(new SharedArrayBuffer(4));
  const deadline = Date.now() + PAUSED_WITHIN_MS;
  while (pids.some(isGoing) && Date.now() < deadline) Atomics.wait(clock, 0, 0, 1);
}

/** False where the system does not tell (no /proc). */
function isGoing(pid: number): boolean {
  try {
    return !"TtZX".includes(stateOf(pid));
  } catch {
    return false;
  }
}
