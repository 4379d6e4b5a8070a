/** A stage with worker processes of its own, to be killed at work. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { demoEnvironment } from "../../src/config.js";
import { openStage, runJson, type Stage, seedSessions } from "../cli/support.js";
import { until } from "../support/processes.js";
import { transpiledPackage } from "../support/processes-of-src.js";

export interface Worker {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  readonly lines: () => string;
}

/** A migration in dual-write, with sessions, and any number of workers. */
export class WorkersStage {
  readonly workers: Worker[] = [];

  private constructor(
    readonly stage: Stage,
    readonly config: string,
    readonly sids: readonly string[],
    private readonly packaged: ReturnType<typeof transpiledPackage>,
  ) {}

  static async open(sessions: number, batch: number): Promise<WorkersStage> {
    const stage = await openStage();
    const packaged = transpiledPackage();
    const config = stage.configure("workers", {
      backfill: { batch },
      workers: { concurrency: 2 },
      timeouts: { acknowledge: "30s", drain: "30s", legacy: "10s", redis: "2s" },
    });
    const sids = await seedSessions(stage.sql, sessions);
    await runJson("setup", ["setup", "--config", config]);
    const up = ["phase", "advance", "--to", "dual-write", "--percent", "100", "--config", config];
    await runJson("phase-move", up);
    return new WorkersStage(stage, config, sids, packaged);
  }

  async start(): Promise<Worker> {
    const main = join(this.packaged.path, "src/cli/main.js");
    const child = spawn(process.execPath, [main, "worker", "--json", "--config", this.config], {
      env: demoEnvironment(),
      stdio: ["ignore", "pipe", "pipe"],
    });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream!.on("data", (chunk) => (text += chunk));
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    const worker = { child, ended, lines: () => text };
    this.workers.push(worker);
    await until(
      "the worker works",
      () => {
        if (child.exitCode !== null) throw new Error(`the worker ended: ${text}`);
        return text.includes('"working"');
      },
      60_000,
    );
    return worker;
  }

  async kill(worker: Worker): Promise<void> {
    this.workers.splice(this.workers.indexOf(worker), 1);
    worker.child.kill("SIGKILL");
    await worker.ended;
  }

  active(queue: string): Promise<number> {
    return this.stage.keys.llen(`{sf:shop:queue}:${queue}:active`);
  }

  /** Keys of pieces that nobody has collected. */
  leftovers(queue: string): Promise<string[]> {
    return this.stage.keys.keys(`{sf:shop:queue}:${queue}:*-[0-9]*`);
  }

  async endWorkers(): Promise<void> {
    for (const { child } of this.workers) child.kill("SIGTERM");
    await Promise.all(this.workers.splice(0).map(({ ended }) => ended));
  }

  async close(): Promise<void> {
    this.packaged.remove();
    await this.stage.close();
  }
}
