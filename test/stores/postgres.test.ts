import { setTimeout as delay } from "node:timers/promises";
import connectPg from "connect-pg-simple";
import session from "express-session";
import pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { NEVER } from "../../src/core/session.js";
import type { FerryError } from "../../src/errors.js";
import { type RunningServer, startPostgres } from "../../src/servers/index.js";
import type { PostgresLegacyOptions, PostgresLegacyStore } from "../../src/stores/postgres.js";
import { openPostgresWitness } from "../../src/stores/witness-postgres.js";
import { inTransaction, openStore, sql, TABLE } from "./postgres-support.js";
import { aSession, HOUR, newSid, promised, rejection } from "./support.js";

const _LOCK_A = "SELECT FROM session WHERE sid = 'a' FOR UPDATE";

describe("PostgreSQL", () => {
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

  describe("statements", () => {
    it("of one session are prepared, and go on where the table changes its shape or the server forgets them", async () => {
      const store = open({ connections: 1 });
      const before = aSession({ n: 1 });
      await store.set("a", before);
      const own = await sql(server.url, "SELECT pid FROM pg_stat_activity WHERE query LIKE '%sessionferry%INSERT%'");
      expect(own.length).toBeGreaterThan(0);
      await sql(server.url, "ALTER TABLE session ALTER COLUMN sid TYPE text, ALTER COLUMN expire TYPE timestamptz");
      await sql(server.url, "ALTER TABLE session ALTER COLUMN sess TYPE jsonb");
      try {
        expect(await store.touch("a", before.expiresAt + 1_000)).toBe(true);
        expect(JSON.parse((await store.get("a"))!.value.toString())).toEqual({ n: 1 });
        await store.set("a", aSession({ n: 2 }));
        expect(JSON.parse((await store.get("a"))!.value.toString())).toEqual({ n: 2 });
        expect(await store.destroy("a")).toBe(true);
        expect(await store.destroy("a")).toBe(false);
        expect(await store.touch("a", before.expiresAt)).toBe(false);
      } finally {
        await sql(server.url, "DROP TABLE session");
        await sql(server.url, TABLE);
      }
      await store.set("a", before);
      expect((await store.get("a"))?.value).toEqual(before.value);
    });

    it("read together what is asked for while every connection is at work, each answer to its own question", async () => {
      const store = open({ connections: 1 });
      const sids = Array.from({ length: 70 }, (_, n) => `s${n}`);
      await Promise.all(sids.filter((_, n) => n % 3 > 0).map((sid) => store.set(sid, aSession({ sid }))));
      const asked = [...sids, ...sids.slice(0, 5), "U+0000 \0"];
      const found = await Promise.all(asked.map((sid) => store.get(sid)));
      const right = asked.map((sid) => (Number(sid.slice(1)) % 3 > 0 ? JSON.stringify({ sid }) : undefined));
      expect(found.map((session) => session?.value.toString())).toEqual(right);
    });

    it("read together fail each by itself", async () => {
      // What the encoding of the connection cannot show: one session must not be the trouble of those beside it.
      await sql(server.url, "CREATE TABLE broken AS SELECT * FROM session WHERE false");
      await sql(server.url, "ALTER TABLE broken ADD PRIMARY KEY (sid), ALTER COLUMN sess TYPE text");
      const view =
        "CREATE VIEW fragile AS SELECT sid, CASE WHEN sid = 'b' THEN (1 / length(sess))::text ELSE sess END AS sess, expire FROM broken";
      await sql(server.url, view);
      const row = (sid: string, text: string) =>
        sql(server.url, "INSERT INTO broken VALUES ($1, $2, now() + interval '1 hour')", [sid, text]);
      await Promise.all([row("a", "{}"), row("b", ""), row("c", "{}")]);
      const store = open({ connections: 1, table: "fragile" });
      const found = await Promise.allSettled(["a", "b", "c", "a", "b"].map((sid) => store.get(sid)));
      expect(found.map(({ status }) => status)).toEqual([
        "fulfilled",
        "rejected",
        "fulfilled",
        "fulfilled",
        "rejected",
      ]);
      await sql(server.url, "DROP VIEW fragile; DROP TABLE broken");
    });
  });

  describe("beside connect-pg-simple", () => {
    const withPlain = async (run: (plain: ReturnType<typeof promised>) => Promise<void>) => {
      const pool = new pg.Pool({ connectionString: server.url });
      const Store = connectPg(session);
      const plain = new Store({ pool, pruneSessionInterval: false });
      try {
        await run(promised(plain));
      } finally {
        await plain.close();
        await pool.end();
      }
    };
    const cookie = (life: number) => ({ originalMaxAge: life, expires: new Date(Date.now() + life), path: "/" });

    it.each(["timestamp(6)", "timestamptz"])("agrees on %s, in a server far from Greenwich", async (type) => {
      await sql(server.url, `ALTER TABLE session ALTER COLUMN expire TYPE ${type}`);
      const store = open();
      const witness = openPostgresWitness({ url: server.url, table: "session", timeout: 1_000 });
      await withPlain(async (plain) => {
        const [theirs, ours] = [newSid(), newSid()];
        const data = { cookie: cookie(HOUR), cart: ["naïve \u0000 ☃"], user: 7 };
        await plain.set(theirs, data);
        const read = await store.get(theirs);
        expect(read?.value.toString()).toBe(JSON.stringify(data));
        expect(read?.expiresAt).toBe(Math.ceil(data.cookie.expires.valueOf() / 1000) * 1000);

        await store.set(ours, read!);
        expect(await plain.get(ours)).toEqual(JSON.parse(JSON.stringify(data)));
        expect(await witness.get(ours)).toEqual(read!.value);
        expect(await witness.get(theirs)).toEqual(read!.value);

        await store.touch(ours, Date.now() - 2_000);
        expect(await plain.get(ours)).toBeNull();
        expect(await witness.get(ours)).toBeNull();
        expect(await store.get(ours)).toBeNull();
        await store.set(ours, { ...read!, expiresAt: NEVER });
        expect((await store.get(ours))?.expiresAt).toBe(NEVER);
        expect(await witness.get(ours)).toEqual(read!.value);

        await plain.destroy(theirs);
        expect(await store.get(theirs)).toBeNull();
      });
      await witness.close();
      await sql(server.url, "ALTER TABLE session ALTER COLUMN expire TYPE timestamp(6)");
    });

    it("goes by the column where cookie.expires in the value went stale", async () => {
      const store = open();
      await withPlain(async (plain) => {
        const sid = newSid();
        await plain.set(sid, { cookie: cookie(HOUR) });
        const later = cookie(5 * HOUR);
        await plain.touch(sid, { cookie: later });
        const read = await store.get(sid);
        expect(read?.expiresAt).toBe(Math.ceil(later.expires.valueOf() / 1000) * 1000);
        expect(JSON.parse(read!.value.toString()).cookie.expires).not.toBe(later.expires.toISOString());
      });
    });

    it("shows it no placeholder", async () => {
      const store = open();
      await withPlain(async (plain) => {
        const sid = newSid();
        await store.tokens([sid]);
        expect(await plain.get(sid)).toBeNull();
        expect(await sql(server.url, "SELECT FROM session WHERE sid = $1", [sid])).toHaveLength(1);
      });
    });

    it("never takes a row without an expiry for a session", async () => {
      await sql(server.url, "ALTER TABLE session ALTER COLUMN expire DROP NOT NULL");
      const store = open();
      const [sid, live] = [newSid(), newSid()];
      await sql(server.url, "INSERT INTO session VALUES ($1, '{}', NULL)", [sid]);
      await store.set(live, aSession());
      await withPlain(async (plain) => expect(await plain.get(sid)).toBeNull());
      expect(await store.get(sid)).toBeNull();
      expect(await store.count()).toBe(1);
      const listed: string[] = [];
      for await (const page of store.list({ pageSize: 10 })) listed.push(...page);
      expect(listed).toEqual([live]);
      expect((await store.describe()).withoutExpiry).toBe(1);
      await sql(server.url, "DELETE FROM session");
      await sql(server.url, "ALTER TABLE session ALTER COLUMN expire SET NOT NULL");
    });
  });

  describe("values", () => {
    const secret = "very-secret-content";

    it("that are not JSON are refused, unseen by the error", async () => {
      const store = open();
      const sid = newSid();
      const before = aSession();
      await store.set(sid, before);
      const broken = [Buffer.from(`{"${secret}`), Buffer.from([0xff, 0xfe]), Buffer.from("a\0b"), Buffer.alloc(0)];
      for (const value of broken) {
        const error = await rejection(store.set(sid, { ...before, value }));
        expect(error).toMatchObject({ code: "VALUE_INVALID" });
        expect(`${error.stack} ${JSON.stringify(error)} ${String(error.cause)}`).not.toMatch(secret);
        expect(`${error.stack} ${JSON.stringify(error)}`).not.toMatch(sid);
      }
      expect((await store.get(sid))?.value).toEqual(before.value);
    });

    it("that the table refuses do not hold up a batch", async () => {
      const reported: FerryError[] = [];
      const store = open({ report: (error) => reported.push(error) });
      const sids = [newSid(), newSid(), newSid(), newSid()];
      const tokens = await store.tokens(sids);
      const good = aSession();
      const values = [good.value, Buffer.from(`{"${secret}`), good.value, Buffer.from([0xff])];
      const changes = tokens.map((token, n) => ({ token: token!, session: { ...good, value: values[n]! } }));
      expect(await store.applyIf(changes)).toEqual(["applied", "refused", "applied", "refused"]);
      expect(reported.map((error) => error.code)).toEqual(["VALUE_INVALID", "VALUE_INVALID"]);
      expect((await store.getMany(sids)).map((found) => found !== null)).toEqual([true, false, true, false]);
    });

    it("that a constraint forbids do not hold up a batch, and are refused for good", async () => {
      await sql(server.url, "ALTER TABLE session ADD CONSTRAINT small CHECK (length(sess::text) < 200)");
      try {
        const reported: FerryError[] = [];
        const store = open({ report: (error) => reported.push(error) });
        const sids = Array.from({ length: 20 }, newSid);
        const tokens = await store.tokens(sids);
        const changes = tokens.map((token, n) => ({
          token: token!,
          session: aSession({ n, ...(n % 7 === 3 && { note: "x".repeat(300) }) }),
        }));
        expect(await store.applyIf(changes)).toEqual(sids.map((_, n) => (n % 7 === 3 ? "refused" : "applied")));
        expect(reported.map(({ code }) => code)).toEqual(["LEGACY_REFUSED", "LEGACY_REFUSED", "LEGACY_REFUSED"]);
        for (const error of reported) expect(error.message).not.toMatch(/xxx/);
        // What is wrong with the table itself is nobody's session.
        await sql(server.url, "ALTER TABLE session RENAME TO gone");
        await expect(store.applyIf(changes)).rejects.toMatchObject({ code: "TABLE_UNSUITABLE" });
      } finally {
        await sql(
          server.url,
          "ALTER TABLE IF EXISTS gone RENAME TO session; ALTER TABLE session DROP CONSTRAINT small",
        );
      }
    });

    it("with U+0000 are fine in json, refused by jsonb", async () => {
      const value = Buffer.from('{"a":"\\u0000"}');
      const store = open();
      const sid = newSid();
      await store.set(sid, { ...aSession(), value });
      expect((await store.get(sid))?.value).toEqual(value);
      await sql(server.url, "TRUNCATE session; ALTER TABLE session ALTER COLUMN sess TYPE jsonb USING sess::jsonb");
      const onJsonb = open();
      await expect(onJsonb.set(sid, { ...aSession(), value })).rejects.toMatchObject({ code: "VALUE_INVALID" });
      await onJsonb.set(sid, aSession({ b: 1, a: 2 }));
      const [token] = await onJsonb.tokens([sid]);
      expect(await onJsonb.applyIf([{ token: token!, session: aSession({ c: 3 }) }])).toEqual(["applied"]);
      expect(JSON.parse((await onJsonb.get(sid))!.value.toString())).toEqual({ c: 3 });
      await sql(server.url, "ALTER TABLE session ALTER COLUMN sess TYPE json");
    });

    it("whose id does not fit are refused", async () => {
      await sql(server.url, "ALTER TABLE session ALTER COLUMN sid TYPE varchar(40)");
      const error = await rejection(open().set("x".repeat(41), aSession()));
      expect(error).toMatchObject({ code: "KEY_TOO_LONG" });
      expect(error.message).not.toMatch("xxx");
      await sql(server.url, "ALTER TABLE session ALTER COLUMN sid TYPE varchar");
    });
  });

  it("prunes what expired hours ago, neither placeholders nor what was renewed", async () => {
    const store = open();
    await sql(
      server.url,
      `INSERT INTO session SELECT 'old' || n, '{}', now() - interval '5 hours' FROM generate_series(1, 2500) n`,
    );
    await store.tokens(["placeholder"]);
    await store.set("live", aSession());
    let pruning = Promise.resolve(0);
    const renewal = "UPDATE session SET expire = now() + interval '1 hour' WHERE sid = 'old1'";
    await inTransaction(server.url, renewal, async () => {
      pruning = store.prune();
      await delay(100);
    });
    expect(await pruning).toBe(2_499);
    const left = await sql<{ sid: string }>(server.url, "SELECT sid FROM session ORDER BY sid");
    expect(left.map(({ sid }) => sid)).toEqual(["live", "old1", "placeholder"]);
  });

  describe("describe", () => {
    const describing = (ddl: string, table = "other.sessions") =>
      sql(server.url, `DROP SCHEMA IF EXISTS other CASCADE; CREATE SCHEMA other; ${ddl}`).then(() =>
        open({ table }).describe(),
      );

    it("tells about the preset's own table", async () => {
      expect(await open().describe()).toMatchObject({
        role: "postgres",
        timeZone: "America/New_York",
        table: "public.session",
        columns: { sid: "character varying", value: "json", expiry: "timestamp without time zone" },
        zoned: false,
        missingRights: [],
        withoutExpiry: 0,
        pooled: false,
      });
    });

    it("names all that is missing", async () => {
      await expect(describing("", "other.nothing")).rejects.toMatchObject({ code: "TABLE_UNSUITABLE" });
      const error = await rejection(
        describing("CREATE TABLE other.sessions (sid uuid, sess bytea, owner int NOT NULL)"),
      );
      expect(error).toMatchObject({ code: "TABLE_UNSUITABLE" });
      for (const part of [
        /"sid" is of type uuid/,
        /"sid" has neither/,
        /"sess" is of type bytea/,
        /"expire" is missing/,
        /"owner" must be given/,
      ]) {
        expect(error.message).toMatch(part);
      }
    });

    it("knows quoted names, and which rights a role lacks", async () => {
      await sql(server.url, "DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN");
      const table = '"Odd.Schema"."Se""ssions"';
      await sql(
        server.url,
        `DROP SCHEMA IF EXISTS "Odd.Schema" CASCADE; CREATE SCHEMA "Odd.Schema"; GRANT USAGE ON SCHEMA "Odd.Schema" TO reader;
         CREATE TABLE ${table} (sid text PRIMARY KEY, sess text, expire timestamptz); GRANT SELECT ON ${table} TO reader`,
      );
      const store = open({ url: server.url.replace("postgres@", "reader@"), table });
      expect(await store.describe()).toMatchObject({ zoned: true, missingRights: ["INSERT", "UPDATE", "DELETE"] });
      await expect(store.set(newSid(), aSession())).rejects.toMatchObject({ name: "LegacyRefused", code: "42501" });
      const owner = open({ table });
      await owner.set("a", { ...aSession(), value: Buffer.from("not json, but text") });
      expect((await owner.get("a"))?.value.toString()).toBe("not json, but text");
    });

    it("is not needed to learn that the table is missing", async () => {
      await expect(open({ table: "nowhere" }).get("a")).rejects.toMatchObject({ code: "TABLE_UNSUITABLE" });
      await expect(open({ table: "nowhere" }).identity()).rejects.toMatchObject({ code: "TABLE_UNSUITABLE" });
    });
  });
});
