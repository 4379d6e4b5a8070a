#!/usr/bin/env node
import { EXIT } from "../errors.js";
import { VERSION } from "../runtime/version.js";
import { runCli } from "./run.js";

/** The process around `runCli`: its signals and its end. */
async function main(): Promise<void> {
  const abort = new AbortController();
  const interrupt = () => {
    // The second one means now: whatever is pending is finished or reversed by the next command.
    if (abort.signal.aborted) process.exit(EXIT.interrupted);
    process.stderr.write("\nStopping at the next safe point; press Ctrl-C again to leave at once.\n");
    abort.abort();
  };
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", interrupt);
  const exit = await runCli({
    argv: process.argv.slice(2),
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    signal: abort.signal,
    stop: () => abort.abort(),
    version: VERSION,
  });
  // A connection that somebody forgot must not keep a finished command from ending.
  process.exit(exit);
}

void main();
