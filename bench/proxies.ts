import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { demoEnvironment } from "../src/config.js";
import { freePort } from "../src/servers/ports.js";

/** A proxy in front of memcached, as a process of its own. */
export interface RunningProxy {
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

const NUTCRACKER = ["/usr/sbin/nutcracker", "/usr/bin/nutcracker"].find(existsSync);

/** `sessionferry proxy` from a folder with a configuration; resolves once it listens. */
export async function startProxy(folder: string): Promise<RunningProxy> {
  const main = fileURLToPath(new URL("../src/cli/main.js", import.meta.url));
  const child = spawn(process.execPath, [...PROFILE, main, "proxy", "--json"], {
    cwd: folder,
    env: demoEnvironment(),
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface(child.stdout);
  const told: string[] = [];
  const port = await new Promise<number>((resolve, reject) => {
    lines.on("line", (line) => {
      const { msg, listen } = JSON.parse(line) as { msg: string; listen?: string };
      told.push(line);
      if (msg === "listening") resolve(Number(listen!.split(":").at(-1)));
    });
    child.once("close", () => reject(new Error(`the proxy ended: ${told.join("\n")}`)));
  });
  return { port, pid: child.pid!, stop: () => stop(child) };
}

/** Where a `--cpu-prof` of every proxy goes, for whoever looks for what costs. */
const PROFILE =
  process.env.BENCH_PROFILE === undefined ? [] : ["--cpu-prof", "--cpu-prof-dir", process.env.BENCH_PROFILE];

/** nutcracker, which distributes and pipelines and knows no migration; null where it is not installed. */
export async function startNutcracker(folder: string, memcached: number): Promise<RunningProxy | null> {
  if (NUTCRACKER === undefined) return null;
  const [port, stats] = [await freePort(), await freePort()];
  const conf = join(folder, "nutcracker.yml");
  writeFileSync(conf, `p:\n  listen: 127.0.0.1:${port}\n  servers:\n   - 127.0.0.1:${memcached}:1\n`);
  const args = ["-c", conf, "-s", String(stats), "-o", join(folder, "nutcracker.log"), "-m", "16384"];
  const child = spawn(NUTCRACKER, args, { stdio: "ignore" });
  await new Promise((resolve) => setTimeout(resolve, 500));
  return { port, pid: child.pid!, stop: () => stop(child) };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, "close");
  child.kill("SIGTERM");
  await closed;
}

/** Seconds of CPU that a process has used, its own and the kernel's for it. */
export function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  // The kernel counts in hundredths wherever Linux runs.
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
