import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { createShop } from "../../src/demo/app.js";
import { Latency } from "../../src/demo/latency.js";
import { Target } from "../../src/demo/target.js";
import { Traffic } from "../../src/demo/traffic.js";
import { Truth } from "../../src/demo/truth.js";
import { expressStore } from "../../src/doors/express.js";
import { MemorySessions } from "../support/memory-sessions.js";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections();
});

/** Two processes of the shop, in this one, over one store; and the users. */
async function site(sessions: MemorySessions) {
  const truth = new Truth();
  const targets: Target[] = [];
  const killed = new Set<string>();
  for (const name of ["app-1", "app-2"]) {
    const shop = await createShop(expressStore(sessions), (route, error) => {
      // A process that was killed would say nothing any more.
      if (!killed.has(name)) truth.heard({ type: "failed", route, error: String(error) });
    });
    const server = createServer(shop).listen(0, "127.0.0.1");
    servers.push(server);
    await once(server, "listening");
    targets.push(new Target(name, (server.address() as AddressInfo).port));
  }
  const traffic = new Traffic(truth, new Latency(), () => targets, { rate: 400, users: 30 });
  const run = async (milliseconds: number, meanwhile?: () => Promise<void>) => {
    traffic.start();
    await new Promise((resolve) => setTimeout(resolve, milliseconds / 2));
    await meanwhile?.();
    await new Promise((resolve) => setTimeout(resolve, milliseconds / 2));
    await traffic.stop();
    for (const target of targets) await target.drain();
  };
  return { truth, targets, traffic, run, killed };
}

test("over a store that keeps its word nobody complains, and the truth is what the store holds", async () => {
  const sessions = new MemorySessions();
  const { truth, traffic, run } = await site(sessions);
  await run(3000);
  expect(truth.faults).toEqual([]);
  expect(truth.judged).toBeGreaterThan(50);
  expect(traffic.requests).toBeGreaterThan(150);
  expect(traffic.requests, "the rate is bounded").toBeLessThan(3.5 * 400);
  const states = new Set(truth.accounts.map((account) => account.state));
  expect(states).toEqual(new Set(["alive", "ended"]));
  for (const account of truth.accounts) {
    const stored = await sessions.get(account.sid);
    if (account.state === "ended") {
      expect(stored).toBeNull();
      continue;
    }
    const { user, cart } = JSON.parse(stored!.value.toString());
    expect([user, cart.items]).toEqual([account.user, account.acknowledged]);
    const { earliest, latest } = account.expiry();
    expect(stored!.expiresAt).toBeGreaterThanOrEqual(earliest);
    expect(stored!.expiresAt).toBeLessThan(latest + 1000);
  }
});

test("a store that answers reads from the past is found out", async () => {
  class Stale extends MemorySessions {
    readonly first = new Map<string, Buffer>();
    #reads = 0;
    override async set(...[sid, session]: Parameters<MemorySessions["set"]>) {
      if (JSON.parse(session.value.toString()).cart.version === 1) this.first.set(sid, session.value);
      await super.set(sid, session);
    }
    override async get(sid: string) {
      const found = await super.get(sid);
      const value = this.first.get(sid);
      return found !== null && value !== undefined && ++this.#reads % 10 === 0 ? { ...found, value } : found;
    }
  }
  const { truth, run } = await site(new Stale());
  await run(1500);
  expect(truth.count("stale")).toBeGreaterThan(0);
  expect(JSON.stringify(truth.faults)).not.toContain(truth.accounts[0]!.sid);
});

test("a store that loses sessions, or brings them back, is found out", async () => {
  class Forgetful extends MemorySessions {
    #reads = 0;
    #destroys = 0;
    override async get(sid: string) {
      return ++this.#reads % 50 === 0 ? null : super.get(sid);
    }
    override async destroy(sid: string) {
      if (!this.records.has(sid) || ++this.#destroys % 2 === 0) await super.destroy(sid);
    }
  }
  const { truth, run } = await site(new Forgetful());
  await run(2000);
  expect(truth.count("lost")).toBeGreaterThan(0);
  expect(truth.count("resurrected")).toBeGreaterThan(0);
});

test("an error of the store is a failed request, also when the response was sent before", async () => {
  class Failing extends MemorySessions {
    #touches = 0;

    override async touch(...values: Parameters<MemorySessions["touch"]>) {
      if (++this.#touches % 10 === 0) throw new Error("away");
      return super.touch(...values);
    }
  }
  const { truth, run } = await site(new Failing());
  await run(1000);
  expect(truth.count("failed")).toBeGreaterThan(0);
  expect(truth.faults[0]!.detail).toContain("away");
});

test("what was in flight to a killed process is cut off, and nothing else fails", async () => {
  class Slow extends MemorySessions {
    override async get(sid: string) {
      await new Promise((resolve) => setTimeout(resolve, 30));
      return super.get(sid);
    }
  }
  const sessions = new Slow();
  const { truth, targets, run, killed } = await site(sessions);
  await run(6000, async () => {
    expect(targets[0]!.killed()).toBeGreaterThan(0);
    killed.add(targets[0]!.name);
    servers[0]!.close().closeAllConnections();
  });
  expect(truth.cutOff).toBeGreaterThan(0);
  expect(truth.faults).toEqual([]);
  for (const account of truth.accounts.filter((each) => each.state === "alive")) {
    const { cart } = JSON.parse((await sessions.get(account.sid))!.value.toString());
    expect(account.accepts(cart.items)).toBe(true);
  }
});

test("a process that dies by itself is a failure", async () => {
  const { truth, targets, run } = await site(new MemorySessions());
  await run(1000, async () => {
    servers[0]!.close().closeAllConnections();
    await new Promise((resolve) => setTimeout(resolve, 100));
    targets[0]!.open = false;
  });
  expect(truth.count("failed")).toBeGreaterThan(0);
  expect(truth.cutOff).toBe(0);
});
