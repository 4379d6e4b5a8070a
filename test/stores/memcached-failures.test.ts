import { connect, createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FerryError } from "../../src/errors.js";
import { LegacyUnreachable, OutcomeUnknown } from "../../src/ports/legacy-store.js";
import { connectMemjs } from "../../src/presets/connect-memjs.js";
import { type RunningServer, startMemcached } from "../../src/servers/index.js";
import type { Connection } from "../../src/stores/memcached/connection.js";
import { endpointOf } from "../../src/stores/memcached/endpoints.js";
import { parseServers } from "../../src/stores/memcached/server.js";
import { look, Settler } from "../../src/stores/memcached/settle.js";
import {
  type MemcachedLegacyOptions,
  type MemcachedLegacyStore,
  openMemcachedLegacy,
} from "../../src/stores/memcached/store.js";
import { raw } from "./memcached-support.js";
import { aSession, duration, newSid, rejection } from "./support.js";

describe("memcached that fails", () => {
  let server: RunningServer;
  const stores: MemcachedLegacyStore[] = [];

  const open = (options: Partial<MemcachedLegacyOptions> = {}) => {
    const store = openMemcachedLegacy({
      url: server.url,
      preset: connectMemjs,
      connections: 2,
      deadline: 500,
      ...options,
    });
    stores.push(store);
    return store;
  };

  beforeAll(async () => {
    server = await startMemcached();
  });

  afterAll(async () => {
    await Promise.all(stores.map((store) => store.close()));
    await server?.stop();
  });

  const connected = async (endpoint: string) =>
    (await raw(server, "stats conns\r\n", "END")).includes(`tcp:${endpoint}\r`);

  describe("a server", () => {
    it("without CAS, or too old, or that is none, is refused", async () => {
      const noCas = await startMemcached({ args: ["-C"] });
      await expect(open({ url: noCas.url }).get("a")).rejects.toMatchObject({ code: "VERSION_UNSUPPORTED" });
      await noCas.stop();
      for (const [answer, expected] of [
        ["VERSION 1.6.9\r\nEND\r\nEND\r\nEND\r\n", { code: "VERSION_UNSUPPORTED" }],
        ["VERSION 1.5.22\r\nEND\r\nEND\r\nEND\r\n", { code: "VERSION_UNSUPPORTED" }],
        ["CLIENT_ERROR unauthenticated\r\n", { code: "AUTHENTICATION_FAILED" }],
        ["-ERR unknown command\r\n-ERR\r\nEND\r\nEND\r\nEND\r\n", { name: "LegacyUnreachable" }],
        ["HTTP/1.1 400 Bad Request\r\n\r\n", { name: "LegacyUnreachable" }],
      ] as const) {
        const stranger = createServer((socket) => socket.once("data", () => socket.write(answer)));
        await new Promise<void>((resolve) => stranger.listen(0, "127.0.0.1", resolve));
        const { port } = stranger.address() as { port: number };
        const store = open({ url: `memcached://127.0.0.1:${port}` });
        await expect(store.get("a")).rejects.toMatchObject(expected);
        await store.close();
        stranger.close();
      }
    });

    it("that is full, and evicts nothing, keeps the session that a token is taken of, or that is to be changed", async () => {
      const full = await startMemcached({ args: ["-M", "-m", "8"] });
      const store = open({ url: full.url, deadline: 5_000 });
      const session = aSession("x".repeat(300));
      const before = [newSid(), newSid()] as const;
      for (const sid of before) await store.set(sid, session);
      const [early] = await store.tokens([before[0]]);
      const fill = (name: string, count: number, size: number) => {
        const value = "x".repeat(size);
        const sets = Array.from({ length: count }, (_, i) => `set ${name}${i} 0 0 ${size} noreply\r\n${value}\r\n`);
        return raw(full, `${sets.join("")}mn\r\n`, "MN\r\n");
      };
      await fill("big", 20_000, 1_000);
      // In memcached's class of a placeholder, which has a key of this length, and flags.
      await fill("small".padEnd(newSid().length, "-"), 40_000, 0);
      const larger = aSession("x".repeat(1_000));
      const [token, none] = await store.tokens([before[1], newSid()]);
      expect(await store.applyIf([{ token: early!, session: larger }])).toEqual(["refused"]);
      expect(await store.applyIf([{ token: token!, session: larger }])).toEqual(["refused"]);
      // Nor is there room for the placeholder of one that is absent.
      expect(await store.applyIf([{ token: none!, session }])).toEqual(["refused"]);
      for (const sid of before) expect((await store.get(sid))?.value).toEqual(session.value);
      await store.close();
      await full.stop();
    });

    it("is described for the doctor", async () => {
      expect(await open().describe()).toMatchObject([
        { address: `127.0.0.1:${server.port}`, itemSizeMax: 1_048_576, evictions: 0, seesOurAddress: true },
      ]);
    });

    it("that has no connection for us yet is told how long an item lives from then on", async () => {
      const items = open({ deadline: 20_000, items: true }).verbs();
      await server.pause();
      const life = 100_000;
      const done = items.perform(
        "late",
        { verb: "set", session: { ...aSession(), expiresAt: Date.now() + life } },
        { token: false },
      );
      await delay(2_200);
      await server.resume();
      await expect(done).resolves.toMatchObject({ result: "done" });
      const told = await raw(server, `mg ${connectMemjs.prefix}late t\r\n`);
      expect(Number(/t(\d+)/.exec(told.toString())![1])).toBeLessThan(99);
    });

    it("that nobody answers for means that nothing was sent", async () => {
      const error = await rejection(open({ url: "memcached://127.0.0.1:9" }).set("a", aSession()));
      expect(error).toBeInstanceOf(LegacyUnreachable);
      expect(error.message).toMatch(/ECONNREFUSED/);
    });

    it("is another one after a restart, or a flush", async () => {
      const one = await startMemcached();
      const store = open({ url: one.url });
      const before = await store.identity();
      expect(await store.identity()).toBe(before);
      await raw(one, "flush_all\r\n");
      const flushed = await store.identity();
      expect(flushed).not.toBe(before);
      await one.restart();
      expect(await store.identity()).not.toBe(flushed);
      await one.stop();
    });

    it("whose connections are all taken means that nothing was sent", async () => {
      const few = await startMemcached({ args: ["-c", "40"] });
      const taken = Array.from({ length: 60 }, () => connect(few.port, few.host).on("error", () => {}));
      await delay(100);
      const error = await rejection(open({ url: few.url }).set("a", aSession()));
      expect(error).toBeInstanceOf(LegacyUnreachable);
      expect(error.message).toMatch(/Too many open connections|broke|reset|answer/);
      for (const socket of taken) socket.destroy();
      await expect.poll(() => open({ url: few.url }).get("a").catch(String)).toBeNull();
      await few.stop();
    });
  });

  describe("connections", () => {
    it("are used only after the fence let them through, and destroyed when it does not", async () => {
      const asked: (string | null)[] = [];
      let refusal: Error | null = new FerryError("NODE_EVICTED", "This node was evicted.");
      const store = open({
        connections: 1,
        fence: async ({ endpoint }) => {
          asked.push(endpoint);
          expect(await connected(endpoint!)).toBe(true);
          if (refusal !== null) throw refusal;
        },
      });
      await expect(store.set("a", aSession())).rejects.toMatchObject({ code: "NODE_EVICTED" });
      await expect.poll(() => connected(asked[0]!)).toBe(false);
      refusal = new Error("the control store is away");
      await expect(store.set("a", aSession())).rejects.toBeInstanceOf(LegacyUnreachable);
      refusal = null;
      await store.set("a", aSession());
      await store.get("a");
      expect(asked).toHaveLength(3);
      expect(store.endpoints).toEqual([asked[2]]);
    });

    it("of which no more can be had are not tried for all the time", async () => {
      let asked = 0;
      const fence = async () => {
        if (asked++ > 0) throw new Error("the control store is away");
      };
      const store = open({ fence, connections: 4, deadline: 3_000 });
      await store.get("a");
      const ends = performance.now() + 1_200;
      const busy = async () => {
        for (; performance.now() < ends; await delay(3 * Math.random())) await store.get("a");
      };
      await Promise.all(Array.from({ length: 10 }, busy));
      expect(asked).toBeGreaterThan(2);
      expect(asked).toBeLessThan(10);
    });

    it("that end while the fence is asked are nobody's", async () => {
      const asked: [string, (store: MemcachedLegacyStore) => Promise<unknown>][] = [
        ["a session", (store) => store.get("a")],
        ["a relay", (store) => store.relay()!],
        ["a dump", (store) => store.list({ pageSize: 10 })[Symbol.asyncIterator]().next()],
      ];
      for (const [what, ask] of asked) {
        const dying = await startMemcached();
        const fence = async () => {
          await dying.stop();
          // Its end is heard of before the fence lets it through.
          await delay(50);
        };
        const outcome = await Promise.race([rejection(ask(open({ url: dying.url, fence }))), delay(3_000, "hangs")]);
        expect(outcome, what).toBeInstanceOf(LegacyUnreachable);
      }
    });

    it("of a node are watched until they are gone", async () => {
      const evicted = open();
      await evicted.get("a");
      const endpoints = evicted.endpoints;
      expect(await open().disconnectNode("evicted1", endpoints)).toBe(false);
      await evicted.close();
      expect(await open().disconnectNode("evicted1", endpoints)).toBe(true);
      expect(await open().disconnectNode("evicted1", ["hidden:10.0.0.1:4000"])).toBe(false);
    });

    it("that others began to make and did not get are made anew for who came later", async () => {
      const one = await startMemcached();
      const store = open({ url: one.url, deadline: 1_000 });
      one.pause();
      const early = rejection(store.get("a"));
      await delay(700);
      const late = store.get("a");
      expect(await early).toBeInstanceOf(LegacyUnreachable);
      one.resume();
      expect(await late).toBeNull();
      await one.stop();
    });

    it("end their tokens with them", async () => {
      const one = await startMemcached();
      const store = open({ url: one.url, connections: 1 });
      const other = open({ url: one.url });
      await store.set("a", aSession({ n: 1 }));
      const [token] = await store.tokens(["a"]);
      await one.restart();
      // The same key has the same CAS number again, in a server that counts from one.
      await other.set("a", aSession({ n: 1 }));
      expect(await store.applyIf([{ token: token!, session: null }])).toEqual(["changed"]);
      expect(await other.get("a")).not.toBeNull();
      await one.stop();
    });
  });

  describe("outcomes", () => {
    const settles = (error: Error) => {
      const state = { settled: false };
      void (error as OutcomeUnknown).settled.then(() => {
        state.settled = true;
      });
      return state;
    };

    it("are unknown while the server hangs, and settled after it goes on", async () => {
      const store = open({ deadline: 300 });
      await store.set("a", aSession({ n: "before" }));
      server.pause();
      try {
        const [reading, setting, taking] = [
          rejection(store.get("a")),
          rejection(store.set("a", aSession({ n: "after" }))),
          rejection(store.tokens(["a", "b"])),
        ];
        expect(await duration(Promise.all([reading, setting, taking]))).toBeLessThan(600);
        expect(await reading).toBeInstanceOf(LegacyUnreachable);
        expect(await taking).toBeInstanceOf(LegacyUnreachable);
        const unknown = await setting;
        expect(unknown).toBeInstanceOf(OutcomeUnknown);
        const state = settles(unknown);
        await delay(1_000);
        expect(state.settled).toBe(false);
        const next = rejection(store.set("a", aSession({ n: "never" })));
        expect(await duration(next)).toBeLessThan(600);
        expect(await next).toBeInstanceOf(LegacyUnreachable);
        server.resume();
        await (unknown as OutcomeUnknown).settled;
      } finally {
        server.resume();
      }
      const settledTo = (await store.get("a"))!.value.toString();
      expect(['{"n":"before"}', '{"n":"after"}']).toContain(settledTo);
      await delay(200);
      expect((await store.get("a"))!.value.toString()).toBe(settledTo);
    });

    it("are settled by an answer that comes late", async () => {
      const store = open({ deadline: 300 });
      await store.set("a", aSession({ n: "before" }));
      server.pause();
      const setting = rejection(store.set("a", aSession({ n: "after" })));
      const error = await setting;
      server.resume();
      expect(error).toBeInstanceOf(OutcomeUnknown);
      await (error as OutcomeUnknown).settled;
      expect((await store.get("a"))?.value.toString()).toBe('{"n":"after"}');
    });

    it("are unknown when the server is killed, and settled when another runs", async () => {
      const one = await startMemcached();
      const store = open({ url: one.url, deadline: 300 });
      await store.set("a", aSession());
      one.pause();
      const setting = rejection(store.set("a", aSession()));
      await delay(50);
      await one.kill();
      const unknown = await setting;
      expect(unknown).toBeInstanceOf(OutcomeUnknown);
      const state = settles(unknown);
      expect(await rejection(store.set("a", aSession()))).toBeInstanceOf(LegacyUnreachable);
      await delay(300);
      expect(state.settled).toBe(false);
      await one.restart();
      await (unknown as OutcomeUnknown).settled;
      await store.set("a", aSession());
      await one.stop();
    });

    it("of one server of several do not pass for those of all", async () => {
      const two = await Promise.all([startMemcached(), startMemcached()]);
      const url = `memcached://${two.map(({ host, port }) => `${host}:${port}`).join(",")}`;
      const store = open({ url, deadline: 300 });
      const sids = Array.from({ length: 20 }, newSid);
      const tokens = await store.tokens(sids);
      two[0]!.pause();
      const error = await rejection(store.applyIf(tokens.map((token) => ({ token: token!, session: aSession() }))));
      expect(error).toBeInstanceOf(OutcomeUnknown);
      expect(await rejection(store.getMany(sids))).toBeInstanceOf(LegacyUnreachable);
      two[0]!.resume();
      await (error as OutcomeUnknown).settled;
      await Promise.all(two.map((one) => one.stop()));
    });

    it("are settled in time where the port of their connection is somebody else's by now", async () => {
      const [one] = parseServers(server.url);
      const settler = new Settler(one!, 300, 1_000);
      const other = connect(server.port, server.host);
      await new Promise((resolve) => other.once("connect", resolve));
      const { incarnation } = await look(one!, 1_000);
      const endpoint = endpointOf(other.localAddress!, other.localPort!);
      expect(await connected(endpoint)).toBe(true);
      const began = performance.now();
      const settled = settler.settled({ endpoint, facts: { incarnation } } as Connection);
      server.pause();
      // A server that hangs has not read what it was sent: that time does not count.
      await delay(1_500);
      server.resume();
      await settled;
      expect(performance.now() - began).toBeGreaterThan(2_500);
      settler.close();
      other.destroy();
    });

    it("leave nothing that keeps a closed store from ending", async () => {
      const store = open({ deadline: 300 });
      await store.get("a");
      server.pause();
      try {
        await rejection(store.set("a", aSession()));
        expect(await duration(store.close())).toBeLessThan(1_000);
        await expect(store.get("a")).rejects.toMatchObject({ code: "CLOSED" });
      } finally {
        server.resume();
      }
    });
  });
});
