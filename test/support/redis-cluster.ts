import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Cluster, Redis } from "ioredis";
import { type RunningServer, startRedis } from "../../src/servers/index.js";
import { freePort } from "../../src/servers/ports.js";
import { SLOTS } from "../../src/stores/redis/slots.js";
import type { Certificate } from "./certificate.js";
import { until } from "./processes.js";

export interface ClusterWish {
  readonly masters?: number;
  /** Of each master. */
  readonly replicas?: number;
  /** Milliseconds until a server that does not answer is taken for dead. */
  readonly nodeTimeout?: number;
  readonly args?: readonly string[];
  /** Over TLS alone, between the servers too; they announce themselves as `localhost`, which the certificate is made out to. */
  readonly certificate?: Certificate;
}

export interface ClusterServer {
  readonly server: RunningServer;
  /** Where it takes clients: the one it announces. */
  readonly port: number;
  readonly client: Redis;
  readonly id: string;
}

/** A Redis Cluster on loopback: masters that share the slots evenly, and their replicas. */
export class RedisCluster {
  private constructor(
    readonly masters: readonly ClusterServer[],
    /** The first of each master, then the second of each. */
    readonly replicas: readonly ClusterServer[],
    readonly wish: ClusterWish,
  ) {}

  static async start(wish: ClusterWish = {}): Promise<RedisCluster> {
    const { masters: count = 3, replicas: each = 0 } = wish;
    const all = await Promise.all(Array.from({ length: count * (1 + each) }, () => startServer(wish)));
    const masters = all.slice(0, count);
    const replicas = all.slice(count);
    const share = Math.ceil(SLOTS / count);
    for (const [i, { client }] of masters.entries()) {
      const slots = Array.from({ length: Math.min(share, SLOTS - i * share) }, (_, at) => i * share + at);
      await client.call("CLUSTER", "ADDSLOTS", ...slots);
      await client.call("CLUSTER", "SET-CONFIG-EPOCH", i + 1);
    }
    const cluster = new RedisCluster(masters, replicas, wish);
    await cluster.#meet(all);
    for (const [i, { client }] of replicas.entries()) {
      const { id } = masters[i % count]!;
      await until("the replica knows its master", async () =>
        client.call("CLUSTER", "REPLICATE", id).then(
          () => true,
          () => false,
        ),
      );
    }
    for (const { client } of replicas) {
      await until("the replica follows", async () => (await client.info("replication")).includes("link_status:up"));
    }
    for (const { client } of all) {
      await until("every server knows the replicas as such", async () => {
        const nodes = String(await client.call("CLUSTER", "NODES"));
        return (nodes.match(/slave/g) ?? []).length === replicas.length;
      });
    }
    await cluster.settled();
    return cluster;
  }

  get url(): string {
    const host = this.wish.certificate === undefined ? "127.0.0.1" : "localhost";
    return `redis-cluster://${this.all.map(({ port }) => `${host}:${port}`).join(",")}`;
  }

  get all(): ClusterServer[] {
    return [...this.masters, ...this.replicas];
  }

  /** A client that knows nothing of us. */
  plain(): Cluster {
    const client = new Cluster(
      this.all.map(({ server: { host, port } }) => ({ host, port })),
      { clusterRetryStrategy: () => 50, redisOptions: { maxRetriesPerRequest: null } },
    );
    client.on("error", () => {});
    return client;
  }

  /** Waits until all servers agree that the cluster is whole. */
  async settled(): Promise<void> {
    for (const { client } of this.all) {
      await until("the cluster is whole", async () =>
        String(await client.call("CLUSTER", "INFO").catch(() => "")).includes("cluster_state:ok"),
      );
    }
  }

  /** A master without slots, that knows the others. */
  async join(): Promise<ClusterServer> {
    const newcomer = await startServer(this.wish);
    (this.masters as ClusterServer[]).push(newcomer);
    await this.#meet(this.all);
    await this.settled();
    return newcomer;
  }

  /** Moves the first slots of a server by the tool that everybody uses. */
  async reshard(from: ClusterServer, to: ClusterServer, slots: number): Promise<void> {
    const { certificate } = this.wish;
    const secured = certificate === undefined ? [] : ["--tls", "--cacert", certificate.certFile];
    const moved = ["--cluster-from", from.id, "--cluster-to", to.id, "--cluster-slots", String(slots)];
    const at = `${from.server.host}:${from.port}`;
    await promisify(execFile)("redis-cli", [...secured, "--cluster", "reshard", at, ...moved, "--cluster-yes"]);
  }

  /**
   * Moves slots as `redis-cli --cluster reshard` does.
   *
   * @param halfway called of each slot when some of its keys are here and some there
   * @param arrived called of each slot when all are there, and nobody was told yet
   */
  async move(
    slots: readonly number[],
    from: ClusterServer,
    to: ClusterServer,
    halfway: () => Promise<unknown> = async () => {},
    arrived: () => Promise<unknown> = async () => {},
  ): Promise<void> {
    const {
      port,
      server: { host },
    } = to;
    for (const slot of slots) {
      await to.client.call("CLUSTER", "SETSLOT", slot, "IMPORTING", from.id);
      await from.client.call("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id);
      for (let first = true; ; first = false) {
        const keys = (await from.client.callBuffer("CLUSTER", "GETKEYSINSLOT", slot, first ? 1 : 20)) as Buffer[];
        if (keys.length > 0) await from.client.call("MIGRATE", host, port, "", 0, 5_000, "KEYS", ...keys);
        if (first) await halfway();
        if (keys.length === 0) break;
      }
      await arrived();
      for (const { client } of [to, from]) await client.call("CLUSTER", "SETSLOT", slot, "NODE", to.id);
      const others = this.masters.filter((master) => master !== to && master !== from);
      await Promise.all(others.map(({ client }) => client.call("CLUSTER", "SETSLOT", slot, "NODE", to.id)));
    }
  }

  /** The slots of a master, as it knows them itself. */
  async slotsOf({ client }: ClusterServer): Promise<number[]> {
    const mine = String(await client.call("CLUSTER", "NODES"))
      .split("\n")
      .find((line) => line.includes("myself"));
    const ranges = (mine ?? "")
      .split(" ")
      .slice(8)
      .filter((range) => /^\d/.test(range));
    return ranges.flatMap((range) => {
      const [first = 0, last = first] = range.split("-").map(Number);
      return Array.from({ length: last - first + 1 }, (_, i) => first + i);
    });
  }

  /** From now on the replicas learn nothing more: what a master acknowledges is lost with it. */
  async cutReplication(): Promise<void> {
    for (const { client } of this.masters) {
      await client.call("ACL", "SETUSER", "default", "-psync", "-sync", "-replconf");
      await client.call("CLIENT", "KILL", "TYPE", "replica");
    }
  }

  /** Gives the masters their replicas back; whether each of these follows again. */
  async healReplication(): Promise<boolean> {
    const following = this.all.map(async ({ client }) => {
      await client.call("ACL", "SETUSER", "default", "+@all");
      const info = await client.info("replication");
      return info.includes("role:master") || info.includes("link_status:up");
    });
    return (await Promise.all(following)).every(Boolean);
  }

  async flush(): Promise<void> {
    await Promise.all(this.masters.map(({ client }) => client.flushall()));
  }

  async stop(): Promise<void> {
    for (const { client } of this.all) client.disconnect();
    await Promise.all(this.all.map(({ server }) => server.kill()));
  }

  async #meet(all: readonly ClusterServer[]): Promise<void> {
    const [first, ...others] = all;
    for (const { server, port } of others) {
      await first!.client.call("CLUSTER", "MEET", server.host, port, busPorts.get(server)!);
    }
    for (const { client } of all) {
      await until("every server knows the others", async () => {
        const nodes = String(await client.call("CLUSTER", "NODES"));
        return all.every(({ id }) => nodes.includes(id)) && !nodes.includes("handshake");
      });
    }
  }
}

/** A server with these takes connections over TLS at this port, beside its plain one. */
export function tlsArguments({ certFile, keyFile }: Certificate, port: number): string[] {
  const files = ["--tls-cert-file", certFile, "--tls-key-file", keyFile, "--tls-ca-cert-file", certFile];
  return ["--tls-port", String(port), ...files, "--tls-auth-clients", "no"];
}

/** Where each listens for the others; ten thousand above its own port is more than there are. */
const busPorts = new WeakMap<RunningServer, number>();
const ATTEMPTS = 5;

async function startServer(wish: ClusterWish, attempt = 1): Promise<ClusterServer> {
  const { nodeTimeout = 15_000, certificate, args = [] } = wish;
  const bus = await freePort();
  const tlsPort = certificate === undefined ? null : await freePort();
  const secured =
    tlsPort === null
      ? []
      : [
          ...tlsArguments(certificate!, tlsPort),
          ...["--tls-cluster", "yes", "--tls-replication", "yes", "--cluster-announce-hostname", "localhost"],
        ];
  const starting = startRedis({
    args: [
      ...["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", String(bus)],
      ...["--cluster-node-timeout", String(nodeTimeout), "--repl-diskless-sync-delay", "0"],
      // A replica that was cut off for long takes over all the same, or its sessions would have no server.
      ...["--cluster-replica-validity-factor", "0"],
      ...secured,
      ...args,
    ],
  });
  const server = await starting.catch((error: Error) => {
    // Somebody was faster at the port for the others: another own port is no help.
    if (attempt < ATTEMPTS && error.message.includes("in use")) return null;
    throw error;
  });
  if (server === null) return startServer(wish, attempt + 1);
  busPorts.set(server, bus);
  const client = new Redis(server.url, { retryStrategy: () => 50, maxRetriesPerRequest: null });
  client.on("error", () => {});
  return { server, port: tlsPort ?? server.port, client, id: String(await client.call("CLUSTER", "MYID")) };
}
