import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { secretsIn } from "../../src/cli/failure.js";
import { parseDuration } from "../../src/config/duration.js";
import { redactUrl, secretsOf, serversOf, urlProblem } from "../../src/config/urls.js";
import { loadConfig } from "../../src/config.js";
import { openControl } from "../../src/control/open.js";
import { shownUrl } from "../../src/control/redact.js";
import { redisOptionsOf } from "../../src/control/redis-url.js";
import { newNodeId } from "../../src/core/ids.js";
import { FerryError } from "../../src/errors.js";
import { NO_FENCE } from "../../src/ports/fence.js";
import { openLegacy } from "../../src/runtime/open.js";
import { assertNoSecret, SECRETS } from "./judge.js";
import { PATIENCE, runs } from "./runs.js";

const PASSWORD = SECRETS.password;

const whole = {
  migration: "shop",
  legacy: {
    preset: "connect-pg-simple",
    url: `postgres://app:${PASSWORD}@db.example:5432/shop?sslmode=disable`,
    table: "session",
    preparedStatements: false,
    connections: 10,
  },
  redis: {
    preset: "connect-redis",
    url: `redis://:${PASSWORD}@cache.example:6379/0`,
    wait: { destroy: 1, open: 0 },
    tls: {},
  },
  control: { url: `postgres://app:${PASSWORD}@db.example/control` },
  onRedisDown: "demote",
  timeouts: { redis: "50ms", legacy: "5s", acknowledge: "30s", drain: "60s" },
  ramps: { "dual-write": [10, 100], "read-through": [10, 50, 100] },
  gates: { freshness: "15m", maxMissing: 0, minStay: { "full-redis": "30d" } },
  backfill: { batch: 500, concurrency: 4, rate: 0 },
  drain: { every: "1s", rate: 0 },
  touchEvery: "0s",
  accept: ["eviction"],
};

const word = fc.oneof(
  fc.constantFrom(
    "url",
    "legacy",
    "__proto__",
    "constructor",
    "toString",
    "then",
    "$schema",
    "<<",
    `redis://u:${PASSWORD}@h`,
    "",
  ),
  fc.string({ maxLength: 12 }),
);
const scalar = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    -1,
    0,
    1e308,
    -0,
    "1e9ms",
    "${HOME}",
    "${}",
    "${__proto__}",
    "$${X}",
    "${SECRET}",
    "NaN",
  ),
  fc.constantFrom(
    `redis://x:${PASSWORD}@h`,
    `postgres://${PASSWORD}@/`,
    `memcached://u:${PASSWORD}@h:1`,
    `1${" ".repeat(50_000)}x`,
  ),
  fc.integer(),
  fc.double(),
  fc.string(),
  fc.string({ unit: "binary", maxLength: 20 }),
);
const anything = fc.letrec((tie) => ({
  node: fc.oneof(
    { maxDepth: 4, depthSize: "small" },
    scalar,
    fc.array(tie("node"), { maxLength: 4 }),
    fc.dictionary(word, tie("node"), { maxKeys: 4 }),
  ),
})).node;

type Tree = Record<string, unknown>;
const paths = (tree: Tree, prefix: string[] = []): string[][] =>
  Object.entries(tree).flatMap(([key, value]) => [
    [...prefix, key],
    ...(typeof value === "object" && value !== null && !Array.isArray(value)
      ? paths(value as Tree, [...prefix, key])
      : []),
  ]);

interface Change {
  readonly at: readonly string[];
  readonly also: string | null;
  readonly value: unknown;
}
const change: fc.Arbitrary<Change> = fc.record({
  at: fc.constantFrom(...paths(whole)),
  also: fc.option(word),
  value: anything,
});

function changed(changes: readonly Change[]): unknown {
  const tree = structuredClone(whole) as Tree;
  for (const { at, also, value } of changes) {
    let parent: Tree = tree;
    for (const key of at.slice(0, -1)) parent = (parent?.[key] ?? {}) as Tree;
    if (typeof parent !== "object" || parent === null) continue;
    Object.defineProperty(parent, also ?? at.at(-1)!, { value, enumerable: true, configurable: true, writable: true });
  }
  return tree;
}

const env = fc.dictionary(
  fc.constantFrom("HOME", "SECRET", "X", "SESSIONFERRY_REDIS_URL", "SESSIONFERRY_LEGACY_URL"),
  fc.string(),
);

describe("the configuration, broken", () => {
  let folder: string;
  let file = 0;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "fuzz-config-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function load(text: string | Buffer, extension: string, variables: Record<string, string>): void {
    const path = join(folder, `sessionferry.${extension}`);
    writeFileSync(path, text);
    file++;
    const began = performance.now();
    try {
      const config = loadConfig({ config: path, env: { ...variables, SECRET: PASSWORD } });
      // What was accepted can be used: its secrets are known, its servers can be told.
      for (const { url } of [config.legacy, config.redis, config.control]) serversOf(url);
      secretsIn(config);
    } catch (error) {
      if (!(error instanceof FerryError) || !["CONFIG_INVALID", "CONFIG_NOT_FOUND"].includes(error.code)) throw error;
      assertNoSecret(`${error.message} ${error.remedy} ${JSON.stringify(error)} ${error.stack}`);
    }
    expect(performance.now() - began).toBeLessThan(2_000);
  }

  it("as data: any value at any key, further keys", { timeout: PATIENCE }, () => {
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), fc.boolean(), env, (changes, yaml, variables) => {
        const tree = changed(changes);
        load(yaml ? stringify(tree) : JSON.stringify(tree), yaml ? "yaml" : "json", variables);
      }),
      runs(400),
    );
    expect(file).toBeGreaterThan(0);
  });

  it("as text: cut, spliced, other bytes", { timeout: PATIENCE }, () => {
    const texts = [stringify(whole), JSON.stringify(whole, null, 1)];
    const piece = fc.oneof(
      fc.constantFrom(
        "&a ",
        "*a",
        "*a\n",
        "<<: *a\n",
        "!!binary x",
        "!!js/function x",
        "!<",
        "{",
        "}",
        "[",
        "]",
        ": ",
        "- ",
        "|\n",
        ">\n",
        "%YAML 9\n",
        "---\n",
        "...\n",
        "\t",
        "\0",
        "\u2028",
        "'",
        '"',
        "#",
        "? ",
        "\\u0000",
        // What is spliced where a key begins becomes one: a key is only shown where it has the shape of a name.
        `"redis://u:${PASSWORD}@`,
        "[".repeat(5_000),
        "a: &a [*a]\n",
        "{a: ".repeat(3_000),
      ),
      fc.string({ unit: "binary", maxLength: 8 }),
    );
    fc.assert(
      fc.property(fc.boolean(), fc.nat(1_500), fc.nat(60), piece, fc.boolean(), (yaml, at, length, bytes, reread) => {
        const text = texts[yaml ? 0 : 1]!;
        load(text.slice(0, at) + bytes + text.slice(at + length), yaml !== reread ? "yaml" : "json", {});
      }),
      runs(300),
    );
  });

  it("given as an object from code", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.anything({ withNullPrototype: true, withBigInt: true, withMap: true }), anything),
        (value) => {
          if (typeof value !== "object" || value === null) return;
          try {
            loadConfig({ config: value, env: {} });
          } catch (error) {
            if (!(error instanceof FerryError)) throw error;
          }
        },
      ),
      runs(200),
    );
  });

  it("a text that is nearly a duration is refused at once", () => {
    const began = performance.now();
    expect(parseDuration(`1${" ".repeat(200_000)}x`)).toBeNull();
    expect(performance.now() - began).toBeLessThan(200);
  });
});

describe("URLs, any", () => {
  const host = fc.constantFrom("h", "h:1", "[::1]:6379", "a,b", "a:1,b:2", "", "h:99999", "%zz", "h:0", "a b");
  const scheme = fc.constantFrom(
    "redis",
    "rediss",
    "redis-sentinel",
    "postgres",
    "postgresql",
    "memcached",
    "REDIS",
    "Memcached",
    "mysql",
    "http",
  );
  const secret = fc
    .string({ unit: fc.constantFrom(..."aB3@:/?#%[]!& é\\'"), minLength: 0, maxLength: 6 })
    .map((text) => `${text}${PASSWORD}${text}`);
  const path = fc.constantFrom(
    "",
    "/",
    "/0",
    "/name",
    "/name/1",
    "/99999",
    "/%zz",
    "/a b",
    `?password=${PASSWORD}`,
    "?sslmode=require",
    "?host=/x",
    "?application_name=x&port=abc",
    "#x",
  );
  const url = fc
    .tuple(scheme, fc.constantFrom("u", "", "u%zz"), secret, fc.boolean(), fc.boolean(), host, path)
    .map(
      ([name, user, password, named, encoded, where, rest]) =>
        `${name}://${named ? `${user}:${encoded ? encodeURIComponent(password) : password}@` : ""}${where}${rest}`,
    );

  it("are shown without their password, and are refused by name or can be opened", { timeout: PATIENCE }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof({ weight: 5, arbitrary: url }, { weight: 1, arbitrary: fc.string() }), async (text) => {
        assertNoSecret(redactUrl(text));
        assertNoSecret(shownUrl(text));
        const scrubbed = secretsOf(text).reduce((rest, known) => rest.replaceAll(known, "***"), `driver says ${text}`);
        if (/^\w[\w+.-]*:\/\//.test(text)) assertNoSecret(scrubbed);
        const quietly = async (open: () => unknown) => {
          try {
            await open();
          } catch (error) {
            if (!(error instanceof FerryError) || error.code !== "CONFIG_INVALID") throw error;
            assertNoSecret(`${error.message}${error.remedy}${error.stack}${String(error.cause)}`);
          }
        };
        if (urlProblem(text, "control") === null) {
          await quietly(async () => (await openControl(text, { migration: "shop", node: newNodeId() })).close());
        }
        if (urlProblem(text, "redis") === null) await quietly(() => redisOptionsOf(text, {}, "redis.url"));
        if (urlProblem(text, "legacy") === null) {
          await quietly(async () => {
            const memcached = /^memcached/i.test(text);
            const config = loadConfig({
              config: {
                migration: "shop",
                legacy: { preset: memcached ? "connect-memcached" : "connect-pg-simple", url: text },
                redis: { url: "redis://h" },
                control: "target",
              },
              env: {},
            });
            await (await openLegacy(config, { node: newNodeId(), fence: NO_FENCE })).close();
          });
        }
      }),
      runs(400),
    );
  });
});
