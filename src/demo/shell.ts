import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { demoEnvironment } from "../config.js";
import type { Journal } from "./journal.js";
import type { Timeline } from "./timeline.js";

/** The demo cannot go on: a command did not end as it should have, or a process failed. */
export class DemoFailed extends Error {
  override readonly name = "DemoFailed";
}

export interface CommandOutcome {
  readonly code: number | null;
  readonly stdout: string;
  /** Its lines. */
  readonly stderr: readonly string[];
}

/** Lines of one command that are shown; the rest is counted. */
const SHOWN = 16;

/** Types commands in the folder of the configuration, in processes of their own, and shows what they print. */
export class Shell {
  constructor(
    readonly folder: string,
    readonly timeline: Timeline,
    readonly journal: Journal,
    readonly signal: AbortSignal,
  ) {}

  /**
   * Shows and runs a command; rejects with `DemoFailed` unless it exits with `expected`.
   * @param typed what the team types when it is asked to
   */
  async run(words: readonly string[], expected = 0, typed?: string): Promise<CommandOutcome> {
    this.timeline.command(words);
    let shown = 0;
    const show = (line: string) => {
      if (++shown <= SHOWN) this.timeline.output(line);
    };
    const outcome = await this.#spawn(words, typed, show);
    // How a command gets on belongs into the journal, what it ends with into the timeline.
    if (outcome.code !== 0) for (const line of outcome.stderr) show(line);
    if (shown > SHOWN) this.timeline.output(`... ${shown - SHOWN} more lines`);
    if (outcome.code !== expected) {
      throw new DemoFailed(`sessionferry ${words.join(" ")} exited with ${outcome.code} instead of ${expected}`);
    }
    if (expected !== 0) this.timeline.output(`(exit ${expected}, as it should)`);
    return outcome;
  }

  /** Asks with --json and shows nothing; null where the command failed. */
  async ask<T>(words: readonly string[]): Promise<T | null> {
    const { code, stdout } = await this.#spawn([...words, "--json"], undefined, () => {});
    return code === 0 ? (JSON.parse(stdout) as T) : null;
  }

  async #spawn(
    words: readonly string[],
    typed: string | undefined,
    show: (line: string) => void,
  ): Promise<CommandOutcome> {
    // An abort that came before would not be heard any more.
    this.signal.throwIfAborted();
    const name = `$ sessionferry ${words.join(" ")}`;
    const main = fileURLToPath(new URL("../cli/main.js", import.meta.url));
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [main, ...words], {
        cwd: this.folder,
        env: demoEnvironment(),
        stdio: ["pipe", "pipe", "pipe"],
      });
      const abort = () => child.kill("SIGKILL");
      this.signal.addEventListener("abort", abort, { once: true });
      let stdout = "";
      const stderr: string[] = [];
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        stdout += text;
      });
      byLine(child.stdout, (line) => {
        this.journal.write(name, line);
        show(line);
      });
      byLine(child.stderr, (line) => {
        this.journal.write(name, line);
        stderr.push(line);
      });
      child.stdin.on("error", () => {});
      child.stdin.end(typed === undefined ? "" : `${typed}\n`);
      child.on("error", reject);
      child.on("close", (code) => {
        this.signal.removeEventListener("abort", abort);
        this.journal.write(name, `exit ${code}`);
        resolve({ code, stdout, stderr });
      });
    });
  }
}

/** Calls `take` with every whole line, and with the rest at the end. */
export function byLine(stream: NodeJS.ReadableStream, take: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") take(line);
  });
  stream.on("end", () => {
    if (rest.trim() !== "") take(rest);
  });
}
