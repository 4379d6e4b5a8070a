import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { configJsonSchema } from "../src/config/json-schema.js";
import { LEGACY_PRESET_NAMES, REDIS_PRESET_NAMES } from "../src/config/schema.js";
import { secretsOf, serversOf } from "../src/config/urls.js";
import { formatDuration, loadConfig, parseDuration, redactUrl } from "../src/config.js";
import { FerryError } from "../src/errors.js";
import { LEGACY_PRESETS, REDIS_PRESETS } from "../src/presets/index.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sessionferry-config-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const MINIMAL = {
  migration: "shop",
  legacy: { preset: "connect-pg-simple", url: "postgres://app:geheim@db.example:5432/shop" },
  redis: { url: "redis://redis.example:6379/0" },
};

function failure(input: Parameters<typeof loadConfig>[0]): FerryError {
  try {
    loadConfig({ env: {}, ...input });
  } catch (error) {
    expect(error).toBeInstanceOf(FerryError);
    return error as FerryError;
  }
  throw new Error("the configuration was accepted");
}

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

describe("defaults", () => {
  it("completes a minimal configuration as the design says", () => {
    const config = loadConfig({ config: MINIMAL, env: {} });
    expect(config).toEqual({
      migration: "shop",
      legacy: { ...MINIMAL.legacy, preparedStatements: false, connections: 10, tls: {} },
      redis: { preset: "connect-redis", url: MINIMAL.redis.url, wait: { destroy: 0, open: 0 }, tls: {} },
      control: { url: MINIMAL.legacy.url },
      onRedisDown: "demote",
      timeouts: { redis: 50, legacy: 5000, acknowledge: 30_000, drain: 60_000 },
      ramps: {
        "dual-write": [10, 100],
        "read-through": [10, 50, 100],
        "redis-first": [10, 50, 100],
        "full-redis": [100],
      },
      gates: {
        freshness: 900_000,
        maxMissing: 0,
        maxMismatched: 0,
        maxExpiry: 0,
        maxResurrected: 0,
        ttlTolerance: 1000,
        minCoverage: 0.99,
        maxUnverified: 0.005,
        maxErrorRate: 0.001,
        maxP95: 5,
        maxRedisMemory: 0.8,
        maxDirtyAge: 10_000,
        minStay: { "dual-write": 0, "read-through": 0, "redis-first": 0, "full-redis": 2_592_000_000 },
      },
      backfill: { batch: 500, concurrency: 4, rate: 0 },
      workers: { queue: MINIMAL.redis.url, concurrency: 4 },
      proxy: {
        listeners: [],
        http: "none",
        allowFlush: false,
        sasl: [],
        tls: {},
        tokens: true,
        limits: { connections: 1024, itemSize: 1_048_576, memory: 268_435_456, idle: 0, stall: 60_000 },
      },
      drain: { every: 1000, rate: 0 },
      touchEvery: 0,
      accept: [],
    });
  });

  it("is frozen all through, and loads again to the same", () => {
    const config = loadConfig({ config: MINIMAL, env: {} });
    expect(Object.isFrozen(config.gates.minStay)).toBe(true);
    expect(Object.isFrozen(config.ramps["dual-write"])).toBe(true);
    expect(loadConfig({ config, env: {} })).toEqual(config);
  });

  it("resolves the short forms of control", () => {
    expect(loadConfig({ config: { ...MINIMAL, control: "target" }, env: {} }).control.url).toBe(MINIMAL.redis.url);
    expect(loadConfig({ config: { ...MINIMAL, control: { url: "same" } }, env: {} }).control.url).toBe(
      MINIMAL.legacy.url,
    );
  });

  it("leaves buffers and functions of redis.tls alone", () => {
    const tls = { ca: Buffer.from("certificate"), checkServerIdentity: () => undefined };
    const config = loadConfig({ config: { ...MINIMAL, redis: { ...MINIMAL.redis, tls } }, env: {} });
    expect(config.redis.tls.ca).toBe(tls.ca);
    expect(config.redis.tls.checkServerIdentity).toBe(tls.checkServerIdentity);
  });
});

describe("precedence and files", () => {
  const YAML = [
    "migration: shop",
    'legacy: { preset: connect-pg-simple, url: "${LEGACY_URL}" }',
    'redis: { url: "redis://file:6379" }',
    'backfill: { rate: "${RATE}" }',
  ].join("\n");

  it("takes a flag before the environment before the file before the default", () => {
    const config = file("sessionferry.yaml", YAML);
    const env = { LEGACY_URL: "postgres://from-variable/db", RATE: "250" };
    expect(loadConfig({ config, env }).redis.url).toBe("redis://file:6379");
    expect(loadConfig({ config, env }).legacy.url).toBe("postgres://from-variable/db");
    expect(loadConfig({ config, env }).backfill.rate).toBe(250);
    const environment = { ...env, SESSIONFERRY_REDIS_URL: "redis://environment:6379" };
    expect(loadConfig({ config, env: environment }).redis.url).toBe("redis://environment:6379");
    const flags = { redisUrl: "redis://flag:6379" };
    expect(loadConfig({ config, env: environment, flags }).redis.url).toBe("redis://flag:6379");
  });

  it("does not ask for a variable that is overridden, and takes an override literally", () => {
    const config = file("sessionferry.yaml", YAML);
    const env = { RATE: "1", SESSIONFERRY_LEGACY_URL: "postgres://a:${x}@host/db" };
    expect(loadConfig({ config, env }).legacy.url).toBe("postgres://a:${x}@host/db");
  });

  it("finds the file upward, by the environment, and by path", () => {
    file("sessionferry.yml", YAML);
    const deep = join(folder, "a", "b");
    mkdirSync(deep, { recursive: true });
    const env = { LEGACY_URL: "postgres://h/db", RATE: "1" };
    expect(loadConfig({ cwd: deep, env }).migration).toBe("shop");
    const named = file("other.json", JSON.stringify({ ...MINIMAL, migration: "named" }));
    expect(loadConfig({ cwd: deep, env: { SESSIONFERRY_CONFIG: named } }).migration).toBe("named");
    expect(loadConfig({ cwd: folder, config: "other.json", env: {} }).migration).toBe("named");
  });

  it("tells a missing file, two files, and broken ones", () => {
    expect(failure({ cwd: folder, config: "nowhere.yaml" }).code).toBe("CONFIG_NOT_FOUND");
    const tooLong = join(folder, "x".repeat(300));
    const loop = join(folder, "loop.yaml");
    symlinkSync(loop, loop);
    for (const [config, reason] of [
      [tooLong, "ENAMETOOLONG"],
      [loop, "ELOOP"],
    ]) {
      const { code, message } = failure({ config });
      expect({ code, message }).toEqual({ code: "CONFIG_NOT_FOUND", message: `${config} cannot be read (${reason})` });
    }
    expect(failure({ config: file("bad.yaml", "migration: [secret-of-mine\nlegacy: {") }).message).toMatch(/line \d/);
    expect(failure({ config: file("bad.json", '{"migration": secret-of-mine}') }).message).toMatch(/not valid JSON/);
    expect(failure({ config: file("empty.yaml", "") }).message).toContain("migration is required");
    expect(failure({ config: file("list.yaml", "- a\n- b") }).code).toBe("CONFIG_INVALID");
    expect(failure({ config: file("circle.yaml", "migration: &a [*a]") }).code).toBe("CONFIG_INVALID");
    file("sessionferry.yaml", YAML);
    file("sessionferry.json", "{}");
    expect(failure({ cwd: folder }).message).toContain("sessionferry.yaml and sessionferry.json");
  });

  it("tells a missing variable once, with the key that needs it", () => {
    const { message } = failure({ config: file("sessionferry.yaml", YAML) });
    expect(message).toContain("legacy.url needs the environment variable LEGACY_URL, which is not set");
    expect(message).toContain("backfill.rate needs the environment variable RATE");
    expect(message).toContain("2 problems");
  });
});

describe("refusals", () => {
  it("names unknown keys with their full path and the nearest known key, all at once", () => {
    const { message, exit } = failure({
      config: {
        ...MINIMAL,
        gate: {},
        table: "session",
        zzz: 1,
        gates: { maxMising: 1, minStay: { "redis-frist": 1 } },
        legacy: { ...MINIMAL.legacy, conections: 4 },
      },
    });
    expect(exit).toBe(2);
    for (const line of [
      "gate is not a key; did you mean gates?",
      "table is not a key; did you mean legacy.table?",
      "zzz is not a key; known here are migration, legacy",
      "gates.maxMising is not a key; did you mean gates.maxMissing?",
      "gates.minStay.redis-frist is not a key; did you mean gates.minStay.redis-first?",
      "legacy.conections is not a key; did you mean legacy.connections?",
    ]) {
      expect(message).toContain(line);
    }
  });

  it.each([
    [{ ramps: { "read-through": [10, 10, 100] } }, "ramps.read-through must be whole percentages"],
    [{ ramps: { "read-through": [10, 50] } }, "ramps.read-through must be"],
    [{ ramps: { legacy: [100] } }, "ramps.legacy is not a key"],
    [{ gates: { minCoverage: 99 } }, "gates.minCoverage must be a number from 0 to 1"],
    [{ gates: { maxMissing: -1 } }, "gates.maxMissing must be a whole number"],
    [{ gates: { maxMissing: 0.5 } }, "gates.maxMissing must be a whole number"],
    [{ timeouts: { redis: "5 weeks" } }, "timeouts.redis must be a duration"],
    [{ timeouts: { redis: true } }, "timeouts.redis must be a duration"],
    [{ timeouts: { redis: Number.NaN } }, "timeouts.redis must be a duration"],
    [{ timeouts: 5 }, "timeouts must be a section"],
    [{ onRedisDown: "explode" }, "onRedisDown must be one of demote, fail"],
    [{ accept: ["everything"] }, "accept.0 must be one of eviction, bypass"],
    [{ keyspaces: [{ name: "carts" }] }, "keyspaces must stay empty"],
    [{ migration: "my shop" }, "migration must be 1 to 40"],
    [
      { redis: { url: "redis-cluster://a:1,b:2/0" } },
      "redis.url must have the form redis-cluster://host:port,host:port",
    ],
    [{ workers: { queue: "redis-cluster://a:1" } }, "workers.queue names redis-cluster://, which is not supported yet"],
    [{ control: { url: "redis-cluster://a:1" } }, "control.url names redis-cluster://, which is not supported yet"],
    [
      { redis: { url: "redis-cluster://a:1,b:2" }, control: { url: "target" } },
      "control.url cannot be target where redis.url is a Redis Cluster",
    ],
    [{ redis: { url: "http://a" } }, "redis.url has the scheme http://"],
    [{ redis: { url: "a:6379" } }, "redis.url is not a URL"],
    [{ redis: { url: "redis://h?family=6" } }, "redis.url must not have options"],
    [{ redis: { url: "redis://h/path" } }, "redis.url must end with nothing or a database number"],
    [{ redis: { url: "redis-sentinel://h:26379" } }, "redis.url must have the form redis-sentinel://"],
    [{ redis: { url: "redis-sentinel://a:1, b:2/name" } }, "redis.url must have the form redis-sentinel://"],
    [{ redis: { url: "redis://h:0" } }, "redis.url has the port 0"],
    [{ redis: { url: "redis://h:6379/12345" } }, "redis.url must end with nothing or a database number"],
    [{ control: { url: "memcached://h" } }, "control.url has the scheme memcached://"],
    [{ control: {} }, "control.url is required"],
  ])("refuses %j", (change, message) => {
    expect(failure({ config: { ...MINIMAL, ...change } }).message).toContain(message);
  });

  it.each([
    [{ url: "mysql://h/db" }, "legacy.url names mysql://, which is not supported yet"],
    [{ url: "memcached://h" }, "legacy.url must begin with postgres://"],
    [{ url: "postgres://u:pa#ss@h:99999/db" }, "legacy.url cannot be read as a URL"],
    [{ preset: "connect-memjs" }, "legacy.url must begin with memcached://"],
    [{ preset: "connect-memjs", url: "memcached://a,b", distribution: "crc" }, "legacy.distribution must be one of"],
    [{ preset: "connect-memjs", url: "memcached://a" }, "control.url is required with memcached"],
    [{ preset: "connect-memjs", url: "memcached://u:p@a" }, "legacy.url must have the form memcached://"],
    [{ preset: "connect-memjs", url: "memcached://a", table: "session" }, "legacy.table has no meaning"],
    [{ prefix: "x" }, "legacy.prefix has no meaning"],
    [{ preset: undefined }, "legacy.preset is required"],
  ])("refuses legacy %j", (change, message) => {
    expect(failure({ config: { ...MINIMAL, legacy: { ...MINIMAL.legacy, ...change } } }).message).toContain(message);
  });

  it("accepts the sections of later releases at their defaults", () => {
    const config = loadConfig({ config: { ...MINIMAL, keyspaces: [] }, env: {} });
    expect(config).not.toHaveProperty("keyspaces");
  });

  const MEMCACHED = { url: "memcached://a", preset: "php-memcached" };
  const CONTROL = { url: "postgres://h/db" };

  it("completes the door's section, and takes the Redis preset that fits", () => {
    const listeners = [
      { listen: "127.0.0.1:11211", server: "127.0.0.1:11212" },
      { listen: "/run/ferry.sock", server: "[::1]:11212" },
    ];
    const config = loadConfig({
      config: { ...MINIMAL, legacy: MEMCACHED, control: CONTROL, proxy: { listeners } },
      env: {},
    });
    expect(config.proxy).toMatchObject({ listeners, http: "none", allowFlush: false, sasl: [], tokens: true });
    expect(config.proxy.limits).toMatchObject({ connections: 1024, itemSize: 1_048_576, idle: 0, stall: 60_000 });
    expect(config.redis.preset).toBe("phpredis");
    const plain = { ...MINIMAL, legacy: MEMCACHED, control: CONTROL, redis: { ...MINIMAL.redis, preset: "plain" } };
    expect(loadConfig({ config: plain, env: {} }).redis.preset).toBe("plain");
  });

  it.each([
    [
      { redis: { ...MINIMAL.redis, preset: "connect-redis" } },
      "redis.preset connect-redis does not read what php-memcached",
    ],
    [{ proxy: { listeners: [{ listen: "11211", server: "a:1" }] } }, "proxy.listeners.0.listen must have the form"],
    [{ proxy: { listeners: [{ listen: "a:1", server: "/run/x" }] } }, "proxy.listeners.0.server must have the form"],
    [{ proxy: { http: "9150" } }, "proxy.http must have the form host:port, or be none"],
    [{ proxy: { sasl: [{ user: "shop" }] } }, "proxy.sasl.0.password is required"],
    [{ proxy: { limits: { connections: 0 } } }, "proxy.limits.connections must be a whole number"],
  ])("refuses for memcached %j", (change, message) => {
    const config = { ...MINIMAL, legacy: MEMCACHED, control: CONTROL, ...change };
    expect(failure({ config }).message).toContain(message);
  });
});

describe("fuzz", () => {
  const KEYS = ["migration", "legacy", "redis", "control", "url", "preset", "gates", "minStay", "ramps", "__proto__"];
  const tree = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.anything({ withBigInt: true, withDate: true, withMap: true }),
      fc.constantFrom("${NAME}", "$${", "${", "postgres://u:hunter2@h/db", "redis://:hunter2@h", "memcached://a,b"),
      tie("section"),
    ),
    section: fc.dictionary(fc.oneof(fc.constantFrom(...KEYS), fc.string()), tie("value"), { maxKeys: 6 }),
  })).section;

  it("never throws anything but a FerryError, and never tells a value", () => {
    fc.assert(
      fc.property(tree, fc.boolean(), (noise, complete) => {
        const config = complete ? { ...noise, ...MINIMAL, gates: noise.gates, ramps: noise.ramps } : noise;
        try {
          loadConfig({ config: config as object, env: { NAME: "hunter2" } });
        } catch (error) {
          expect(error).toBeInstanceOf(FerryError);
          expect((error as Error).message).not.toContain("hunter2");
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("holds for any text in a file", () => {
    const line = fc.oneof(
      fc.string(),
      fc.constantFrom("legacy:", "  url: ${NAME}", "redis: {", "- &a [*a]", "migration: 'x", "? !!set", "\t- a: |"),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 8 }), fc.constantFrom("fuzz.yaml", "fuzz.json"), (lines, name) => {
        writeFileSync(join(folder, name), lines.join("\n"));
        try {
          loadConfig({ config: join(folder, name), env: {} });
        } catch (error) {
          expect(error).toBeInstanceOf(FerryError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("durations", () => {
  it.each([
    ["50ms", 50],
    ["5s", 5000],
    ["1m", 60_000],
    ["15m", 900_000],
    ["12h", 43_200_000],
    ["30d", 2_592_000_000],
    ["1.5s", 1500],
    ["250", 250],
    [250, 250],
    ["-5s", null],
    ["5 weeks", null],
    ["", null],
    [Number.POSITIVE_INFINITY, null],
  ])("%j is %j ms", (text, milliseconds) => expect(parseDuration(text)).toBe(milliseconds));

  it("formats what it parses", () => {
    fc.assert(fc.property(fc.nat(), (milliseconds) => parseDuration(formatDuration(milliseconds)) === milliseconds));
  });
});

describe("URLs", () => {
  it.each([
    ["postgres://app:geheim@db:5432/shop", "postgres://app:***@db:5432/shop"],
    ["postgres://app:ge@he/im?x@db:5432/shop", "postgres://app:***@db:5432/shop"],
    ["postgres://db/shop?user=app&password=geheim&ssl=true", "postgres://db/shop?user=app&password=***&ssl=true"],
    ["postgres://postgres@127.0.0.1:5432/postgres", "postgres://postgres@127.0.0.1:5432/postgres"],
    ["redis://:geheim@h:6379/0", "redis://:***@h:6379/0"],
    ["redis://geheim@h:6379/0", "redis://***@h:6379/0"],
    ["redis-sentinel://u:geheim@a:1,b:2/mymaster", "redis-sentinel://u:***@a:1,b:2/mymaster"],
    ["memcached://a:1,b:2", "memcached://a:1,b:2"],
    ["geheim", "***"],
  ])("prints %s as %s", (url, shown) => expect(redactUrl(url)).toBe(shown));

  it("never shows a password, whatever it is made of", () => {
    const password = fc.string({ minLength: 6 }).map((text) => `geheim${text}`);
    fc.assert(
      fc.property(fc.constantFrom("postgres", "redis", "rediss"), password, (scheme, secret) => {
        expect(redactUrl(`${scheme}://user:${secret}@host:1/0`)).not.toContain("geheim");
        expect(redactUrl(`${scheme}://user:${encodeURIComponent(secret)}@host:1/0`)).not.toContain("geheim");
      }),
    );
  });

  it("finds the secrets and the servers of a URL", () => {
    expect(secretsOf("postgres://app:a%40b@h/db?sslpassword=c")).toEqual(["a%40b", "a@b", "c"]);
    expect(secretsOf("memcached://a:1,b:2")).toEqual([]);
    expect(serversOf("redis-sentinel://u:p@a:1,B/name")).toEqual([
      { host: "a", port: 1 },
      { host: "b", port: 26_379 },
    ]);
    expect(serversOf("memcached://[::1]:11212")).toEqual([{ host: "::1", port: 11_212 }]);
    expect(serversOf("postgres:///db?host=/run/postgresql")).toEqual([]);
  });
});

it("knows the presets of the package by name", () => {
  expect(LEGACY_PRESET_NAMES).toEqual(LEGACY_PRESETS.map(({ name }) => name));
  expect(REDIS_PRESET_NAMES).toEqual(REDIS_PRESETS.map(({ name }) => name));
});

it("has a current JSON schema for editors (else run: npm run schemas)", () => {
  const stored = JSON.parse(readFileSync(new URL("../schemas/config.schema.json", import.meta.url), "utf8")) as unknown;
  expect(stored).toEqual(JSON.parse(JSON.stringify(configJsonSchema())));
});
