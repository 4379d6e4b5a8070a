/** L as a pool: where a session is, which of its copies counts, and what a destroy leaves. */
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { located, restOf } from "../../src/core/place.js";
import type { Sid } from "../../src/core/session.js";
import { phpMemcached } from "../../src/presets/php-memcached.js";
import { type RunningServer, startMemcached } from "../../src/servers/index.js";
import { type MemcachedLegacyStore, openMemcachedLegacy } from "../../src/stores/memcached/store.js";
import { FaultyLink } from "../support/faulty-link.js";
import { raw } from "./memcached-support.js";

const PREFIX = phpMemcached.prefix;
let servers: RunningServer[];
let store: MemcachedLegacyStore;
/** R's word. */
let owners: (rests: readonly Sid[]) => Promise<readonly Sid[]> = async (rests) => rests;

const address = ({ host, port }: RunningServer) => `${host}:${port}`;

beforeAll(async () => {
  const started = await Promise.all([startMemcached(), startMemcached(), startMemcached()]);
  // As located sids count them.
  servers = started.sort((a, b) => (address(a) < address(b) ? -1 : 1));
  const url = `memcached://${[servers[2]!, servers[0]!, servers[1]!].map(address).join(",")}`;
  store = openMemcachedLegacy({
    ...{ url, preset: phpMemcached, distribution: "client", connections: 2, deadline: 5_000, items: true },
    owners: (rests) => owners(rests),
  });
});
afterAll(async () => {
  await store?.close();
  await Promise.all((servers ?? []).map((server) => server.stop()));
});
beforeEach(async () => {
  owners = async (rests) => rests;
  for (const server of servers) await raw(server, "flush_all\r\n");
  // memcached empties itself up to the second that has begun.
  await delay(1_100);
});

const put = (server: number, rest: string, value = "x", life = 600) =>
  raw(servers[server]!, `set ${PREFIX}${rest} 0 ${life} ${value.length}\r\n${value}\r\n`);
const holders = async (rest: string) => {
  const found = await Promise.all(servers.map((server) => raw(server, `mg ${PREFIX}${rest} s\r\n`)));
  return found.flatMap((reply, n) => (reply.toString().startsWith("HD") ? [n] : []));
};
const listed = async () => {
  const sids: Sid[] = [];
  for await (const page of store.list({ pageSize: 2 })) sids.push(...page);
  return sids;
};

it("counts the servers by their addresses, in whatever order the URL names them", async () => {
  for (const n of [0, 1, 2]) {
    await store.set(located(n, `of-${n}`), { value: Buffer.from("v"), flags: 0, expiresAt: Date.now() + 60_000 });
    expect(await holders(`of-${n}`)).toEqual([n]);
  }
  expect(await listed()).toEqual([0, 1, 2].map((n) => located(n, `of-${n}`)));
});

it("lists a session once: where R says it belongs, else where clients used it last, else the longest-lived copy", async () => {
  await put(0, "used", "old", 9_000);
  await put(2, "said");
  await delay(3_100);
  await put(1, "used", "living", 100);
  await put(0, "said", "old", 9_000);
  await put(1, "even", "old", 100);
  await put(2, "even", "living", 9_000);
  await put(0, "lock.used");
  await put(1, "lock.used");
  owners = async (rests) => rests.map((rest) => (rest === "said" ? located(2, rest) : rest));
  expect(await listed()).toEqual([located(1, "used"), located(2, "even"), located(2, "said")]);
  expect(await store.count()).toBe(3);
  expect([...(await store.duplicates())].sort()).toEqual([located(0, "said"), located(0, "used"), located(1, "even")]);
  expect(await store.locate(["used", "said", located(0, "used")])).toEqual([
    located(1, "used"),
    located(2, "said"),
    located(0, "used"),
  ]);
  const [nowhere] = await store.locate(["nowhere"]);
  expect(restOf(nowhere!)).toBe("nowhere");
  expect((await store.get("used"))?.value.toString()).toBe("living");
  // R that cannot be asked says nothing.
  owners = () => Promise.reject(new Error("away"));
  expect(await listed()).toContain(located(0, "said"));
});

it("leaves no copy of what was destroyed, whoever destroys it, and waits for no server that does not answer", async () => {
  for (const n of [0, 1, 2]) for (const rest of ["a", "b", "c", "lock.a"]) await put(n, rest);
  expect(await store.destroy(located(1, "a"))).toBe(true);
  expect(await holders("a")).toEqual([]);
  expect(await store.verbs().perform(located(2, "b"), { verb: "delete", token: 0n }, { token: false })).toMatchObject({
    result: "done",
  });
  expect(await holders("b")).toEqual([]);
  const [token] = await store.tokens([located(0, "c")]);
  await store.applyIf([{ token: token!, session: null }]);
  expect(await holders("c")).toEqual([]);
  // A lock is none of ours to take from others.
  await store.destroy(located(1, "lock.a"));
  expect(await holders("lock.a")).toEqual([0, 2]);

  await put(0, "d");
  await put(1, "d");
  servers[0]!.pause();
  try {
    expect(await store.destroy(located(1, "d"))).toBe(true);
  } finally {
    servers[0]!.resume();
  }
});

it("removes nothing by a destroy that a client stored there after it", async () => {
  const link = await FaultyLink.open(servers[0]!);
  const far = `127.0.0.1:${link.port}`;
  const addresses = [far, address(servers[1]!)].sort();
  const pool = openMemcachedLegacy({
    ...{ url: `memcached://${addresses.join(",")}`, preset: phpMemcached, distribution: "client" },
    ...{ connections: 2, deadline: 5_000, items: true },
  });
  try {
    const near = located(1 - addresses.indexOf(far), "e");
    await put(0, "e", "old");
    expect(await pool.destroy(near)).toBe(false);
    expect(await holders("e")).toEqual([]);
    await put(0, "e", "old");
    link.delay(400);
    await pool.destroy(near);
    await put(0, "e", "new");
    await delay(1_500);
    expect(await holders("e")).toEqual([0]);
  } finally {
    await pool.close();
    await link.close();
  }
});

it("asks one server alone for what is no session", async () => {
  const aside = store.bypass(2);
  await aside.perform(
    "fragment",
    { verb: "set", session: { value: Buffer.from("f"), flags: 3, expiresAt: Number.POSITIVE_INFINITY } },
    { token: false },
  );
  expect((await raw(servers[2]!, "get fragment\r\n", "END\r\n")).toString()).toContain("VALUE fragment 3 1");
  expect((await raw(servers[0]!, "get fragment\r\n", "END\r\n")).toString()).toBe("END\r\n");
  expect(store.relay()).toBeNull();
});

it("refuses a server that is named twice", () => {
  const url = `memcached://${address(servers[0]!)},${address(servers[0]!)}`;
  const open = () =>
    openMemcachedLegacy({ url, preset: phpMemcached, distribution: "client", connections: 1, deadline: 1_000 });
  expect(open).toThrow(/named twice/);
});
