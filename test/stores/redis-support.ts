import { createServer, connect as dial, type Server } from "node:net";
import { Redis } from "ioredis";
import { newNodeId } from "../../src/core/ids.js";
import { NO_FENCE } from "../../src/ports/fence.js";
import type { RedisRecords } from "../../src/ports/redis-records.js";
import { type RedisOptions, type RunningServer, startRedis } from "../../src/servers/index.js";
import { openRedisRecords, type RedisRecordsOptions } from "../../src/stores/redis/index.js";

export function openRecords(url: string, options: Partial<RedisRecordsOptions> = {}): Promise<RedisRecords> {
  return openRedisRecords({ url, prefix: "sess:", migration: "shop", node: newNodeId(), fence: NO_FENCE, ...options });
}

/** A client that knows nothing of us. */
export function plainClient(url: string): Redis {
  const client = new Redis(url, { retryStrategy: () => 50, maxRetriesPerRequest: null });
  client.on("error", () => {});
  return client;
}

export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it did not reject");
}

export async function duration(work: () => Promise<unknown>): Promise<number> {
  const before = performance.now();
  await work();
  return performance.now() - before;
}

/** What one test started and opened, to be ended after it. */
export class Bench {
  readonly #endings: (() => Promise<unknown>)[] = [];

  async start(options: RedisOptions = {}): Promise<RunningServer> {
    const server = await startRedis(options);
    this.#endings.unshift(() => server.stop());
    return server;
  }

  async open(url: string, options: Partial<RedisRecordsOptions> = {}): Promise<RedisRecords> {
    const records = await openRecords(url, options);
    this.#endings.unshift(() => records.end());
    return records;
  }

  plain(url: string): Redis {
    const client = plainClient(url);
    this.#endings.unshift(async () => client.disconnect());
    return client;
  }

  /** The URL of a relay that makes the server say that it is of another version of the same length. */
  async disguise(url: string, version: string): Promise<string> {
    const { hostname, port } = new URL(url);
    const relay: Server = createServer((client) => {
      const server = dial(Number(port), hostname);
      for (const socket of [client, server]) socket.on("error", () => {});
      client.on("close", () => server.destroy());
      server.on("close", () => client.destroy());
      client.pipe(server);
      server.on("data", (chunk) => {
        const text = chunk.toString("latin1");
        const changed = text.replace(/(redis_version:)\d+\.\d+\.\d+/, (found, name) =>
          (name + version).padEnd(found.length),
        );
        client.write(Buffer.from(changed, "latin1"));
      });
    });
    await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
    this.#endings.push(() => new Promise((resolve) => relay.close(resolve)));
    return `redis://127.0.0.1:${(relay.address() as { port: number }).port}`;
  }

  async clear(): Promise<void> {
    for (const end of this.#endings.splice(0)) await end();
  }
}
