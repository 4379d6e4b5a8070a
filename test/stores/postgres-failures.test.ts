import { chownSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { newNodeId } from "../../src/core/ids.js";
import { FerryError } from "../../src/errors.js";
import { connectionName } from "../../src/ports/fence.js";
import { LegacyRefused, LegacyUnreachable, OutcomeUnknown, type Token } from "../../src/ports/legacy-store.js";
import { type RunningServer, startPostgres } from "../../src/servers/index.js";
import type { PostgresLegacyOptions, PostgresLegacyStore } from "../../src/stores/postgres.js";
import { until } from "../support/processes.js";
import { inTransaction, openStore, sql, TABLE } from "./postgres-support.js";
import { aSession, duration, newSid, rejection } from "./support.js";

const LOCK_A = "SELECT FROM session WHERE sid = 'a' FOR UPDATE";

describe("PostgreSQL that fails", () => {
  let server: RunningServer;
  const stores: PostgresLegacyStore[] = [];

  const open = (options: Partial<PostgresLegacyOptions> = {}) => {
    const store = openStore(server.url, options);
    stores.push(store);
    return store;
  };

  beforeAll(async () => {
    server = await startPostgres({ settings: { timezone: "America/New_York" } });
    await sql(server.url, TABLE);
  });

  beforeEach(async () => {
    await sql(server.url, "TRUNCATE session");
  });

  afterAll(async () => {
    await Promise.all(stores.map((store) => store.close()));
    await server?.stop();
  });

  describe("refusals", () => {
    it("of a read-only database change nothing and say so", async () => {
      await sql(server.url, "DROP ROLE IF EXISTS readonly; CREATE ROLE readonly SUPERUSER LOGIN");
      await sql(server.url, "ALTER ROLE readonly SET default_transaction_read_only = on");
      const store = open({ url: server.url.replace("postgres@", "readonly@") });
      const error = await rejection(store.set(newSid(), aSession()));
      expect(error).toBeInstanceOf(LegacyRefused);
      expect(error).toMatchObject({ code: "25006" });
      expect(await store.get(newSid())).toBeNull();
    });

    it("of a deadlock are tried once more", async () => {
      const store = open({ deadline: 10_000 });
      // Our statement makes a, then waits for b; the other side has made b and asks for a. PostgreSQL ends one of them:
      // the one whose deadlock_timeout runs out first, which is ours.
      const insert = (sid: string) => `INSERT INTO session VALUES ('${sid}', '{}', now() + interval '1 hour')`;
      let tokens = Promise.resolve<(Token | null)[]>([]);
      await inTransaction(server.url, `SET deadlock_timeout = '60s'; ${insert("b")}`, async (other) => {
        tokens = store.tokens(["a", "b"]);
        await delay(100);
        await other.query(insert("a"));
      });
      expect((await tokens).map((token) => token?.sid)).toEqual(["a", "b"]);
    });

    it("of a row that another transaction holds are not waited for, and keep nobody else from his", async () => {
      const store = open({ deadline: 10_000 });
      for (const sid of ["held", "free"]) await store.set(sid, aSession());
      const tokens = await store.tokens(["held", "free"]);
      const changes = tokens.map((token) => ({ token: token!, session: aSession({ n: 2 }) }));
      await inTransaction(server.url, "SELECT FROM session WHERE sid = 'held' FOR UPDATE", async () => {
        expect(await store.applyIf(changes)).toEqual(["changed", "applied"]);
      });
      expect(await store.applyIf(changes)).toEqual(["applied", "changed"]);
    });

    it("of a wrong role or database name neither", async () => {
      const url = new URL(server.url);
      url.username = "nobody";
      url.password = "pass-word";
      const error = await rejection(open({ url: url.href }).get("a"));
      expect(error).toMatchObject({ code: "AUTHENTICATION_FAILED" });
      expect(error.message).not.toMatch("pass-word");
      const missing = await rejection(open({ url: `${server.url}-gone` }).get("a"));
      expect(missing).toBeInstanceOf(LegacyUnreachable);
      expect(missing.message).toMatch(/3D000/);
    });

    it("of a connection too many mean that nothing was sent", async () => {
      await sql(server.url, "DROP ROLE IF EXISTS few; CREATE ROLE few LOGIN CONNECTION LIMIT 1");
      await sql(server.url, "GRANT ALL ON session TO few");
      const url = server.url.replace("postgres@", "few@");
      const [first, second] = [open({ url }), open({ url })];
      expect(await first.get("a")).toBeNull();
      const error = await rejection(second.set("a", aSession()));
      expect(error).toBeInstanceOf(LegacyUnreachable);
      expect(error.message).toMatch(/53300/);
      expect(await first.get("a")).toBeNull();
    });

    it("of a connection too many keep nobody from those that stand", async () => {
      await sql(server.url, "DROP ROLE IF EXISTS several; CREATE ROLE several LOGIN CONNECTION LIMIT 2");
      await sql(server.url, "GRANT ALL ON session TO several");
      const store = open({ url: server.url.replace("postgres@", "several@"), connections: 10, deadline: 5_000 });
      await store.get("a");
      await Promise.all(Array.from({ length: 40 }, () => store.set(newSid(), aSession())));
    });

    it("of a file that the URL names mean that nothing was sent", async () => {
      const url = `${server.url}?sslmode=verify-full&sslrootcert=/nonexistent/ca.pem`;
      const error = await rejection(open({ url }).set("a", aSession()));
      expect(error).toBeInstanceOf(LegacyUnreachable);
      expect(error.message).toMatch(/ENOENT/);
    });
  });

  it("that has become a standby under its connections is asked nothing more over them", async () => {
    // PostgreSQL cannot be made one without a restart; this role sees what the table says.
    await sql(server.url, "ALTER ROLE postgres SET default_transaction_read_only = off");
    await sql(server.url, "CREATE TABLE standby AS SELECT false AS now");
    await sql(
      server.url,
      "CREATE FUNCTION public.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT now FROM public.standby'",
    );
    await sql(server.url, "CREATE ROLE moved SUPERUSER LOGIN");
    await sql(server.url, "ALTER ROLE moved SET search_path = public, pg_catalog");
    const store = open({ url: server.url.replace("postgres@", "moved@") });
    const readOnly = async (is: boolean) => {
      await sql(server.url, `UPDATE standby SET now = ${is}`);
      await sql(server.url, `ALTER SYSTEM SET default_transaction_read_only = ${is}`);
      await sql(server.url, "SELECT pg_reload_conf()");
    };
    try {
      await store.set("a", aSession());
      await readOnly(true);
      await until("it refuses changes", async () => (await store.set("a", aSession()).catch(() => null)) === null);
      await until("it is left", async () => (await store.get("a").catch((error: Error) => error)) instanceof Error);
      expect((await rejection(store.get("a"))).message).toMatch(/standby/);
    } finally {
      await readOnly(false);
    }
    await until("it is back", () =>
      store.set("a", aSession()).then(
        () => true,
        () => false,
      ),
    );
    expect(await store.get("a")).not.toBeNull();
  });

  // A session that was logged out on the other server is there still, and its users would be logged in again.
  it("that is a standby is not used before it was promoted", async () => {
    const standby = await startPostgres();
    try {
      await sql(standby.url, TABLE);
      const [{ data_directory: data }] = (await sql<{ data_directory: string }>(
        standby.url,
        "SHOW data_directory",
      )) as [{ data_directory: string }];
      await sql(standby.url, "CHECKPOINT");
      await standby.stop();
      writeFileSync(join(data, "standby.signal"), "");
      const { uid, gid } = statSync(data);
      chownSync(join(data, "standby.signal"), uid, gid);
      await standby.restart();
      const store = open({ url: standby.url });
      for (const ask of [() => store.get("a"), () => store.set("a", aSession())]) {
        const error = await rejection(ask());
        expect(error).toBeInstanceOf(LegacyUnreachable);
        expect(error.message).toMatch(/standby/);
      }
      await sql(standby.url, "SELECT pg_promote()");
      await store.set("a", aSession());
      expect(await store.get("a")).not.toBeNull();
    } finally {
      await standby.stop();
    }
  });

  describe("connections", () => {
    const named = (node: string) =>
      sql(server.url, "SELECT pid FROM pg_stat_activity WHERE application_name = $1", [connectionName(node)]);

    it("are used only after the fence let them through, and destroyed when it does not", async () => {
      const asked: unknown[] = [];
      let open_ = false;
      const store = open({
        node: "fenced01",
        connections: 1,
        url: `${server.url}?application_name=somebody-else`,
        fence: async (connection) => {
          asked.push(connection);
          expect(await named("fenced01")).toHaveLength(1);
          if (!open_) throw new FerryError("NODE_EVICTED", "This node was evicted.");
        },
      });
      await expect(store.set("a", aSession())).rejects.toMatchObject({ code: "NODE_EVICTED" });
      await expect.poll(() => named("fenced01")).toEqual([]);
      open_ = true;
      await store.set("a", aSession());
      await store.get("a");
      expect(asked).toEqual(Array(2).fill({ store: "legacy", endpoint: null }));
    });

    it("of a node are ended by an eviction, and asked for at the fence when it makes new ones", async () => {
      let fenced = 0;
      const evicted = open({ node: "evicted1", fence: async () => void fenced++ });
      await Promise.all(Array.from({ length: 4 }, () => evicted.get("a")));
      expect((await named("evicted1")).length).toBeGreaterThan(0);
      const before = fenced;
      expect(await open().disconnectNode("evicted1")).toBe(true);
      expect(await named("evicted1")).toEqual([]);
      await expect.poll(() => evicted.get("a").catch(() => "ended")).toBeNull();
      expect(fenced).toBe(before + 1);
    });

    it("are waited for no longer than the deadline", async () => {
      const store = open({ connections: 1, deadline: 400, fence: () => delay(10_000) });
      const error = rejection(store.set("a", aSession()));
      expect(await duration(error)).toBeLessThan(700);
      expect(await error).toBeInstanceOf(LegacyUnreachable);
    });

    it("that nobody answers mean that nothing was sent", async () => {
      const error = await rejection(open({ url: "postgres://postgres@127.0.0.1:9/postgres" }).set("a", aSession()));
      expect(error).toBeInstanceOf(LegacyUnreachable);
      await expect(open().get("a")).resolves.toBeNull();
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

    it("are unknown while a lock is waited for, and settled by giving the statement up", async () => {
      const store = open({ deadline: 300 });
      const before = aSession({ n: "before" });
      await store.set("a", before);
      await inTransaction(server.url, LOCK_A, async () => {
        const setting = rejection(store.set("a", aSession({ n: "after" })));
        expect(await duration(setting)).toBeLessThan(600);
        const error = await setting;
        expect(error).toBeInstanceOf(OutcomeUnknown);
        await (error as OutcomeUnknown).settled;
      });
      await delay(100);
      expect((await store.get("a"))?.value).toEqual(before.value);
    });

    it("are unknown while the server hangs, and settled after it goes on", async () => {
      const node = newNodeId();
      const store = open({ deadline: 300, connections: 3, node });
      await store.set("a", aSession({ n: "before" }));
      // Who waits for a connection may be served by another that comes free, while its own is still being made.
      await Promise.all([store.now(), store.now(), store.now()]);
      const standing = "SELECT FROM pg_stat_activity WHERE application_name = $1 AND state = 'idle'";
      await until("three connections stand", async () => {
        return (await sql(server.url, standing, [connectionName(node)])).length === 3;
      });
      server.pause();
      try {
        const [reading, setting, destroying] = [
          rejection(store.get("a")),
          rejection(store.set("a", aSession({ n: "after" }))),
          rejection(store.destroy("b")),
        ];
        expect(await duration(Promise.all([reading, setting, destroying]))).toBeLessThan(600);
        expect(await reading).toBeInstanceOf(LegacyUnreachable);
        const unknown = await setting;
        expect(unknown).toBeInstanceOf(OutcomeUnknown);
        expect(await destroying).toBeInstanceOf(OutcomeUnknown);
        const state = settles(unknown);
        await delay(1_500);
        expect(state.settled).toBe(false);
        // All connections hang by now and no new one comes about: nothing more is sent.
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
      await delay(300);
      expect((await store.get("a"))!.value.toString()).toBe(settledTo);
    });

    it("are unknown when the server is killed, and settled when it is back", async () => {
      const store = open({ deadline: 600 });
      const identity = await store.identity();
      await store.set("a", aSession({ n: "before" }));
      await inTransaction(server.url, LOCK_A, async () => {
        const setting = rejection(store.set("a", aSession({ n: "after" })));
        await delay(100);
        await server.kill();
        const unknown = await setting;
        expect(unknown).toBeInstanceOf(OutcomeUnknown);
        const state = settles(unknown);
        expect(await rejection(store.set("a", aSession()))).toBeInstanceOf(LegacyUnreachable);
        await delay(300);
        expect(state.settled).toBe(false);
        await server.restart();
        await (unknown as OutcomeUnknown).settled;
      });
      // Unsynchronised commits of the last moments may be lost with the server; ours never came to one.
      expect((await store.get("a"))?.value.toString() ?? "lost").not.toMatch("after");
      expect(await store.identity()).toBe(identity);
    });

    it("are unknown when the connection is ended under a statement", async () => {
      const store = open({ node: "cutoff01", deadline: 2_000 });
      await store.set("a", aSession({ n: "before" }));
      await inTransaction(server.url, LOCK_A, async () => {
        const setting = rejection(store.set("a", aSession({ n: "after" })));
        await delay(100);
        expect(await open().disconnectNode("cutoff01")).toBe(true);
        const error = await setting;
        expect(error).toBeInstanceOf(OutcomeUnknown);
        await (error as OutcomeUnknown).settled;
      });
      expect((await store.get("a"))?.value.toString()).toBe('{"n":"before"}');
    });

    it("leave nothing that keeps a closed store from ending", async () => {
      const store = open({ deadline: 300 });
      await Promise.all([store.get("a"), store.get("b")]);
      server.pause();
      try {
        await rejection(store.set("a", aSession()));
        expect(await duration(store.close())).toBeLessThan(2_500);
        await expect(store.get("a")).rejects.toMatchObject({ code: "CLOSED" });
      } finally {
        server.resume();
      }
    });
  });
});
