import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Config } from "../../src/core/config.js";
import type { Session, Sid } from "../../src/core/session.js";
import { type ErrorCode, FerryError } from "../../src/errors.js";
import type { Point } from "../../src/ports/observer.js";
import { forget, watch } from "../../src/servers/watchdog.js";
import type { Member } from "../support/history.js";
import { transpiledPackage } from "../support/processes-of-src.js";
import { transpileFile } from "../support/transpile.js";

const FOLDER = "test/integration/processes";
const HERE = fileURLToPath(new URL("./processes/", import.meta.url));

/** A package folder from which member.js and walker.js can be started by a plain `node`. */
export function processPackage(): { readonly folder: string; remove(): void } {
  const { path, remove } = transpiledPackage();
  const folder = join(path, FOLDER);
  for (const name of ["member", "walker", "shifted-clock"]) {
    transpileFile(join(HERE, `${name}.ts`), join(folder, `${name}.js`));
  }
  return { folder, remove };
}

/** What a request to a dead process ends with: nobody knows whether it took effect. */
class CutOff extends Error {
  readonly code = "cut-off";
}

interface Answer {
  readonly session?: { value: string; expiresAt: number } | null;
  readonly applied?: boolean;
  readonly error?: { code: ErrorCode; message: string };
}

interface Open {
  readonly verb: string;
  readonly since: number;
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** One application process; requests to it are messages. */
export class MemberProcess implements Member {
  readonly #open = new Map<number, Open>();
  readonly events: { readonly event: string; readonly detail: string }[] = [];
  readonly #held = new Map<Point, () => void>();
  #ids = 0;
  /** False once it was killed: no new requests then. */
  alive = true;
  frozen = false;
  /** How often it was frozen: a request under way then took as long as that. */
  freezes = 0;

  private constructor(
    readonly child: ChildProcess,
    readonly exited: Promise<void>,
  ) {}

  /** @param shift milliseconds by which the process' clock is ahead. */
  static async start(folder: string, config: Config, shift = 0): Promise<MemberProcess> {
    const clock = `${pathToFileURL(join(folder, "shifted-clock.js"))}?by=${shift}`;
    const execArgv = shift === 0 ? [] : ["--import", clock];
    const args = [JSON.stringify(config), String(shift)];
    const child = fork(join(folder, "member.js"), args, { stdio: "inherit", execArgv });
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    // A frozen one does not notice that the run has ended.
    watched(child);
    const member = new MemberProcess(child, exited);
    await new Promise<void>((resolve, reject) => {
      child.on("message", (message: Record<string, unknown>) => {
        if (message.ready) resolve();
        else if (message.failed) {
          const { code, message: text } = message.failed as { code: ErrorCode; message: string };
          reject(new FerryError(code, text));
        } else member.#take(message);
      });
      void exited.then(() => {
        member.alive = false;
        for (const { reject: cut } of member.#open.values()) cut(new CutOff("its process is gone"));
        member.#open.clear();
        reject(new Error("the process ended while starting"));
      });
    });
    return member;
  }

  async get(sid: Sid): Promise<Session | null> {
    const { session } = await this.#ask("get", sid);
    return session ? { value: Buffer.from(session.value), flags: 0, expiresAt: session.expiresAt } : null;
  }
  async set(sid: Sid, { value, expiresAt }: Session): Promise<void> {
    await this.#ask("set", sid, { value: value.toString(), expiresAt });
  }
  async touch(sid: Sid, expiresAt: number): Promise<boolean> {
    return (await this.#ask("touch", sid, { expiresAt })).applied === true;
  }
  async destroy(sid: Sid): Promise<void> {
    await this.#ask("destroy", sid);
  }

  /** Requests that were not answered yet. */
  get waiting(): { readonly verb: string; readonly milliseconds: number }[] {
    const now = performance.now();
    return [...this.#open.values()].map(({ verb, since }) => ({ verb, milliseconds: Math.round(now - since) }));
  }

  /** The next operation that passes this point stays there until it is released; resolves when one has come. */
  hold(point: Point): Promise<void> {
    return new Promise((resolve) => {
      this.#held.set(point, resolve);
      this.child.send({ hold: point });
    });
  }

  /** Lets every operation that is held go on; none is held any more. */
  release(): void {
    this.child.send({ release: true });
  }

  async kill(): Promise<void> {
    this.alive = false;
    this.child.kill("SIGKILL");
    await this.exited;
  }

  freeze(): void {
    this.frozen = true;
    this.freezes++;
    this.child.kill("SIGSTOP");
  }

  wake(): void {
    this.frozen = false;
    this.child.kill("SIGCONT");
  }

  /** Asks it to leave in good order, and ends it when it does not. */
  async close(): Promise<void> {
    if (!this.alive) return;
    this.alive = false;
    this.wake();
    this.child.send({ close: true });
    const late = setTimeout(() => this.child.kill("SIGKILL"), 10_000);
    await this.exited;
    clearTimeout(late);
  }

  #ask(verb: string, sid: Sid, rest: object = {}): Promise<Answer> {
    const id = this.#ids++;
    return new Promise<Answer>((resolve, reject) => {
      this.#open.set(id, { verb, since: performance.now(), resolve, reject });
      if (!this.child.connected) return reject(new CutOff("its process is gone"));
      this.child.send({ id, verb, sid, ...rest }, (error) => {
        if (error) reject(new CutOff("its process is gone"));
      });
    });
  }

  #take(message: Record<string, unknown>): void {
    if (typeof message.id === "number") {
      const request = this.#open.get(message.id);
      this.#open.delete(message.id);
      const { error } = message as Answer;
      if (error) request?.reject(new FerryError(error.code, error.message));
      else request?.resolve(message as Answer);
    } else if (message.held) {
      this.#held.get(message.held as Point)?.();
    } else if (message.event) {
      this.events.push(message as { event: string; detail: string });
    }
  }
}

/** However the run ends, this process does not outlive it. */
function watched(child: ChildProcess): void {
  watch(child.pid!, "SIGKILL");
  child.once("exit", () => forget(child.pid!));
}

/** The member, which tells how many milliseconds each request took whose process was neither frozen nor killed meanwhile. */
export function timed(member: MemberProcess, took: (milliseconds: number) => void): Member {
  const time = async <T>(request: Promise<T>): Promise<T> => {
    const { freezes } = member;
    const began = performance.now();
    try {
      return await request;
    } finally {
      if (member.alive && !member.frozen && member.freezes === freezes) took(performance.now() - began);
    }
  };
  return {
    get: (sid) => time(member.get(sid)),
    set: (sid, session) => time(member.set(sid, session)),
    touch: (sid, expiresAt) => time(member.touch(sid, expiresAt)),
    destroy: (sid) => time(member.destroy(sid)),
  };
}

export type Work = { readonly to: object } | { finish: true } | { reverse: true } | { backfill: true };

/** What walker.js tells. */
interface Told {
  readonly holder: string;
  readonly point: Point;
  readonly stopped: Point;
  readonly done: true;
  readonly failed: { readonly code: string };
}

/**
 * Runs a command in a process that is killed at its point number `steps`, or runs to its end if it passes fewer.
 *
 * @param freezing what happens while it is frozen there, instead: then it is woken and goes on.
 * @returns the points it passed, how it ended, and in whose name it held its locks.
 */
export async function walkAndDie(
  folder: string,
  config: Config,
  work: Work,
  steps: number,
  freezing?: (holder: string) => Promise<void>,
): Promise<{ points: Point[]; ended: "killed" | "done" | string; holder: string }> {
  const args = [JSON.stringify(config), String(steps), JSON.stringify(work)];
  const child = fork(join(folder, "walker.js"), args, { stdio: "inherit", execArgv: [] });
  watched(child);
  const points: Point[] = [];
  let ended = "";
  let holder = "";
  child.on("message", (message: Partial<Told>) => {
    if (message.holder) holder = message.holder;
    if (message.point) points.push(message.point);
    if (message.stopped && freezing !== undefined) {
      child.kill("SIGSTOP");
      void freezing(holder)
        .catch((error) => {
          ended = `test: ${error.message}`;
        })
        .finally(() => {
          child.kill("SIGCONT");
          child.send({ release: true });
        });
    } else if (message.stopped) {
      ended = "killed";
      child.kill("SIGKILL");
    }
    if (message.done) ended ||= "done";
    if (message.failed) ended ||= message.failed.code;
  });
  // Its last words may come after its end.
  await Promise.all([once(child, "exit"), child.connected && once(child, "disconnect")]);
  return { points, ended, holder };
}
