import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FerryError } from "../../src/errors.js";
import { LegacyUnreachable, OutcomeUnknown } from "../../src/ports/legacy-store.js";
import { type RunningServer, startPostgres } from "../../src/servers/index.js";
import type { PostgresLegacyOptions, PostgresLegacyStore } from "../../src/stores/postgres.js";
import { legacyStoreContract } from "../contract/legacy-store.js";
import { type Pooler, startPooler } from "../support/pooler.js";
import { inTransaction, openStore, sql, TABLE } from "./postgres-support.js";
import { aSession, rejection } from "./support.js";

async function start() {
  const server = await startPostgres();
  await sql(server.url, TABLE);
  return { server, pooler: await startPooler(server) };
}

legacyStoreContract("PostgreSQL behind a pooler in transaction mode", async () => {
  const { server, pooler } = await start();
  return {
    open: () => openStore(pooler.url, { deadline: 2_000 }),
    flags: 0,
    binary: false,
    pass: (milliseconds) => delay(milliseconds),
    stop: async () => {
      await pooler.stop();
      await server.stop();
    },
  };
});

describe("PostgreSQL behind a pooler", () => {
  let server: RunningServer;
  let pooler: Pooler;
  const stores: PostgresLegacyStore[] = [];
  const open = (options: Partial<PostgresLegacyOptions> = {}) => {
    const store = openStore(pooler.url, { deadline: 400, ...options });
    stores.push(store);
    return store;
  };

  beforeAll(async () => {
    ({ server, pooler } = await start());
  });
  afterAll(async () => {
    await Promise.all(stores.map((store) => store.close()));
    await pooler?.stop();
    await server?.stop();
  });

  it("is seen to be", async () => {
    expect(await open().describe()).toMatchObject({ pooled: true });
    const direct = openStore(server.url);
    expect(await direct.describe()).toMatchObject({ pooled: false });
    await direct.close();
  });

  it("asks the fence again as time goes by, and changes nothing once it says no", async () => {
    let evicted = false;
    let asked = 0;
    const store = open({
      node: "pooled01",
      connections: 1,
      fence: async () => {
        asked++;
        if (evicted) throw new FerryError("NODE_EVICTED", "This node was evicted.");
      },
    });
    await store.set("a", aSession({ n: 1 }));
    await store.set("a", aSession({ n: 2 }));
    expect(asked).toBe(1);
    await delay(450);
    await store.set("a", aSession({ n: 3 }));
    expect(asked).toBe(2);
    evicted = true;
    const other = open();
    await other.get("a");
    const disconnecting = other.disconnectNode("pooled01");
    // It ends what runs under the node's name at that moment; this test is about what comes after.
    await delay(50);
    // Until its time has run out it may go on; from then on nobody hears of it any more.
    await store.set("a", aSession({ n: 4 }));
    expect(await disconnecting).toBe(true);
    await expect(store.set("a", aSession({ n: 5 }))).rejects.toMatchObject({ code: "NODE_EVICTED" });
    expect((await other.get("a"))?.value.toString()).toBe('{"n":4}');
  });

  it("makes no change that arrives after its time", async () => {
    const store = open({ connections: 1 });
    await store.set("a", aSession({ n: "before" }));
    // A process that is stopped between looking at its clock and sending: here the clock alone goes astray.
    const real = performance.now.bind(performance);
    const stopped = real();
    await delay(900);
    performance.now = () => stopped;
    try {
      for (const change of [() => store.set("a", aSession()), () => store.touch("a", 0), () => store.destroy("a")]) {
        expect(await rejection(change())).toBeInstanceOf(LegacyUnreachable);
      }
      expect(await store.tokens(["b"])).toEqual([null]);
    } finally {
      performance.now = real;
    }
    expect((await store.get("a"))?.value.toString()).toBe('{"n":"before"}');
    await store.set("a", aSession({ n: "after" }));
    expect((await store.get("a"))?.value.toString()).toBe('{"n":"after"}');
  });

  it("goes on without prepared statements where the pooler loses them", async () => {
    const store = open({ preparedStatements: true, connections: 3, deadline: 5_000 });
    const sids = Array.from({ length: 40 }, (_, n) => `s${n}`);
    await Promise.all(sids.map((sid) => store.set(sid, aSession({ sid }))));
    const found = await Promise.all(sids.map((sid) => store.get(sid)));
    expect(found.map((session) => session?.value.toString())).toEqual(sids.map((sid) => JSON.stringify({ sid })));
    expect(await Promise.all(sids.map((sid) => store.destroy(sid)))).toEqual(sids.map(() => true));
  });

  it("tells when an unanswered change is over", async () => {
    const store = open();
    await store.set("a", aSession({ n: "before" }));
    let unknown: OutcomeUnknown | null = null;
    let settled = false;
    await inTransaction(server.url, "SELECT FROM session WHERE sid = 'a' FOR UPDATE", async () => {
      unknown = (await rejection(store.set("a", aSession({ n: "after" })))) as OutcomeUnknown;
      expect(unknown).toBeInstanceOf(OutcomeUnknown);
      void unknown.settled.then(() => {
        settled = true;
      });
      await delay(1_500);
      // It waits for the lock in a backend that we do not know: it may still be made.
      expect(settled).toBe(false);
    });
    await unknown!.settled;
    const settledTo = (await store.get("a"))!.value.toString();
    await delay(300);
    expect((await store.get("a"))!.value.toString()).toBe(settledTo);
  });
});
