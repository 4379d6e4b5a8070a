import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { findRedis } from "../../src/servers/find.js";
import { type RunningServer, startRedis } from "../../src/servers/index.js";
import { freePort } from "../../src/servers/ports.js";
import { forget, processFolder, watch } from "../../src/servers/watchdog.js";
import type { Certificate } from "./certificate.js";
import { until } from "./processes.js";
import { tlsArguments } from "./redis-cluster.js";

const DISKLESS = ["--repl-diskless-sync-delay", "0"];

export interface SentinelWish {
  readonly masterPort: number;
  readonly quorum?: number;
  /** Milliseconds of silence after which the master is taken for dead. */
  readonly downAfter?: number;
  /** Milliseconds until a failover that came to nothing is tried again. */
  readonly failoverTimeout?: number;
  /** It listens over TLS alone, and speaks so to the others. */
  readonly certificate?: Certificate;
}

/** A sentinel that watches the group `shop`. However the process ends that started it, it ends, too. */
export class Sentinel {
  private constructor(
    readonly port: number,
    private readonly child: ChildProcess,
    private readonly folder: string,
  ) {}

  static async start({
    masterPort,
    quorum = 1,
    downAfter = 500,
    failoverTimeout = 3_000,
    certificate,
  }: SentinelWish): Promise<Sentinel> {
    const folder = mkdtempSync(join(processFolder(), "sentinel-"));
    const port = await freePort();
    const config = join(folder, "sentinel.conf");
    writeFileSync(
      config,
      `bind 127.0.0.1\ndir ${folder}\nsentinel monitor shop 127.0.0.1 ${masterPort} ${quorum}\n` +
        `sentinel down-after-milliseconds shop ${downAfter}\nsentinel failover-timeout shop ${failoverTimeout}\n`,
    );
    const listening =
      certificate === undefined
        ? ["--port", String(port)]
        : ["--port", "0", ...tlsArguments(certificate, port), "--tls-replication", "yes"];
    const child = spawn(findRedis()!, [config, "--sentinel", ...listening], { stdio: "ignore", detached: true });
    watch(child.pid!, "SIGTERM");
    child.once("exit", () => forget(child.pid!));
    return new Sentinel(port, child, folder);
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  async stop(): Promise<void> {
    if (this.child.exitCode === null) {
      this.child.kill("SIGKILL");
      await once(this.child, "exit");
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

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
    private readonly sentinels: readonly Sentinel[],
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
    const wish = { masterPort: master.port, quorum: 2, downAfter: 2_500, failoverTimeout: 5_000 };
    const sentinels = [await Sentinel.start(wish), await Sentinel.start(wish), await Sentinel.start(wish)];
    const url = `redis-sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(",")}/shop`;
    const group = new SentinelGroup(url, master, replicas, sentinels);
    for (const { port } of sentinels) {
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
    await Promise.all(this.sentinels.map((sentinel) => sentinel.stop()));
    await Promise.all([this.master, ...this.replicas].map((server) => server.stop()));
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
