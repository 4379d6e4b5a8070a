import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openControl } from "../../src/control/open.js";
import { FerryError } from "../../src/errors.js";
import { ControlUnreachable, NotSetUp } from "../../src/ports/control-store.js";
import { type RunningServer, startPostgres } from "../../src/servers/index.js";
import { controlStoreContract, DUAL_WRITE, LEGACY, registration } from "../contract/control-store.js";

const DEADLINE = 1_500;
const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

controlStoreContract("PostgreSQL", async () => {
  const server = await startPostgres();
  let opened = 0;
  return {
    deadline: DEADLINE,
    open: (migration) => openControl(server.url, { migration, node: `n${opened++}`, deadline: DEADLINE }),
    pass: pause,
    outage: async (kind) => {
      if (kind === "paused") {
        server.pause();
        return { end: async () => server.resume() };
      }
      await server.stop();
      return { end: () => server.restart() };
    },
    end: () => server.stop(),
  };
});

it("tells of a file that its URL names, and that cannot be read", async () => {
  const url = "postgres://u:secret@localhost/db?sslmode=verify-full&sslrootcert=/nonexistent/ca.pem";
  const opening = (async () => openControl(url, { migration: "m", node: "n", deadline: DEADLINE }))();
  const error = await opening.then(
    () => null,
    (failure: Error) => failure,
  );
  expect(error).toMatchObject({ code: "CONFIG_INVALID", message: expect.stringMatching(/cannot be read \(ENOENT\)/) });
  expect(error!.message).not.toContain("secret");
});

describe("PostgreSQL", () => {
  let server: RunningServer;
  let admin: pg.Client;
  let databases = 0;

  beforeAll(async () => {
    server = await startPostgres({ settings: { default_transaction_isolation: "repeatable read" } });
    admin = new pg.Client(server.url);
    await admin.connect();
  });
  afterAll(async () => {
    await admin?.end();
    await server?.stop();
  });

  /** A database of its own, with a client of the superuser in it. */
  async function database() {
    const name = `d${++databases}`;
    await admin.query(`CREATE DATABASE ${name}`);
    const url = server.url.replace(/\/postgres$/, `/${name}`);
    const client = new pg.Client(url);
    await client.connect();
    return { name, url, client };
  }

  async function role(name: string, url: string, right = "") {
    await admin.query(`CREATE ROLE ${name} LOGIN ${right}`);
    return url.replace("postgres@", `${name}@`);
  }

  const open = (url: string, migration = "shop", node = "node0001") =>
    openControl(url, { migration, node, deadline: DEADLINE });

  it("joins one by one where transactions see a snapshot by default", async () => {
    const { url, client } = await database();
    const stores = await Promise.all(Array.from({ length: 6 }, (_, i) => open(url, "shop", `n${i}`)));
    await stores[0]!.setup(DUAL_WRITE);
    await stores[0]!.join(registration("old"), { presence: 60_000 });
    await stores[0]!.leave("old");
    const joined = await Promise.all(stores.map((store, i) => store.join(registration(`n${i}`), { presence: 60_000 })));
    expect(joined.map((record) => [record.revision, record.interrupted])).toEqual(stores.map(() => [2, true]));
    await Promise.all(stores.map((store) => store.close()));
    await client.end();
  });

  it("names its connections and opens two at most", async () => {
    const { url, client } = await database();
    const store = await open(`${url}?application_name=theirs`);
    await store.setup(LEGACY);
    await Promise.all(Array.from({ length: 10 }, () => store.read()));
    const { rows } = await client.query(
      "SELECT application_name AS name FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    expect(rows.length).toBeLessThanOrEqual(2);
    expect(new Set(rows.map((row) => row.name))).toEqual(new Set(["sessionferry-control:node0001"]));
    await store.close();
    await client.end();
  });

  it("waits for no lock beyond its deadline, and the statement that waited may still be carried out", async () => {
    const { url, client } = await database();
    const store = await open(url);
    await store.setup(LEGACY);
    await client.query("BEGIN ISOLATION LEVEL READ COMMITTED");
    await client.query("SELECT FROM sessionferry.control_record FOR UPDATE");
    const began = performance.now();
    const failure = await store.compareAndSet(1, DUAL_WRITE).catch((error: unknown) => error);
    expect(performance.now() - began).toBeLessThan(DEADLINE + 500);
    expect(failure).toBeInstanceOf(ControlUnreachable);
    expect((failure as ControlUnreachable).sent).toBe(true);
    await client.query("COMMIT");
    await expect.poll(() => store.read().then((record) => record.revision)).toBe(2);
    await store.close();
    await client.end();
  });

  it("refuses a revision that goes back or stands still, whoever writes it", async () => {
    const { url, client } = await database();
    const store = await open(url);
    await store.setup(LEGACY);
    await store.compareAndSet(1, DUAL_WRITE);
    for (const change of ["revision = 1", "revision = 4", "generation = 'x'", "migration = 'x'"]) {
      await expect(client.query(`UPDATE sessionferry.control_record SET ${change}`), change).rejects.toThrow(/cannot/);
    }
    expect(await store.read()).toMatchObject({ revision: 2, ...DUAL_WRITE });
    await store.close();
    await client.end();
  });

  it("commits a change of the record to disk though the server would not", async () => {
    const { url, client } = await database();
    const store = await open(url);
    await store.setup(LEGACY);
    await client.query("BEGIN; UPDATE sessionferry.control_record SET revision = revision + 1");
    expect((await client.query("SHOW synchronous_commit")).rows[0].synchronous_commit).toBe("on");
    await client.query("ROLLBACK");
    await store.close();
    await client.end();
  });

  describe("setup", () => {
    it("is repeated without any right to create", async () => {
      const { url, client } = await database();
      const owner = await open(url);
      await owner.setup(LEGACY);
      const limited = await role("tenant", url);
      await client.query(`GRANT USAGE ON SCHEMA sessionferry TO tenant;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA sessionferry TO tenant`);
      const store = await open(limited, "another");
      expect(await store.setup(LEGACY)).toBe(true);
      await store.join(registration("a"), { presence: 1000 });
      await store.putDocument("check", "1", {});
      await store.putDocument("check", "1", {});
      await store.append({ by: "anna", action: "setup", detail: {} });
      expect(await store.lock("phase", "a", 1000)).toBe(true);
      await store.destroy();
      await owner.destroy();
      await Promise.all([store.close(), owner.close(), client.end()]);
    });

    it("says how to make the schema where it may not, and works in a schema made so", async () => {
      const { name, url, client } = await database();
      const limited = await role("limited", url);
      const store = await open(limited);
      const failure = (await store.setup(LEGACY).catch((error: unknown) => error)) as FerryError;
      expect(failure).toBeInstanceOf(FerryError);
      expect(failure.code).toBe("GUARD_REFUSED");
      expect(failure.message).toContain(`"${name}"`);
      const line = failure.remedy.split("\n").find((each) => each.startsWith("CREATE SCHEMA"));
      await client.query(line!);
      expect(await store.setup(LEGACY)).toBe(true);
      expect((await store.read()).revision).toBe(1);
      await store.destroy();
      await Promise.all([store.close(), client.end()]);
    });

    it("says which right a schema lacks, and works once it is granted", async () => {
      const { url, client } = await database();
      const store = await open(await role("guest", url));
      await client.query("CREATE SCHEMA sessionferry");
      for (let attempt = 0; attempt < 2; attempt++) {
        const failure = (await store.setup(LEGACY).catch((error: unknown) => error)) as FerryError;
        expect(failure.code).toBe("GUARD_REFUSED");
        if (attempt === 0) await client.query("GRANT USAGE ON SCHEMA sessionferry TO guest");
        else await client.query(failure.remedy.split("\n").at(-1)!);
      }
      expect(await store.setup(LEGACY)).toBe(true);
      await store.destroy();
      await Promise.all([store.close(), client.end()]);
    });

    it("brings the lines that let another role use the tables", async () => {
      const { url, client } = await database();
      const owner = await open(url);
      await owner.setup(LEGACY);
      const store = await open(await role("visitor", url));
      const failure = (await store.read().catch((error: unknown) => error)) as FerryError;
      expect(failure.code).toBe("GUARD_REFUSED");
      await client.query(failure.remedy.split("\n").slice(1).join("\n"));
      expect((await store.read()).revision).toBe(1);
      expect((await store.join(registration("a"), { presence: 1000 })).revision).toBe(1);
      await Promise.all([store.close(), owner.close(), client.end()]);
    });
  });

  describe("destroy", () => {
    it("removes tables and schema with the last migration only", async () => {
      const { url, client } = await database();
      const one = await open(url, "one");
      const two = await open(url, "two");
      await Promise.all([one.setup(LEGACY), two.setup(LEGACY)]);
      const left = async () =>
        (await client.query("SELECT FROM pg_namespace WHERE nspname = 'sessionferry'")).rows.length;
      await one.destroy();
      expect(await left()).toBe(1);
      await two.destroy();
      expect(await left()).toBe(0);
      await expect(two.read()).rejects.toThrow(NotSetUp);
      await Promise.all([one.close(), two.close(), client.end()]);
    });

    it("leaves a schema in which something else lies", async () => {
      const { url, client } = await database();
      const store = await open(url);
      await store.setup(LEGACY);
      await client.query("CREATE TABLE sessionferry.theirs ()");
      await store.destroy();
      const { rows } = await client.query(
        "SELECT relname FROM pg_class WHERE relnamespace = 'sessionferry'::regnamespace",
      );
      expect(rows).toEqual([{ relname: "theirs" }]);
      expect(await store.setup(LEGACY)).toBe(true);
      await Promise.all([store.close(), client.end()]);
    });

    it("runs beside setups of other migrations", async () => {
      const { url, client } = await database();
      const stores = await Promise.all(Array.from({ length: 4 }, (_, i) => open(url, `m${i}`)));
      for (let round = 0; round < 3; round++) {
        await Promise.all(stores.map((store, i) => (i % 2 === round % 2 ? store.destroy() : store.setup(LEGACY))));
      }
      await Promise.all(stores.map((store) => store.setup(LEGACY)));
      for (const store of stores) expect((await store.read()).revision).toBe(1);
      await Promise.all([...stores.map((store) => store.close()), client.end()]);
    });
  });

  describe("bad URLs", () => {
    it("are told without their password", async () => {
      const secret = "s3cr3t%21word";
      await admin.query("CREATE ROLE keyed LOGIN PASSWORD 'another'");
      const urls = {
        nobody: `postgres://keyed:${secret}@127.0.0.1:1/postgres`,
        unreadable: `postgres://keyed:${secret}@127.0.0.1:port/postgres`,
        nowhere: server.url.replace("postgres@", `postgres:${secret}@`).replace(/\/postgres$/, "/none"),
      };
      const failures = await Promise.all(
        Object.entries(urls).map(async ([kind, url]) => {
          const failure = await open(url)
            .then((store) => store.read().finally(() => store.close()))
            .catch((error: unknown) => error);
          const printed = [failure, (failure as Error).stack, JSON.stringify(failure), (failure as Error).cause]
            .map((each) => (each instanceof Error ? `${each.stack} ${JSON.stringify(each)}` : String(each)))
            .join("\n");
          expect(printed).not.toMatch(/s3cr3t/);
          return [kind, failure instanceof FerryError ? failure.code : (failure as Error).name];
        }),
      );
      expect(Object.fromEntries(failures)).toEqual({
        nobody: "ControlUnreachable",
        unreadable: "CONFIG_INVALID",
        nowhere: "CONFIG_INVALID",
      });
    });
  });

  it("tells a wrong password from a server that is away", async () => {
    const { url, client } = await database();
    await client.query("CREATE ROLE guarded LOGIN PASSWORD 'right'");
    const { rows } = await client.query("SHOW hba_file");
    await client.query("CREATE TEMP TABLE hba (line text)");
    await client.query(
      "INSERT INTO hba VALUES ('host all guarded 127.0.0.1/32 scram-sha-256'), ('host all all 127.0.0.1/32 trust')",
    );
    await client.query(`COPY hba TO '${rows[0].hba_file}'`);
    await client.query("SELECT pg_reload_conf()");
    for (const login of ["guarded:wrong", "guarded"]) {
      await expect
        .poll(
          async () => {
            const store = await open(url.replace("postgres@", `${login}@`));
            const failure = await store.read().catch((error: unknown) => error);
            await store.close();
            return (failure as FerryError).code;
          },
          { message: login },
        )
        .toBe("AUTHENTICATION_FAILED");
    }
    const store = await open(url.replace("postgres@", "guarded:right@"));
    await expect(store.read()).rejects.toThrow(NotSetUp);
    await store.close();
    await client.end();
  });
});
