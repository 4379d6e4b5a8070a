import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { demoEnvironment } from "../src/config.js";

export interface Ran {
  readonly code: number | null;
  /** From the start of the process to its end: what somebody who runs it waits for. */
  readonly seconds: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Bytes of memory that the process held at most. */
  readonly peak: number;
}

/** How often the peak is looked up; the kernel keeps it, so only the very last growth can be missed. */
const LOOK_EVERY = 50;

export async function run(command: string, args: readonly string[], cwd?: string): Promise<Ran> {
  const began = performance.now();
  const child = spawn(command, args, { cwd, env: demoEnvironment(), stdio: ["ignore", "pipe", "pipe"] });
  let peak = 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, peakOf(child.pid));
  }, LOOK_EVERY);
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", resolve);
    });
    return { code, seconds: (performance.now() - began) / 1000, stdout, stderr, peak };
  } finally {
    clearInterval(timer);
  }
}

/** A command of ours, as a user types it; its document. Rejects unless it ended with one of these codes. */
export async function sessionferry<T>(
  folder: string,
  words: readonly string[],
  codes: readonly number[] = [0],
): Promise<Ran & { readonly document: T }> {
  const main = fileURLToPath(new URL("../src/cli/main.js", import.meta.url));
  const ran = await run(process.execPath, [main, ...words, "--json"], folder);
  if (!codes.includes(ran.code ?? -1)) {
    throw new Error(`sessionferry ${words.join(" ")} ended with ${ran.code}:\n${ran.stdout}${ran.stderr}`);
  }
  return { ...ran, document: JSON.parse(ran.stdout) as T };
}

/** One of the scripts that people write instead. */
export function rival(name: string, args: readonly string[]): Promise<Ran> {
  return run(process.execPath, [fileURLToPath(new URL(`./rivals/${name}.js`, import.meta.url)), ...args]);
}

/** `VmHWM`, where the system has it. */
function peakOf(pid: number | undefined): number {
  try {
    const [, kilobytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))!;
    return Number(kilobytes) * 1024;
  } catch {
    return 0;
  }
}
