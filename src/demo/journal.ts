import { closeSync, copyFileSync, openSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";

/**
 * Everything that commands and processes say, in full. The timeline shows of it what a reader of the demo wants; who has
 * to find out why a demo failed wants the rest. It lies in the demo's folder, which goes when the demo ends.
 */
export class Journal {
  readonly #path: string;
  readonly #file: number;
  #open = true;

  constructor(folder: string) {
    this.#path = join(folder, "demo.log");
    this.#file = openSync(this.#path, "a");
  }

  write(who: string, line: string): void {
    // What comes after the end, from a process that is being killed, is of no interest.
    if (this.#open) writeSync(this.#file, `${new Date().toISOString()} ${who}: ${line}\n`);
  }

  close(): void {
    if (this.#open) closeSync(this.#file);
    this.#open = false;
  }

  /** Puts a copy where it outlives the demo; returns its path. */
  keep(): string {
    const kept = join(tmpdir(), `${basename(dirname(this.#path))}.log`);
    copyFileSync(this.#path, kept);
    return kept;
  }
}

/** Told whenever it comes. */
const ALWAYS = /^(the control store is|this process was taken for dead)/;
/** Told only where the story is about it: on a slow machine a connection may be thought lost for a moment. */
const OF_REDIS = /^Redis is/;

/** What of an application's log line belongs into the timeline, without its clock and its fields; else null. */
export function tellingPart(line: string, aboutRedis: boolean): string | null {
  const message = /\bmsg="?([^"]*)"?/.exec(line)?.[1] ?? "";
  return ALWAYS.test(message) || (aboutRedis && OF_REDIS.test(message)) ? message : null;
}
