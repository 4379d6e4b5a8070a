/**
 * The commands over a pool whose client's rule nobody knows: `session show` and `revoke` are given bare ids, and workers
 * copy and compare what lies on several servers, with old copies among it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { demoEnvironment, loadConfig } from "../../src/config.js";
import { Log } from "../../src/observe/index.js";
import { ProxyProcess } from "../../src/runtime/proxy.js";
import { type RunningServer, startMemcached, startRedis } from "../../src/servers/index.js";
import { runJson } from "../cli/support.js";
import { converse } from "../clients/converse.js";
import type { Place } from "../clients/drivers.js";
import { until } from "../support/processes.js";
import { transpiledPackage } from "../support/processes-of-src.js";

const PREFIX = "s:";
const QUIET = 300;
const DAY = 86_400;

const folder = mkdtempSync(join(tmpdir(), "sessionferry-pool-"));
const path = join(folder, "sessionferry.json");
const options = ["--config", path];
const servers: RunningServer[] = [];
let a: RunningServer;
let b: RunningServer;
let keys: Redis;
let proxy: ProxyProcess;
let worker: ChildProcess;
let packaged: ReturnType<typeof transpiledPackage>;

const put = (server: Place, sid: string, value: string) =>
  converse(server, `set ${PREFIX}${sid} 0 ${DAY} ${value.length}\r\n${value}\r\n`);
const held = async (server: RunningServer, sid: string) =>
  /^VALUE .*\r\n(.*)\r\n/.exec(await converse(server, `get ${PREFIX}${sid}\r\n`, /END\r\n$/))?.[1] ?? null;
const everywhere = async (sid: string) => [await held(a, sid), await held(b, sid), await keys.get(PREFIX + sid)];
const show = (sid: string) => runJson("session-show", ["session", "show", ...options], { stdin: `${sid}\n` });
const revoke = (...sids: string[]) =>
  runJson("revoke", ["revoke", "--ids-from", "-", ...options], { stdin: `${sids.join("\n")}\n` });
const advance = (phase: string) =>
  runJson("phase-move", ["phase", "advance", "--to", phase, "--percent", "100", ...options]);

beforeAll(async () => {
  const [one, two, redis, control] = await Promise.all([
    startMemcached(),
    startMemcached(),
    startRedis(),
    startRedis(),
  ]);
  servers.push(one, two, redis, control);
  [a, b] = [one, two];
  keys = new Redis(redis.url);
  packaged = transpiledPackage();
  const config = {
    migration: "pool",
    legacy: {
      ...{ preset: "memcached", prefix: PREFIX, distribution: "client" },
      url: `memcached://${a.host}:${a.port},${b.host}:${b.port}`,
    },
    redis: { url: redis.url, prefix: PREFIX },
    control: { url: control.url },
    backfill: { batch: 50 },
    workers: { concurrency: 2 },
    proxy: { listeners: [a, b].map(({ host, port }) => ({ listen: "127.0.0.1:0", server: `${host}:${port}` })) },
    timeouts: { legacy: "20s", redis: "10s", acknowledge: "60s", drain: "60s" },
    gates: { maxP95: "1m" },
  };
  writeFileSync(path, JSON.stringify(config));
  // What is drained within this test is drained by the worker.
  const ofProxies = join(folder, "proxies.json");
  writeFileSync(ofProxies, JSON.stringify({ ...config, drain: { every: "1m" } }));
  for (const [n, server] of [a, b].entries()) {
    const sets = Array.from({ length: QUIET / 2 }, (_, i) => `set ${PREFIX}quiet-${2 * i + n} 0 ${DAY} 1\r\nq\r\n`);
    await converse(server, sets.join(""), new RegExp(`(STORED\\r\\n){${QUIET / 2}}$`));
  }
  for (const sid of ["first", "second", "third"]) await put(sid === "first" ? b : a, sid, "old");
  // memcached tells in whole seconds when a key was last asked for.
  await delay(2_100);
  await put(a, "first", "session");
  await put(b, "second", "session");
  await put(b, "third", "session");
  await runJson("setup", ["setup", ...options]);
  // It is the proxies that tell the fleet of which servers the pool is.
  proxy = await ProxyProcess.open(loadConfig({ config: ofProxies }), new Log({ write: () => {} }));
  await advance("dual-write");
  const main = join(packaged.path, "src/cli/main.js");
  worker = spawn(process.execPath, [main, "worker", "--json", ...options], { env: demoEnvironment(), stdio: "pipe" });
  let said = "";
  for (const stream of [worker.stdout!, worker.stderr!]) stream.on("data", (chunk) => (said += chunk));
  await until(
    "the worker works",
    () => {
      if (worker.exitCode !== null) throw new Error(`the worker ended: ${said}`);
      return said.includes('"working"');
    },
    60_000,
  );
}, 120_000);
afterAll(async () => {
  if (worker !== undefined && worker.exitCode === null) {
    const ended = new Promise((resolve) => worker.once("exit", resolve));
    worker.kill("SIGTERM");
    await ended;
  }
  await proxy?.close();
  keys?.disconnect();
  packaged?.remove();
  await Promise.all(servers.map((server) => server.stop()));
  rmSync(folder, { recursive: true, force: true });
});

test("workers copy what each server has, and of a session on two servers the one that is used", async () => {
  const { result } = await runJson("backfill", ["backfill", "--workers", ...options]);
  expect(result).toMatchObject({ state: "complete", duplicates: { count: 3 } });
  expect(await keys.mget(...["first", "second", "third"].map((sid) => PREFIX + sid))).toEqual(Array(3).fill("session"));
  expect((await keys.keys(`${PREFIX}quiet-*`)).length).toBe(QUIET);
  const check = await runJson("check", ["check", "--workers", ...options]);
  expect(check).toMatchObject({ clean: true, evidence: true, planted: { planted: 5, found: 5 } });
  expect(check.counts.equal).toBe(QUIET + 3);
});

test("a session is shown by its bare id, whichever server has it", async () => {
  for (const sid of ["first", "second", "quiet-0", "quiet-1"]) {
    expect(await show(sid), sid).toMatchObject({
      ...{ phase: "dual-write", authority: "legacy", mark: "none", equal: true, differences: [] },
      ...{ legacy: { present: true }, redis: { present: true } },
    });
  }
  const session = await show("first");
  expect(session.legacy.bytes).toBe("session".length);
  expect(session.digest).toBe((await show("first")).digest);
  expect(await show("nobody")).toMatchObject({ legacy: { present: false }, redis: { present: false } });
});

test("revoking by bare ids removes sessions from their servers, their old copies, and Redis", async () => {
  expect(await everywhere("first")).toEqual(["session", "old", "session"]);
  expect(await revoke("first", "quiet-0", "quiet-1", "nobody")).toMatchObject({ read: 4, revoked: 4 });
  for (const sid of ["first", "quiet-0", "quiet-1"]) expect(await everywhere(sid), sid).toEqual([null, null, null]);
  expect(await everywhere("second")).toEqual(["old", "session", "session"]);
  await runJson("check", ["check", "--workers", ...options]);
});

test("so it does where Redis is the authority", async () => {
  await advance("read-through");
  expect(await revoke("second")).toMatchObject({ revoked: 1 });
  expect(await everywhere("second")).toEqual([null, null, null]);
  await advance("redis-first");
  expect(await show("third")).toMatchObject({ phase: "redis-first", authority: "redis", equal: true });
  expect(await revoke("third", "quiet-2")).toMatchObject({ revoked: 2 });
  for (const sid of ["third", "quiet-2"]) expect(await everywhere(sid), sid).toEqual([null, null, null]);
  expect(await show("third")).toMatchObject({ legacy: { present: false }, redis: { present: false } });
  expect(await everywhere("quiet-3")).toEqual([null, "q", "q"]);
});

test("a worker drains to each server what was written by way of it", async () => {
  const doors = proxy.door.addresses.map((address) => {
    const { hostname, port } = new URL(`tcp://${address}`);
    return { host: hostname, port: Number(port) };
  });
  const sids = Array.from({ length: 40 }, (_, i) => `fresh-${i}`);
  // "quiet-3" was on the second server; by way of the first, both have it, and each its own drain.
  const written = [...sids.map((sid, i) => [sid, i % 2] as const), ["quiet-3", 0] as const];
  for (const [sid, by] of written) expect(await put(doors[by]!, sid, "new")).toBe("STORED\r\n");
  for (const [sid, by] of written) {
    await until(`${sid} is where it was written`, async () => (await held([a, b][by]!, sid)) === "new", 20_000);
    expect(await keys.get(PREFIX + sid)).toBe("new");
  }
  for (const [i, sid] of sids.entries()) expect(await held([b, a][i % 2]!, sid), sid).toBeNull();
});
