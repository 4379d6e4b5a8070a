import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { type Address, ask } from "./ask.js";
import { startContainer } from "./docker.js";
import { findRedis } from "./find.js";
import { missing } from "./missing.js";
import { run } from "./process.js";
import type { RunningServer } from "./server.js";
import { processFolder } from "./watchdog.js";

export interface RedisOptions {
  /** Appended to the command line, where the last word wins: `["--maxmemory", "1mb"]`. */
  readonly args?: readonly string[];
  /** Keeps its data here instead of in a folder of its own; it is not removed. Not for a server from Docker. */
  readonly dir?: string;
  readonly port?: number;
}

/** A Redis that writes nothing to disk and evicts nothing, unless `args` say otherwise. */
export async function startRedis(options: RedisOptions = {}): Promise<RunningServer> {
  const settings = ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", ...(options.args ?? [])];
  const url = ({ host, port }: Address) => `redis://${host}:${port}`;
  const command = findRedis();
  if (command === null) {
    const container = await startContainer("redis", {
      command: ["redis-server", "--protected-mode", "no", ...settings],
      url,
      port: options.port,
      ready: (where) => redisServes(where, 1),
    });
    if (container === null) throw missing(["redis"]);
    return container;
  }
  const folder = options.dir ?? mkdtempSync(join(processFolder(), "redis-"));
  return run(
    {
      title: "Redis",
      command,
      folder,
      account: null,
      stopSignal: "SIGTERM",
      args: (port) => ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, ...settings],
      url,
      ready: redisServes,
    },
    options.port,
  );
}

async function redisServes(where: Address, pid: number): Promise<boolean> {
  const answer = await ask(where, "INFO server\r\n", (text) => text.includes("process_id:") || text[0] === 0x2d);
  if (answer === null) return false;
  const text = answer.toString("latin1");
  // Loading its data set it answers INFO, but no reads yet.
  if (text.startsWith("-")) return !text.startsWith("-LOADING");
  if (!new RegExp(`^process_id:${pid}\\r?$`, "m").test(text)) return false;
  const pong = await ask(where, "PING\r\n", (reply) => reply.includes("\r\n"));
  return pong !== null && !pong.toString("latin1").startsWith("-LOADING");
}
