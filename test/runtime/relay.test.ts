import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openDoor } from "../../src/doors/memcached/server.js";
import type { FerryNode } from "../../src/runtime/node.js";
import { LegacyRelay } from "../../src/runtime/relay.js";
import type { MemcachedLegacyStore } from "../../src/stores/memcached/store.js";
import { Talk } from "../doors/memcached/support.js";
import { Site } from "../integration/site.js";
import { until } from "../support/processes.js";

describe("the relay of a node", () => {
  let site: Site;
  let node: FerryNode;
  let relay: LegacyRelay;
  beforeAll(async () => {
    site = await Site.open({ legacy: "memcached", control: "redis" });
    node = await site.join();
    relay = new LegacyRelay(() => node, 300);
  });
  afterAll(async () => site.close());

  const endpoints = async () =>
    site.look(async ({ control }) => (await control.nodes()).find(({ id }) => id === node.id)?.report.endpoints ?? []);

  it("opens when a placeholder of a drain could no longer be there", async () => {
    expect(relay.open).toBe(false);
    expect(relay.begin()).toBeNull();
    await until("it is open", () => relay.open);
    relay.begin()!();
    expect(node.ctx.routing.inFlight).toBe(0);
  });

  it("counts what was passed on among the node's requests", () => {
    relay.count({ commands: 5, errors: 1, milliseconds: 2 });
    expect(node.metrics.render()).toContain('operations_total{verb="relayed",store="legacy",result="error"} 1\n');
    expect(node.metrics.render()).toContain('operations_total{verb="relayed",store="legacy",result="ok"} 4\n');
  });

  it("has connections that an eviction waits for", async () => {
    const { socket, settled } = await relay.connect();
    const { localAddress, localPort } = socket as import("node:net").Socket;
    const endpoint = `${localAddress}:${localPort}`;
    expect(await endpoints()).toContain(endpoint);
    const other = await site.join();
    expect(await other.legacy.disconnectNode(node.id, [endpoint])).toBe(false);
    const over = settled();
    expect(socket.destroyed).toBe(true);
    await over;
    expect(await other.legacy.disconnectNode(node.id, [endpoint])).toBe(true);
  });

  it("keeps the way out of legacy waiting for a write that is under way, and is closed from then on", async () => {
    const items = (node.legacy as MemcachedLegacyStore).verbs();
    const door = await openDoor({
      ...{ items: { ...bound(items), flush: () => items.flush() }, bypass: items, keyspace: (key) => key, relay },
      listeners: [{ listen: "127.0.0.1:0" }],
    });
    const talk = await Talk.to({ port: Number(door.addresses[0]!.split(":").at(-1)) });
    try {
      // The first commands take the usual way, which is not counted here, while the connection is made.
      let sent = 0;
      await until("commands are relayed", async () => {
        talk.send(`set s${sent++} 0 0 1\r\nx\r\n`);
        const relayed = node.ctx.routing.inFlight > 0 || (await inFlightSoon(node));
        await talk.until(sent * "STORED\r\n".length);
        return relayed;
      });
      await until("all are answered", () => node.ctx.routing.inFlight === 0);

      await site.legacy.pause();
      talk.send("set last 0 0 1\r\ny\r\n");
      await until("it is under way", () => node.ctx.routing.inFlight === 1);
      let arrived = false;
      const walk = site.moveTo({ phase: "dual-write", percent: 100 }).then(() => {
        arrived = true;
      });
      walk.catch(() => {});
      await until("the node follows", () => node.ctx.routing.record.pending !== null);
      await delay(500);
      expect(node.ctx.routing.drainedRevision()).toBeLessThan(node.ctx.routing.record.revision);
      expect(arrived).toBe(false);
      expect(relay.open).toBe(false);
      await site.legacy.resume();
      await walk;
      await talk.until((sent + 1) * "STORED\r\n".length);
      expect(relay.begin()).toBeNull();
      await expect(node.ferry.get("last")).resolves.toMatchObject({ value: Buffer.from("y") });
    } finally {
      await site.legacy.resume();
      talk.close();
      await door.close();
    }
  });

  it("belongs to a node: that of the next one begins anew, without the connections of the old", async () => {
    await site.moveTo({ phase: "legacy", percent: 100 });
    await until("it is open again", () => relay.open);
    const { socket } = await relay.connect();
    node = await site.join();
    expect(relay.open).toBe(false);
    expect(socket.destroyed).toBe(true);
  });
});

function bound(items: ReturnType<MemcachedLegacyStore["verbs"]>) {
  return { read: items.read.bind(items), perform: items.perform.bind(items) };
}

/** Whether something is counted before memcached can have answered. */
async function inFlightSoon(node: FerryNode): Promise<boolean> {
  for (let turn = 0; turn < 50; turn++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (node.ctx.routing.inFlight > 0) return true;
  }
  return false;
}
