import { existsSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

/** Whether `pid` still does anything; a zombie that nobody has collected does not. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const stat = `/proc/${pid}/stat`;
  try {
    return !existsSync("/proc/self/stat") || !readFileSync(stat, "latin1").includes(") Z ");
  } catch {
    return false;
  }
}

/** Waits until `condition` holds, and fails with `what` when it does not within `withinMs`. */
export async function until(what: string, condition: () => boolean | Promise<boolean>, withinMs = 20_000) {
  for (const deadline = Date.now() + withinMs; !(await condition()); await delay(20)) {
    if (Date.now() > deadline) throw new Error(`still not so after ${withinMs} ms: ${what}`);
  }
}

/** Wakes whoever waits for something to change; they look themselves what did. */
export class Signal {
  #waiting: (() => void)[] = [];

  tell(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  told(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
