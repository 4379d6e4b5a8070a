import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { findRedis } from "../../src/servers/find.js";
import { type RunningServer, startRedis } from "../../src/servers/index.js";
import { freePort } from "../../src/servers/ports.js";
import { forget, processFolder, watch } from "../../src/servers/watchdog.js";
import { until } from "./processes.js";

const DISKLESS = ["--repl-diskless-sync-delay", "0"];

/**
 * A master with two replicas, watched by three sentinels that find a dead master within three seconds. However the process
 * ends that started them, nothing of it stays.
 */
export class SentinelGroup {
  /** Of all six processes. */
  get pids(): number[] {
    return [this.master, ...this.replicas, ...this.sentinels].map(({ pid }) => pid!);
  }

  private constructor(
    readonly url: string,
    readonly master: RunningServer,
    private readonly replicas: readonly RunningServer[],
    private readonly sentinels: readonly ChildProcess[],
    private readonly folder: string,
  ) {}

  static async start(): Promise<SentinelGroup> {
    const master = await startRedis({ args: DISKLESS });
    const args = [...DISKLESS, "--replicaof", "127.0.0.1", String(master.port)];
    const replicas = await Promise.all([startRedis({ args }), startRedis({ args })]);
    for (const replica of replicas) {
      await ask(replica, (redis) =>
        until("the replica follows", async () => (await redis.info("replication")).includes("master_link_status:up")),
      );
    }
    const folder = mkdtempSync(join(processFolder(), "sentinels-"));
    const ports = [await freePort(), await freePort(), await freePort()];
    const sentinels = ports.map((port) => {
      const own = join(folder, String(port));
      mkdirSync(own);
      const config = join(own, "sentinel.conf");
      writeFileSync(
        config,
        `port ${port}\nbind 127.0.0.1\ndir ${own}\nsentinel monitor shop 127.0.0.1 ${master.port} 2\n` +
          "sentinel down-after-milliseconds shop 2500\nsentinel failover-timeout shop 5000\n",
      );
      const sentinel = spawn(findRedis()!, [config, "--sentinel"], { stdio: "ignore", detached: true });
      watch(sentinel.pid!, "SIGTERM");
      sentinel.once("exit", () => forget(sentinel.pid!));
      return sentinel;
    });
    const url = `redis-sentinel://${ports.map((port) => `127.0.0.1:${port}`).join(",")}/shop`;
    const group = new SentinelGroup(url, master, replicas, sentinels, folder);
    for (const port of ports) {
      await ask({ url: `redis://127.0.0.1:${port}` }, (redis) =>
        until("every sentinel knows the replicas and the other two", async () => {
          const [replicas, others] = [
            await redis.call("SENTINEL", "REPLICAS", "shop"),
            await redis.call("SENTINEL", "SENTINELS", "shop"),
          ];
          return (replicas as unknown[]).length === 2 && (others as unknown[]).length === 2;
        }),
      );
    }
    return group;
  }

  /** From now on the replicas learn nothing more: what the master acknowledges is lost with it. */
  async cutReplication(): Promise<void> {
    await ask(this.master, async (redis) => {
      await redis.call("ACL", "SETUSER", "default", "-psync", "-sync", "-replconf");
      await redis.call("CLIENT", "KILL", "TYPE", "replica");
    });
  }

  async stop(): Promise<void> {
    for (const sentinel of this.sentinels) {
      if (sentinel.exitCode !== null) continue;
      sentinel.kill("SIGKILL");
      await once(sentinel, "exit");
    }
    await Promise.all([this.master, ...this.replicas].map((server) => server.stop()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

async function ask<T>({ url }: { readonly url: string }, use: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url);
  redis.on("error", () => {});
  try {
    return await use(redis);
  } finally {
    redis.disconnect();
  }
}
