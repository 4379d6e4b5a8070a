import { afterEach, expect, it } from "vitest";
import { IdSource, newNodeId } from "../../src/core/ids.js";
import { RedisLost } from "../../src/ports/redis-records.js";
import { findRedis } from "../../src/servers/find.js";
import { openRedisWitness } from "../../src/stores/witness-redis.js";
import { later } from "../contract/redis-records.js";
import { until } from "../support/processes.js";
import { Sentinel } from "../support/sentinels.js";
import { Bench, rejection } from "./redis-support.js";

const bench = new Bench();
const endings: (() => unknown)[] = [];
afterEach(async () => {
  await bench.clear();
  for (const end of endings.splice(0)) await end();
});

/** One sentinel that finds a dead master within half a second. */
async function watch(masterPort: number): Promise<string> {
  const sentinel = await Sentinel.start({ masterPort });
  endings.push(() => sentinel.stop());
  const { port } = sentinel;
  const plain = bench.plain(`redis://127.0.0.1:${port}`);
  await until("the sentinel knows the replica", async () =>
    String(await plain.call("SENTINEL", "REPLICAS", "shop")).includes("slave,"),
  );
  return `redis-sentinel://127.0.0.1:${port}/shop`;
}

// A machine whose Redis comes out of a container has no binary for a sentinel.
it.runIf(findRedis() !== null)(
  "follows a Sentinel group to its new master, which is trusted only where R is",
  async () => {
    const ids = new IdSource(newNodeId());
    const diskless = ["--repl-diskless-sync-delay", "0"];
    const master = await bench.start({ args: diskless });
    const replica = await bench.start({ args: [...diskless, "--replicaof", "127.0.0.1", String(master.port)] });
    const plain = bench.plain(replica.url);
    await until("the replica follows", async () => (await plain.info("replication")).includes("master_link_status:up"));
    const url = await watch(master.port);

    const wait = { open: 1, destroy: 1 };
    const [trusting, wary] = [await bench.open(url, { wait }), await bench.open(url)];
    for (const records of [trusting, wary]) records.generation = "generation-1";
    trusting.trustRestarts = true;
    await trusting.arm("generation-1", "active");
    const session = later("x");
    expect(await trusting.open("one", ids.next(), "R", session, ids.next())).toBe("R");
    await trusting.open("two", ids.next(), "R", null, ids.next());

    await master.kill();
    for (const records of [trusting, wary]) {
      await until("the death was noticed", async () => {
        const failure = await rejection(records.readAlone("one", { deadline: 1_000, hold: false }));
        return (failure as { sent?: boolean }).sent === false;
      });
    }
    const patient = { deadline: 15_000, hold: true };
    expect(await rejection(wary.read("one", ids.next(), patient))).toBeInstanceOf(RedisLost);
    expect(await trusting.read("one", ids.next(), patient)).toMatchObject({ from: "R", session });
    expect(await trusting.dirtySids(9)).toEqual(["two", "one"]);
    // The trusting node has sealed the new run, and so the wary one goes on, too.
    expect(await wary.read("two", ids.next())).toMatchObject({ from: "R", session: null });
    expect((await wary.facts()).replicas).toBe(0);

    const witness = openRedisWitness({ url, prefix: "sess:", timeout: 1_000 });
    expect(await witness.get("one")).toEqual(session.value);
    await witness.close();
  },
);
