import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { RunningServer } from "../../src/servers/index.js";
import { freePort } from "../../src/servers/ports.js";
import { ALL, AWAY, at, BusySite, type Toll } from "./busy-site.js";
import { processPackage } from "./processes.js";

const own = { folder: "", remove: () => {} };
beforeAll(() => Object.assign(own, processPackage()));
afterAll(() => own.remove());

let busy: BusySite;
afterEach(() => busy?.close());

type Phase = "dual-write" | "read-through" | "redis-first" | "full-redis";

interface Fault {
  readonly name: string;
  readonly lasts: number;
  inflict(redis: Redis, server: RunningServer): Promise<() => Promise<unknown>>;
  /** In read-through, and where Redis is the authority; in dual-write nobody may notice anything. */
  readonly tolls: readonly [Toll, Toll];
}

const UNWILLING = [...AWAY, "REDIS_REFUSED"];

const FAULTS: readonly Fault[] = [
  {
    name: "a read-only replica behind the address",
    lasts: 600,
    async inflict(redis) {
      // Of a master that is away: it goes on answering reads with what it has.
      await redis.call("REPLICAOF", "127.0.0.1", String(await freePort()));
      return () => redis.call("REPLICAOF", "NO", "ONE");
    },
    tolls: [{ writes: UNWILLING }, { reads: UNWILLING, writes: UNWILLING }],
  },
  {
    name: "out of memory",
    lasts: 1_500,
    async inflict(redis) {
      await redis.config("SET", "maxmemory", "1");
      return () => redis.config("SET", "maxmemory", "0");
    },
    tolls: [
      { writes: UNWILLING, felt: true },
      { reads: UNWILLING, writes: UNWILLING, felt: true },
    ],
  },
  {
    name: "blocked by a command of its own",
    lasts: 1_500,
    async inflict(redis) {
      const slept = redis.call("DEBUG", "SLEEP", "1.4");
      return () => slept;
    },
    tolls: [
      { writes: AWAY, felt: true },
      { reads: AWAY, writes: AWAY, felt: true },
    ],
  },
  {
    name: "killed and restarted with its data",
    lasts: 300,
    async inflict(_redis, server) {
      await server.kill();
      return () => server.restart();
    },
    tolls: [{ writes: AWAY }, { reads: AWAY, writes: AWAY }],
  },
];

const PHASES: readonly Phase[] = ALL
  ? ["dual-write", "read-through", "redis-first", "full-redis"]
  : ["dual-write", "full-redis"];

describe("Redis that refuses, hangs, or is gone for a moment", () => {
  test.each(PHASES)("in %s: what the runbook says, and nothing wrong after", async (phase) => {
    // Back to dual-write by themselves is another test's matter: here every phase meets every fault.
    const config = { timeouts: { legacy: "1s" }, onRedisDown: "fail" };
    busy = await BusySite.open(own.folder, at(phase), { config, redisArgs: ["--enable-debug-command", "yes"] });
    const { redis: server } = busy.site;
    const admin = new Redis(server.url);
    admin.on("error", () => {});
    try {
      for (const { name, lasts, inflict, tolls } of FAULTS) {
        // An R that restarted below redis-first is not believed, and armed anew only in dual-write.
        if (phase === "read-through" && name.startsWith("killed")) continue;
        const toll = phase === "dual-write" ? {} : tolls[phase === "read-through" ? 0 : 1];
        await busy
          .suffer(() => inflict(admin, server), lasts, toll)
          .catch((error: Error) => {
            error.message = `${name}: ${error.message}`;
            throw error;
          });
      }
    } finally {
      admin.disconnect();
    }
    expect((await busy.site.record()).position).toEqual(at(phase));
    await busy.rest();
  });
});
