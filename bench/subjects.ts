import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { demoEnvironment } from "../src/config.js";
import type { Answers, Ask, StoreSpec } from "./messages.js";

interface Reply {
  readonly answer?: unknown;
  readonly failed?: string;
}

/** A process that measures one store, seen from outside. One question at a time. */
export class Subject {
  private constructor(
    readonly name: string,
    readonly child: ChildProcess,
  ) {}

  /** @param nodeArgs options of Node itself, such as `--cpu-prof` */
  static async start(name: string, spec: StoreSpec, nodeArgs: readonly string[] = []): Promise<Subject> {
    const child = fork(fileURLToPath(new URL("./subject.js", import.meta.url)), [JSON.stringify(spec)], {
      env: demoEnvironment(),
      serialization: "advanced",
      execArgv: [...nodeArgs],
    });
    const subject = new Subject(name, child);
    await subject.#reply();
    return subject;
  }

  async ask<V extends Ask["verb"]>(ask: Extract<Ask, { verb: V }>): Promise<Answers[V]> {
    this.child.send(ask);
    return (await this.#reply()).answer as Answers[V];
  }

  /** Ends the pacing that was asked for and has not answered yet. */
  stop(): void {
    this.child.send({ verb: "stop" } satisfies Ask);
  }

  /** Ends it in good order. */
  async close(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const exited = once(this.child, "exit");
    await this.ask({ verb: "close" }).catch(() => this.child.kill("SIGKILL"));
    await exited;
  }

  async #reply(): Promise<Reply> {
    const ended = new AbortController();
    const { signal } = ended;
    try {
      const reply = await Promise.race([
        once(this.child, "message", { signal }).then(([message]) => message as Reply),
        once(this.child, "exit", { signal }).then(() => ({ failed: "its process ended" })),
      ]);
      if (reply.failed !== undefined) throw new Error(`${this.name}: ${reply.failed}`);
      return reply;
    } finally {
      ended.abort();
    }
  }
}

/** Runs the work with these processes, and ends them however it went. */
export async function withSubjects<T>(
  starting: readonly { readonly name: string; readonly spec: StoreSpec }[],
  work: (subjects: Subject[]) => Promise<T>,
): Promise<T> {
  const subjects: Subject[] = [];
  try {
    // One after the other: sixteen processes that start at once on two cores starve each other's deadlines.
    for (const { name, spec } of starting) subjects.push(await Subject.start(name, spec));
    return await work(subjects);
  } finally {
    await Promise.all(subjects.map((subject) => subject.close()));
  }
}
