import type { TerminalEnvironment } from "../config.js";
import type { FerryError } from "../errors.js";
import { isTerminal, type Paint, paintFor } from "./terminal.js";

export interface Streams {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
}

/**
 * Where a command's words go: its result to stdout (text, or one JSON document), everything else to stderr. A reader
 * that goes away (`| head`) ends the printing, never the command: a half-done step is worse than an unread line.
 */
export class Output {
  /** For texts that go to stdout. */
  readonly paint: Paint;
  readonly #paintError: Paint;
  #gone = false;
  #onGone: (() => void) | undefined;

  constructor(
    readonly streams: Streams,
    readonly json: boolean,
    environment: TerminalEnvironment,
  ) {
    this.paint = paintFor(streams.stdout, environment);
    this.#paintError = paintFor(streams.stderr, environment);
    for (const stream of [streams.stdout, streams.stderr]) {
      stream.on("error", (error: NodeJS.ErrnoException) => {
        if (stream !== streams.stdout) return;
        this.#gone = true;
        if (error.code === "EPIPE") this.#onGone?.();
      });
    }
  }

  /** Called once nobody reads stdout any more: reason enough for a watching command to end. */
  set onGone(listener: () => void) {
    this.#onGone = listener;
  }

  /** The command's one result. */
  result(document: unknown, text: string): void {
    if (this.json) this.#print(`${JSON.stringify(document, null, isTerminal(this.streams.stdout) ? 2 : 0)}\n`);
    else if (text !== "") this.#print(`${text}\n`);
  }

  /** One of many results of a command that goes on: with --json one document a line. */
  line(document: unknown, text: string): void {
    this.#print(this.json ? `${JSON.stringify(document)}\n` : `${text}\n`);
  }

  /** A word on the way. */
  log(text: string): void {
    this.streams.stderr.write(`${text}\n`);
  }

  warn(text: string): void {
    this.streams.stderr.write(`${this.#paintError("yellow", "warning")}: ${text}\n`);
  }

  failure(error: FerryError): void {
    if (this.json) {
      this.result(error.toJSON(), "");
      return;
    }
    const lines = [
      `${this.#paintError("red", `error ${error.code}`)}: ${error.message}`,
      `  What to do: ${error.remedy}`,
    ];
    if (error.changed !== "nothing") lines.push(`  What was changed: ${error.changed}`);
    if (error.next !== null) lines.push(`  Next: ${error.next}`);
    this.log(lines.join("\n"));
  }

  /** Resolves when everything printed has reached its reader, or never will. */
  async flush(): Promise<void> {
    const streams = this.#gone ? [this.streams.stderr] : [this.streams.stdout, this.streams.stderr];
    await Promise.all(streams.map((stream) => new Promise<void>((resolve) => stream.write("", () => resolve()))));
  }

  #print(text: string): void {
    if (!this.#gone) this.streams.stdout.write(text);
  }
}
