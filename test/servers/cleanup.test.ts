import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";
import { isRunning, until } from "../support/processes.js";
import { transpile } from "../support/transpile.js";

/** Starts one server of each kind, tells what there is to clean up, and ends as its argument says. */
const PARENT = `
import { readFileSync } from "node:fs";
import { startMemcached, startPostgres, startRedis } from "./servers/index.js";
import { processFolder } from "./servers/watchdog.js";
const servers = await Promise.all([startRedis(), startMemcached(), startPostgres()]);
const pids = servers.flatMap(({ pid }) => {
  const children = readFileSync(\`/proc/\${pid}/task/\${pid}/children\`, "utf8").split(" ").filter(Boolean).map(Number);
  return [pid, ...children];
});
const [ending] = process.argv.slice(2);
if (ending === "paused") for (const server of servers) server.pause();
process.stdout.write(JSON.stringify({ pids, folder: processFolder() }) + "\\n");
if (ending === "throw") setTimeout(() => { throw new Error("on purpose"); }, 10);
else if (ending === "exit") setTimeout(() => process.exit(0), 10);
else if (ending !== "return") setInterval(() => {}, 1_000);
`;

let folder: string;
beforeAll(() => {
  folder = transpile(["errors.ts", "servers"]);
  writeFileSync(join(folder, "parent.js"), PARENT);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function parent(ending: string): Promise<{ child: ChildProcess; pids: number[]; folder: string }> {
  const child = spawn(process.execPath, [join(folder, "parent.js"), ending], { stdio: ["ignore", "pipe", "ignore"] });
  const lines = createInterface({ input: child.stdout });
  const line = await new Promise<string>((resolve, reject) => {
    lines.once("line", resolve);
    child.once("exit", () => reject(new Error("the parent ended before it had started its servers")));
  });
  return { child, ...JSON.parse(line) };
}

const endings: readonly { how: string; ending: string; signal?: NodeJS.Signals }[] = [
  { how: "by SIGKILL", ending: "wait", signal: "SIGKILL" },
  { how: "by SIGKILL while its servers are paused", ending: "paused", signal: "SIGKILL" },
  { how: "by SIGINT", ending: "wait", signal: "SIGINT" },
  { how: "by SIGTERM", ending: "wait", signal: "SIGTERM" },
  { how: "by an uncaught error", ending: "throw" },
  { how: "by process.exit", ending: "exit" },
  { how: "because its work is done, though it stopped no server", ending: "return" },
];

test.each(endings)("nothing outlives a process that ends $how", async ({ ending, signal }) => {
  const { child, pids, folder } = await parent(ending);
  // Three servers, and the children that PostgreSQL made.
  expect(pids.length).toBeGreaterThan(3);
  if (signal !== undefined) child.kill(signal);
  await until("every server has ended", () => !pids.some(isRunning));
  await until("the temporary folder is gone", () => !existsSync(folder));
  // The shared memory of PostgreSQL belongs to its postmaster, one of these pids.
  const segments = existsSync("/proc/sysvipc/shm")
    ? readFileSync("/proc/sysvipc/shm", "utf8").split("\n").slice(1)
    : [];
  const makers = segments.map((line) => Number(line.trim().split(/\s+/)[4]));
  expect(makers.filter((maker) => pids.includes(maker))).toEqual([]);
});

test("Ctrl-C on the terminal reaches the whole process group, and yet everything is gone", async () => {
  const child = spawn(process.execPath, [join(folder, "parent.js"), "wait"], {
    stdio: ["ignore", "pipe", "ignore"],
    detached: true,
  });
  const line = await new Promise<string>((resolve) => createInterface({ input: child.stdout }).once("line", resolve));
  const { pids, folder: own } = JSON.parse(line) as { pids: number[]; folder: string };
  process.kill(-(child.pid as number), "SIGINT");
  await until("every server has ended", () => !pids.some(isRunning));
  await until("the temporary folder is gone", () => !existsSync(own));
});
