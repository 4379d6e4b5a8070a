/**
 * Two memcached servers, whose client spreads its keys by a rule of its own, behind proxies with a listener for each:
 * the whole way up, down and up to the end, with old copies of sessions on the servers where nobody looks. What Redis
 * holds then is what the clients have in mind.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadConfig } from "../../src/config.js";
import { Log } from "../../src/observe/index.js";
import { ProxyProcess } from "../../src/runtime/proxy.js";
import { findClient, type RunningServer, startMemcached, startRedis } from "../../src/servers/index.js";
import { run, runJson } from "../cli/support.js";
import { until } from "../support/processes.js";
import { converse, numberAt } from "./converse.js";
import { UP_AT_ONCE } from "./site.js";

const PREFIX = "s:";
const QUIET = 2_000;
const DAY = 86_400;

const python = await findClient("pymemcache");
if (python === null) process.stderr.write("SKIPPED: pymemcache is not on this machine (servers --install --clients)\n");

interface Mind {
  readonly operations: number;
  readonly incremented: number;
  readonly failures: number;
  readonly first: string | null;
  readonly mind: Record<string, string>;
  readonly gone: string[];
}

class Application {
  #said = "";
  #erred = "";
  readonly #ended: Promise<unknown>;
  readonly child: ChildProcess;

  constructor(name: string, { door }: ProxyProcess) {
    const script = fileURLToPath(new URL("drivers/pool.py", import.meta.url));
    this.child = spawn(python!.program, [script, PREFIX, name, ...door.addresses], { stdio: "pipe" });
    this.child.stdin!.on("error", () => {});
    this.child.stdout!.on("data", (chunk: Buffer) => (this.#said += chunk));
    this.child.stderr!.on("data", (chunk: Buffer) => (this.#erred += chunk));
    this.#ended = new Promise((resolve) => this.child.once("close", resolve));
  }

  get going(): boolean {
    if (this.child.exitCode !== null) throw new Error(`it ended: ${this.#erred.slice(-2_000)}`);
    return this.#said.includes("going\n");
  }

  forget(): void {
    this.child.stdin!.write("forget\n");
  }

  async stop(): Promise<Mind> {
    this.child.stdin!.end();
    await this.#ended;
    if (this.child.exitCode !== 0) throw new Error(`it ended with an error: ${this.#erred.slice(-2_000)}`);
    return JSON.parse(this.#said.trim().split("\n").at(-1)!) as Mind;
  }
}

describe.skipIf(python === null)("a pool whose client's rule nobody knows", () => {
  const servers: RunningServer[] = [];
  const proxies: ProxyProcess[] = [];
  const folder = mkdtempSync(join(tmpdir(), "sessionferry-pool-"));
  const path = join(folder, "sessionferry.json");
  let memcacheds: [RunningServer, RunningServer];
  let keys: Redis;
  let minds: Mind[];
  let shared: number | null;
  let duplicates: number | undefined;
  let doctor: { name: string; ok: string }[];

  const cli = async (...words: string[]) => {
    const { code, stdout, stderr } = await run([...words, "--config", path, "--json"]);
    if (code !== 0) throw new Error(`${words.join(" ")} ended with ${code}: ${stdout}\n${stderr}`);
  };
  const holds = async (server: RunningServer, key: string) =>
    (await converse(server, `get ${key}\r\n`, /END\r\n$/)).startsWith("VALUE");
  /** An old copy where no client looks, as a failover leaves it: younger in its server's eyes, and longer-lived. */
  const others = new Map<string, RunningServer>();
  const plantOld = async (key: string) => {
    const [a, b] = memcacheds;
    const other = others.get(key) ?? ((await holds(a, key)) ? b : a);
    others.set(key, other);
    await converse(other, `set ${key} 0 ${2 * DAY} 3\r\nold\r\n`);
  };

  beforeAll(async () => {
    const [a, b, redis, control] = await Promise.all([startMemcached(), startMemcached(), startRedis(), startRedis()]);
    servers.push(a, b, redis, control);
    memcacheds = [a, b];
    keys = new Redis(redis.url);
    const address = ({ host, port }: RunningServer) => `${host}:${port}`;
    writeFileSync(
      path,
      JSON.stringify({
        migration: "pool",
        legacy: {
          preset: "memcached",
          prefix: PREFIX,
          url: `memcached://${address(b)},${address(a)}`,
          distribution: "client",
        },
        redis: { url: redis.url, prefix: PREFIX },
        control: { url: control.url },
        proxy: { listeners: [a, b].map((server) => ({ listen: "127.0.0.1:0", server: address(server) })) },
        timeouts: { legacy: "20s", redis: "10s", acknowledge: "60s", drain: "60s" },
        gates: { maxP95: "1m", minStay: { "full-redis": 0 } },
        drain: { every: "100ms" },
      }),
    );
    for (const [n, server] of memcacheds.entries()) {
      const sets = Array.from(
        { length: QUIET / 2 },
        (_, i) => `set ${PREFIX}quiet-${2 * i + n} 0 ${DAY} 5\r\nquiet\r\n`,
      );
      await converse(server, sets.join(""), new RegExp(`(STORED\\r\\n){${QUIET / 2}}$`));
    }
    await converse(a, `set ${PREFIX}shared 0 ${DAY} 1\r\n0\r\n`);
    await converse(b, `set ${PREFIX}shared 0 ${DAY} 1\r\n0\r\n`);

    await cli("setup");
    const config = loadConfig({ config: path });
    // The relay keeps its patience: right after a descent, bytes that are passed on would meet the drains' placeholders.
    for (const _ of [0, 1]) proxies.push(await ProxyProcess.open(config, new Log({ write: () => {} })));
    // An old copy that is older: nobody has to ask for the session for it to be told.
    for (const name of ["a", "b"]) {
      for (const server of memcacheds) await converse(server, `set ${PREFIX}${name}-idle 0 ${2 * DAY} 3\r\nold\r\n`);
    }
    // Uses within a second of each other count as one (the longer life decides then), and both servers round to seconds.
    await delay(6_000);
    const applications = proxies.map((proxy, n) => new Application("ab"[n]!, proxy));
    await until("the applications go", () => applications.every(({ going }) => going), 60_000);
    for (const name of ["a", "b"]) {
      for (const what of ["read", "written", "doomed"]) await plantOld(`${PREFIX}${name}-${what}`);
    }
    doctor = (await runJson("doctor", ["doctor", "--config", path])).checks;

    const evidence = async () => {
      const { evidence, whyNot } = await runJson("check", ["check", "--config", path]);
      if (!evidence) throw new Error(`a check is no evidence: ${whyNot}`);
    };
    const up = async () => {
      for (const [phase] of UP_AT_ONCE) {
        if (phase === "read-through") {
          // The youngest in memcached's eyes is what R is given first: only its clients' own requests tell the truth.
          for (const name of ["a", "b"]) await plantOld(`${PREFIX}${name}-read`);
          const { result } = await runJson("backfill", ["backfill", "--config", path]);
          duplicates ??= result?.duplicates?.count;
        }
        if (phase === "read-through" || phase === "full-redis") await evidence();
        await cli("phase", "advance", "--to", phase, "--percent", "100");
        if (phase === "dual-write") applications[0]!.forget();
        if (phase === "redis-first") applications[1]!.forget();
      }
    };
    await up();
    await cli("phase", "rollback", "--to", "legacy");
    await up();
    await evidence();
    await cli("phase", "advance", "--to", "complete", "--yes");
    minds = await Promise.all(applications.map((application) => application.stop()));
    const [host, port] = proxies[0]!.door.addresses[0]!.split(":");
    shared = await numberAt({ host: host!, port: Number(port) }, `${PREFIX}shared`);
  }, 600_000);
  afterAll(async () => {
    await Promise.all(proxies.map((proxy) => proxy.close()));
    keys?.disconnect();
    await Promise.all(servers.map((server) => server.stop()));
    rmSync(folder, { recursive: true, force: true });
  });

  test("no application saw a difference", () => {
    for (const mind of minds) {
      expect(mind.first).toBeNull();
      expect(mind.failures).toBe(0);
      expect(mind.operations).toBeGreaterThan(100);
    }
    expect(shared).toBe(minds.reduce((sum, { incremented }) => sum + incremented, 0));
  });

  test("Redis holds what the applications have in mind, under their own keys, and nothing that was destroyed", async () => {
    for (const { mind, gone } of minds) {
      const names = Object.keys(mind);
      expect(await keys.mget(names)).toEqual(names.map((name) => mind[name]));
      if (gone.length > 0) expect(await keys.exists(...gone)).toBe(0);
    }
    const all = await keys.keys("*");
    expect(all.filter((key) => key.startsWith(`${PREFIX}quiet-`))).toHaveLength(QUIET);
    expect(all.filter((key) => /[^\x20-\x7e]/.test(key))).toEqual([]);
    const held = await keys.mget(all.filter((key) => key.startsWith(PREFIX)));
    expect(held.filter((value) => value === "old")).toEqual([]);
  });

  test("the doctor and the backfill told of the old copies", () => {
    expect(Object.fromEntries(doctor.map(({ name, ok }) => [name, ok]))).toMatchObject({
      "proxy-listeners": "ok",
      "legacy-duplicates": "warn",
    });
    // Three each, the idle ones, and what both servers count.
    expect(duplicates).toBeGreaterThan(6);
  });

  test("cleanup leaves the plain keys alone", async () => {
    for (const proxy of proxies.splice(0)) await proxy.close();
    await cli("cleanup", "--yes");
    // The seal stays: it says to every process that Redis is alone.
    expect((await keys.keys("*")).filter((key) => !key.startsWith(PREFIX))).toEqual(["sf:pool:seal"]);
  });
});
