import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startMemcached, startRedis } from "../../src/servers/index.js";
import { openStage, PASSWORDS, run, runError, runJson, type Stage, seedSessions } from "./support.js";

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
  await seedSessions(stage.sql, 20);
});
afterAll(() => stage?.close());
beforeEach(async () => {
  await stage.keys.flushall();
  await stage.sql.query("DROP SCHEMA IF EXISTS sessionferry CASCADE");
});

async function finding(name: string, config: string, code = 3) {
  const { checks } = await runJson("doctor", ["doctor", "--config", config], { code });
  return checks.find((check) => check.name === name);
}

const redisUrlAs = (user: string, password: string) => `redis://${user}:${password}@127.0.0.1:${stage.redis.port}`;
const postgresUrlAs = (user: string) => `postgres://${user}:x@127.0.0.1:${stage.postgres.port}/postgres`;

describe("doctor", () => {
  it("finds nothing that forbids to go on, and says so in words as well", async () => {
    const { ready, checks } = await runJson("doctor", ["doctor", "--config", stage.config]);
    expect(ready).toBe(true);
    expect(checks.filter(({ ok }) => ok !== "ok" && ok !== "warn")).toEqual([]);
    expect(checks.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["same-store", "legacy-rights", "redis-eviction", "redis-memory", "clocks"]),
    );
    const { stdout, code } = await run(["doctor", "--config", stage.config]);
    expect(code).toBe(0);
    expect(stdout).toContain("Next: sessionferry setup");
    expect(stdout).toContain("20 live sessions");
  });

  it("refuses a Redis that evicts, unless the risk is accepted by name", async () => {
    await stage.keys.config("SET", "maxmemory-policy", "volatile-lru");
    try {
      expect(await finding("redis-eviction", stage.config)).toMatchObject({ ok: "refused", code: "EVICTION_POLICY" });
      const { exit, code } = await runError(["setup", "--config", stage.config]);
      expect({ exit, code }).toEqual({ exit: 3, code: "EVICTION_POLICY" });
      const accepting = stage.configure("accepting", { accept: ["eviction"] });
      expect(await finding("redis-eviction", accepting, 0)).toMatchObject({ ok: "warn" });
    } finally {
      await stage.keys.config("SET", "maxmemory-policy", "noeviction");
    }
  });

  it("tells a Redis that is too small", async () => {
    await stage.sql.query(
      `INSERT INTO session SELECT 'large-' || i, to_json(repeat(md5(i::text), 4000)), now() + interval '1 day' FROM generate_series(1, 40) i`,
    );
    await stage.keys.config("SET", "maxmemory", "4mb");
    try {
      expect(await finding("redis-memory", stage.config)).toMatchObject({ ok: "refused" });
    } finally {
      await stage.keys.config("SET", "maxmemory", "0");
      await stage.sql.query("DELETE FROM session WHERE sid LIKE 'large-%'");
    }
  });

  it("gives the GRANT that the role lacks", async () => {
    await stage.sql.query("CREATE ROLE clerk LOGIN; GRANT SELECT, INSERT ON session TO clerk");
    const config = stage.configure("clerk", { legacy: { url: postgresUrlAs("clerk") } });
    expect(await finding("legacy-rights", config)).toMatchObject({
      ok: "refused",
      remedy: 'GRANT UPDATE, DELETE ON public.session TO "clerk";',
    });
    // The same role would have to make our schema.
    expect(await finding("control-rights", config)).toMatchObject({
      ok: "refused",
      remedy: 'GRANT CREATE ON DATABASE postgres TO "clerk";',
    });
    await stage.sql.query(
      'GRANT UPDATE, DELETE ON public.session TO "clerk"; GRANT CREATE ON DATABASE postgres TO "clerk"',
    );
    expect(await finding("legacy-rights", config, 0)).toMatchObject({ ok: "ok" });
    const writers = await finding("legacy-writers", stage.config, 0);
    expect(writers?.remedy).toContain(
      'REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON public.session FROM "clerk", "postgres"',
    );
    await stage.sql.query("DROP OWNED BY clerk; DROP ROLE clerk");
  });

  it("gives the ACL line that the Redis user lacks, and the line is enough", async () => {
    await stage.keys.call(
      "ACL",
      "SETUSER",
      "small",
      "on",
      `>${PASSWORDS.redis}`,
      "~sess:*",
      "+@read",
      "+@connection",
      "+info",
    );
    const config = stage.configure("small", { redis: { url: redisUrlAs("small", PASSWORDS.redis) } });
    const lacking = await finding("redis-rights", config);
    expect(lacking).toMatchObject({ ok: "refused" });
    expect(lacking?.detail).toContain("+eval");
    const line = lacking?.remedy?.split(" ") ?? [];
    expect(line.slice(0, 3)).toEqual(["ACL", "SETUSER", "small"]);
    await stage.keys.call("ACL", ...line.slice(1));
    expect(await finding("redis-rights", config, 0)).toMatchObject({ ok: "ok" });
  });

  it("tells wrong passwords from absent servers, without repeating them", async () => {
    const config = stage.configure("wrong", { redis: { url: redisUrlAs("app", "falsch-falsch") } });
    const { stdout } = await run(["doctor", "--json", "--config", config]);
    expect(stdout).not.toContain("falsch-falsch");
    expect(await finding("redis", config, 5)).toMatchObject({ ok: "unreachable", code: "AUTHENTICATION_FAILED" });
  });

  it("tells a table that is not there, and one of another shape", async () => {
    const absent = stage.configure("absent", { legacy: { table: "sesion" } });
    expect(await finding("legacy", absent)).toMatchObject({ ok: "refused", code: "TABLE_UNSUITABLE" });
    await stage.sql.query("CREATE TABLE other (sid varchar PRIMARY KEY, sess bytea)");
    const other = stage.configure("other", { legacy: { table: "other" } });
    expect((await finding("legacy", other))?.detail).toContain("expire");
    expect(await runError(["setup", "--config", other])).toMatchObject({ exit: 3, code: "TABLE_UNSUITABLE" });
  });

  it("warns of a time zone that has summer time, and of rows without an expiry", async () => {
    await stage.sql.query("ALTER ROLE app SET TimeZone TO 'America/New_York'");
    await stage.sql.query(
      "ALTER TABLE session ALTER expire DROP NOT NULL; INSERT INTO session VALUES ('no-end', '{}', NULL)",
    );
    try {
      expect(await finding("legacy-time-zone", stage.config, 0)).toMatchObject({ ok: "warn" });
      expect((await finding("legacy-expiry", stage.config, 0))?.detail).toContain("1 rows");
    } finally {
      await stage.sql.query("ALTER ROLE app RESET TimeZone; DELETE FROM session WHERE sid = 'no-end'");
    }
  });

  it("refuses one server as both stores", async () => {
    const memcached = await startMemcached();
    try {
      const config = stage.configure("same", {
        legacy: { preset: "connect-memjs", url: `memcached://localhost:${stage.redis.port}` },
        control: { url: stage.legacyUrl },
      });
      expect(await finding("same-store", config, 5)).toMatchObject({ ok: "refused", code: "SAME_STORE" });
      const fine = stage.configure("memcached", {
        legacy: { preset: "connect-memjs", url: memcached.url },
        control: { url: stage.redisUrl },
      });
      const { checks } = await runJson("doctor", ["doctor", "--config", fine]);
      expect(checks.find(({ name }) => name === "same-store")).toMatchObject({ ok: "ok" });
      expect(checks.find(({ name }) => name === "control-place")).toMatchObject({ ok: "warn" });
    } finally {
      await memcached.stop();
    }
  });
});

describe("doctor --plan", () => {
  it("plans from what lies in the stores, or from what is told, and says which", async () => {
    const there = await runJson("doctor-plan", ["doctor", "--plan", "--config", stage.config]);
    expect(there.plans.map(({ sessions }) => sessions.value)).toEqual([20, 10_000, 1_000_000, 50_000_000]);
    expect(there.site).toMatchObject({
      valueBytes: { origin: "measured" },
      writes: { value: null, origin: "assumed" },
    });
    const told = ["--sessions", "1000", "--value-bytes", "4000", "--writes-per-second", "50"];
    const { plans } = await runJson("doctor-plan", ["doctor", "--plan", ...told, "--config", stage.config]);
    expect(plans).toMatchObject([{ sessions: { value: 1000, origin: "given" }, load: { writes: 50 } }]);
    const { stdout } = await run(["doctor", "--plan", "--config", stage.config]);
    expect(stdout).toMatch(/^live sessions +20 \(yours\) +10,000 +1,000,000 +50,000,000$/m);
    expect(stdout).toContain("--measure");
  });

  it("needs no stores, unless it is to measure them", async () => {
    const elsewhere = stage.configure("nowhere", { legacy: { url: "postgres://127.0.0.1:1/none" } });
    const { notes, site } = await runJson("doctor-plan", ["doctor", "--plan", "--config", elsewhere]);
    expect(notes[0]).toContain("could not be looked at");
    expect(site.valueBytes.origin).toBe("assumed");
    expect(await runError(["doctor", "--plan", "--measure", "--config", elsewhere])).toMatchObject({
      exit: 5,
      code: "LEGACY_UNREACHABLE",
    });
    expect(await runError(["doctor", "--sessions", "5", "--config", stage.config])).toMatchObject({ code: "USAGE" });
  });
});

describe("setup", () => {
  const position = { phase: "legacy", percent: 100 };

  it("plans, does, and is repeated without harm", async () => {
    const plan = await runJson("setup", ["setup", "--dry-run", "--config", stage.config]);
    expect(plan).toMatchObject({ dryRun: true, created: false, position: null });
    expect(plan.plan.map(({ step }) => step)).toEqual(["install-control", "seal-redis"]);
    expect(await stage.keys.keys("*")).toEqual([]);
    expect(await runError(["status", "--config", stage.config])).toMatchObject({ exit: 3, code: "NOT_SET_UP" });

    expect(await runJson("setup", ["setup", "--config", stage.config])).toMatchObject({ created: true, position });
    expect(await runJson("setup", ["setup", "--config", stage.config])).toMatchObject({ created: false, plan: [] });
    const { entries } = await runJson("phase-history", ["phase", "history", "--config", stage.config]);
    expect(entries.map(({ action }) => action)).toEqual(["setup"]);
    const status = await runJson("status", ["status", "--config", stage.config]);
    expect(status).toMatchObject({
      phase: "legacy",
      percent: 100,
      advice: { command: "sessionferry phase advance --to dual-write" },
    });
  });

  it("seals Redis again where it died between the two", async () => {
    await runJson("setup", ["setup", "--config", stage.config]);
    await stage.keys.flushall();
    const again = await runJson("setup", ["setup", "--config", stage.config]);
    expect(again).toMatchObject({ created: false, plan: [{ step: "seal-redis" }] });
    expect(await stage.keys.keys("*")).toEqual(["sf:shop:seal"]);
  });

  it("refuses a prefix where live keys lie, until they are adopted", async () => {
    await stage.keys.set("sess:of-somebody", "{}", "EX", 1000);
    expect(await runError(["setup", "--config", stage.config])).toMatchObject({ exit: 3, code: "PREFIX_IN_USE" });
    expect(await runError(["setup", "--adopt", "--config", stage.config])).toMatchObject({
      exit: 2,
      code: "QUESTION_UNANSWERED",
    });
    const planned = await runJson("setup", ["setup", "--adopt", "--dry-run", "--config", stage.config]);
    expect(planned.plan.map(({ step }) => step)).toEqual(["install-control", "adopt-prefix", "seal-redis"]);
    await runJson("setup", ["setup", "--adopt", "--yes", "--config", stage.config]);
    // They go when dual-write is entered, and not before.
    expect(await stage.keys.exists("sess:of-somebody")).toBe(1);
    await runJson("phase-move", [
      "phase",
      "advance",
      "--to",
      "dual-write",
      "--percent",
      "100",
      "--config",
      stage.config,
    ]);
    expect(await stage.keys.exists("sess:of-somebody")).toBe(0);
  });

  it("refuses the prefix of another migration, and one that overlaps with it", async () => {
    await runJson("setup", ["setup", "--config", stage.config]);
    const other = stage.configure("other-migration", { migration: "carts" });
    expect(await runError(["setup", "--config", other])).toMatchObject({ exit: 3, code: "PREFIX_IN_USE" });
    const within = stage.configure("within", { migration: "carts", redis: { prefix: "sess:carts:" } });
    expect(await runError(["setup", "--config", within])).toMatchObject({ exit: 3, code: "PREFIX_IN_USE" });
    const beside = stage.configure("beside", { migration: "carts", redis: { prefix: "carts:" } });
    await runJson("setup", ["setup", "--config", beside]);
  });

  it("refuses a seal whose control record is gone", async () => {
    await runJson("setup", ["setup", "--config", stage.config]);
    await stage.sql.query("DROP SCHEMA sessionferry CASCADE");
    const { exit, code, message } = await runError(["setup", "--config", stage.config]);
    expect({ exit, code }).toEqual({ exit: 3, code: "PREFIX_IN_USE" });
    expect(message).toContain("control record is gone");
  });

  it("changes nothing while a store is away", async () => {
    const elsewhere = await startRedis();
    const config = stage.configure("elsewhere", { redis: { url: elsewhere.url } });
    await elsewhere.stop();
    expect(await runError(["setup", "--config", config])).toMatchObject({ exit: 5, code: "REDIS_UNREACHABLE" });
    const { rows } = await stage.sql.query("SELECT to_regnamespace('sessionferry') AS schema");
    expect(rows).toEqual([{ schema: null }]);
  });
});
