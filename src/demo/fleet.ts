import { type ChildProcess, fork } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { demoEnvironment } from "../config.js";
import type { AppMessage } from "./app.js";
import { type Journal, tellingPart } from "./journal.js";
import { byLine, DemoFailed } from "./shell.js";
import { Target } from "./target.js";
import type { Timeline } from "./timeline.js";
import type { Truth } from "./truth.js";

/** How long an application process may take to start or to end, in milliseconds. */
const PATIENCE = 30_000;

interface Member {
  readonly target: Target;
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
}

/** The application processes behind the load balancer. */
export class Fleet {
  readonly #members = new Map<string, Member>();
  /** Whether the timeline tells what the processes say about Redis. */
  tellsOfRedis = false;

  constructor(
    readonly truth: Truth,
    readonly timeline: Timeline,
    readonly journal: Journal,
  ) {}

  targets = (): Target[] => [...this.#members.values()].map((member) => member.target);

  pidOf(name: string): number | undefined {
    return this.#members.get(name)?.child.pid;
  }

  /** Starts a process and lets it take requests once it listens. */
  async start(name: string, args: readonly string[], cwd: string): Promise<void> {
    const child = fork(fileURLToPath(new URL("./app.js", import.meta.url)), args, {
      cwd,
      env: demoEnvironment(),
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      execArgv: [],
    });
    if (child.stderr !== null) byLine(child.stderr, (line) => this.#heard(name, line));
    const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
    const port = await new Promise<number>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new DemoFailed(`${name} did not start within ${PATIENCE / 1000} s`)),
        PATIENCE,
      );
      child.on("message", (message: AppMessage) => {
        if (message.type === "failed") return this.truth.heard(message);
        clearTimeout(timer);
        resolve(message.port);
      });
      child.once("error", reject);
      void exited.then((code) => {
        clearTimeout(timer);
        reject(new DemoFailed(`${name} ended with code ${code} before it listened`));
      });
    });
    this.#members.set(name, { target: new Target(name, port), child, exited });
  }

  /** Takes it out of the balancer, ends it as a deployment does, and waits; rejects unless it ended in good order. */
  async stop(name: string): Promise<void> {
    const member = this.#members.get(name);
    if (member === undefined) return;
    await member.target.drain();
    member.child.kill("SIGTERM");
    const timer = setTimeout(() => member.child.kill("SIGKILL"), PATIENCE);
    const code = await member.exited;
    clearTimeout(timer);
    this.#members.delete(name);
    if (code !== 0) throw new DemoFailed(`${name} did not end in good order (code ${code})`);
  }

  /** SIGKILL, in the middle of its requests; how many it had. */
  async kill(name: string, patient = true): Promise<number> {
    const member = this.#members.get(name);
    if (member === undefined) return 0;
    // At a moment when it works on something, or its death would prove little.
    for (let turn = 0; patient && turn < 200 && member.target.inFlight < 2; turn++) await sleep(5);
    const cut = member.target.killed();
    member.child.kill("SIGKILL");
    await member.exited;
    this.#members.delete(name);
    return cut;
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#members.keys()].map((name) => this.stop(name)));
  }

  #heard(name: string, line: string): void {
    this.journal.write(name, line);
    const telling = tellingPart(line, this.tellsOfRedis);
    if (telling !== null) this.timeline.output(`${name}: ${telling}`);
  }

  /** For the way out of a demo that failed. */
  async killAll(): Promise<void> {
    await Promise.all([...this.#members.keys()].map((name) => this.kill(name, false)));
  }
}
