import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Position } from "../../src/core/phase.js";
import type { Session } from "../../src/core/session.js";
import { findRedis } from "../../src/servers/find.js";
import { runJson } from "../cli/support.js";
import { EXPIRY_STEP } from "../support/history.js";
import { until } from "../support/processes.js";
import { RedisCluster } from "../support/redis-cluster.js";
import { AWAY, at, BusySite } from "./busy-site.js";
import { processPackage } from "./processes.js";
import { LEGACY } from "./site.js";

/** A master lost and replaced, under load: milliseconds until every process serves. */
const FAILOVER = 10_000;

/** What is written while no replica hears of it. */
const SESSION: Session = {
  value: Buffer.from('{"late":true}'),
  flags: 0,
  expiresAt: (Math.floor(Date.now() / EXPIRY_STEP) + 720) * EXPIRY_STEP,
};

const own = { folder: "", remove: () => {} };
beforeAll(() => Object.assign(own, processPackage()));
afterAll(() => own.remove());

let busy: BusySite;
let cluster: RedisCluster;
afterEach(async () => {
  await busy?.close();
  await cluster?.stop();
});

async function openAt(position: Position, legacy = "1s", wait = { open: 0, destroy: 0 }): Promise<void> {
  cluster = await RedisCluster.start({ replicas: 1, nodeTimeout: 2_000 });
  busy = await BusySite.open(own.folder, position, {
    servers: { redis: cluster.masters[0]!.server },
    config: { timeouts: { legacy }, redis: { url: cluster.url, wait } },
  });
}

/** Kills a master and waits until everybody serves again. */
async function failOver(): Promise<void> {
  const began = Date.now();
  await cluster.masters[1]!.server.kill();
  await until("every process serves", () => busy.allServe(), 30_000);
  expect(Date.now() - began).toBeLessThan(FAILOVER);
  await busy.recovered();
}

/** Moves slots to and fro until it is told to stop; how many were moved. */
function reshard(): { stop(): Promise<number> } {
  const [from, to] = [cluster.masters[0]!, cluster.masters[2]!];
  let isWanted = true;
  const run = async () => {
    const slots = (await cluster.slotsOf(from)).slice(0, 400);
    let moved = 0;
    for (let way = 0; isWanted; way++) {
      for (const slot of slots) {
        if (!isWanted && way % 2 === 0) break;
        await cluster.move([slot], ...(way % 2 === 0 ? ([from, to] as const) : ([to, from] as const)));
        moved++;
      }
    }
    return moved;
  };
  const running = run();
  running.catch(() => {});
  return {
    stop() {
      isWanted = false;
      return running;
    },
  };
}

// A machine whose Redis comes out of a container has no ports for the servers of a cluster to meet.
describe.runIf(findRedis() !== null)("a Redis Cluster under load", () => {
  test("a whole migration up and down while slots move: no request fails", async () => {
    // A slot is silent while it moves; with the default deadline nobody waits in vain.
    await openAt(LEGACY, "5s");
    const moving = reshard();
    await busy.climb(at("full-redis"));
    await busy.descend(LEGACY);
    await busy.climb(at("redis-first"));
    expect(await moving.stop()).toBeGreaterThan(400);
    busy.expectOnly([]);
    await busy.rest();
  });

  test("a master lost in dual-write: nobody notices", async () => {
    await openAt(at("dual-write"));
    await failOver();
    await until("it is armed anew", async () => (await busy.ledger()).some(({ action }) => action === "rearm"));
    busy.expectOnly([]);
    await busy.climb(at("full-redis"));
    await busy.rest();
  });

  test("a master lost in read-through: no request is lost, and R is left behind", async () => {
    // Requests are held until the fleet has left Redis behind, which takes some seconds.
    await openAt(at("read-through"), "10s");
    const { generation } = await busy.site.record();
    await failOver();
    await until("it stands in dual-write under a new generation", async () => {
      const { position, pending, generation: now } = await busy.site.record();
      return position.phase === "dual-write" && pending === null && now !== generation;
    });
    await until("it is armed anew", async () => (await busy.ledger()).some(({ action }) => action === "rearm"));
    busy.expectOnly([]);
    await busy.climb(at("redis-first"));
    await busy.rest();
  });

  test.each(["redis-first", "full-redis"] as const)(
    "a master lost in %s: its sessions wait for the next",
    async (phase) => {
      await openAt(at(phase));
      await failOver();
      expect((await busy.site.record()).position).toEqual(at(phase));
      await busy.traffic.stop();
      // As the runbook says: what was drained and then lost in Redis is brought in line with Redis.
      await runJson("check", ["check", "--repair", "--config", busy.configFile()]);
      busy.traffic.start();
      await busy.rest();
      busy.expectOnly(AWAY);
    },
  );

  test("a master lost while redis-first is ramped: what L has the say of is put right first", async () => {
    await openAt(at("read-through"), "10s");
    await busy.site.moveTo(at("redis-first", 50));
    const { generation } = await busy.site.record();
    await failOver();
    await until("it is armed anew", async () => (await busy.ledger()).some(({ action }) => action === "rearm"));
    const record = await busy.site.record();
    expect(record.position).toEqual(at("redis-first", 50));
    expect(record.generation).not.toBe(generation);
    busy.expectOnly(AWAY);
    await busy.site.moveTo(at("redis-first", 100));
    await busy.rest();
  });

  test("a master lost in redis-first with WAIT: nothing that was acknowledged is lost, though the replicas were cut off", async () => {
    await openAt(at("redis-first"), "1s", { open: 1, destroy: 1 });
    await busy.traffic.stop();
    await cluster.cutReplication();
    const { history } = busy;
    const sids = history.sids.filter((sid) => !history.isFull(sid)).slice(0, 12);
    await Promise.all(
      sids.map((sid, i) =>
        i % 3 === 0 ? history.destroy(busy.serving[i % 2]!, sid) : history.set(busy.serving[i % 2]!, sid, SESSION),
      ),
    );
    // On no replica in time: nobody was told that it is kept.
    expect(history.failures.length).toBeGreaterThanOrEqual(sids.length);
    const { server } = cluster.masters[1]!;
    await server.kill();
    const successor = cluster.replicas[1]!.client;
    await until(
      "its replica took over",
      async () => (await successor.info("replication")).includes("role:master"),
      30_000,
    );
    // It comes back as the replica of its own.
    await server.restart();
    await until("every replica follows again", () => cluster.healReplication(), 30_000);
    await until("every process serves", () => busy.allServe(), 30_000);
    await busy.recovered();
    await bringIntoLine();
    busy.traffic.start();
    await delay(400);
    await busy.rest();
    busy.expectOnly(AWAY);
  });
});

/** As the runbook says: what was drained and then lost in Redis is brought in line with Redis. */
async function bringIntoLine(): Promise<void> {
  await runJson("check", ["check", "--repair", "--config", busy.configFile()]);
}
