import { inspect } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { ALL_BUCKETS, BUCKETS, bucketOf } from "../../src/core/cohort.js";
import { IdSource, newNodeId } from "../../src/core/ids.js";
import type { Sid } from "../../src/core/session.js";
import { FerryError } from "../../src/errors.js";
import type { RedisRecords } from "../../src/ports/redis-records.js";
import { RedisLost, RedisRefused } from "../../src/ports/redis-records.js";
import { openRedisWitness } from "../../src/stores/witness-redis.js";
import { later } from "../contract/redis-records.js";
import { Bench, rejection } from "./redis-support.js";

const ids = new IdSource(newNodeId());
const GENERATION = "generation-1";
const bench = new Bench();
afterEach(() => bench.clear());

const armed = async (url: string, options = {}): Promise<RedisRecords> => {
  const records = await bench.open(url, options);
  records.generation = GENERATION;
  await records.arm(GENERATION, "active");
  return records;
};

describe("keys and values in Redis", () => {
  it("keeps every byte of a value, and every id that UTF-8 can write", async () => {
    const { url } = await bench.start();
    const records = await armed(url);
    const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    for (const sid of ["plain", "{brace}d}{", "naïve ☃ 🚢", "with space\r\n*?[x]\\", ""]) {
      const session = { ...later(""), value: every };
      await records.open(sid, ids.next(), "R", session, ids.next());
      expect(await records.read(sid, ids.next())).toMatchObject({ from: "R", session });
      expect((await records.dirtyRecords([sid]))[0]?.session?.value).toEqual(every);
    }
    const listed = new Set<Sid>();
    for await (const page of records.listRecords({ pageSize: 2 })) for (const sid of page) listed.add(sid);
    expect(listed.size).toBe(5);
    expect(new Set(await records.dirtySids(9))).toEqual(listed);
    expect(await records.drop(ALL_BUCKETS)).toBe(5);
  });

  it("is read by a plain client, and reads what a plain client wrote", async () => {
    const { url } = await bench.start();
    const records = await armed(url);
    const plain = bench.plain(url);
    const witness = openRedisWitness({ url, prefix: "sess:", timeout: 1_000 });
    const session = later('{"cart":[1]}');
    await records.setAlone("ours", session);
    expect(await plain.get("sess:ours")).toBe('{"cart":[1]}');
    expect(await plain.pexpiretime("sess:ours")).toBe(session.expiresAt);
    expect(await witness.get("ours")).toEqual(session.value);
    expect(await witness.get("nobody's")).toBeNull();
    await plain.set("sess:theirs", "x", "EX", 100);
    expect(await records.readAlone("theirs")).toMatchObject({ value: Buffer.from("x") });
    await witness.close();
  });

  it("takes a prefix for what it is, whatever characters it has", async () => {
    const { url } = await bench.start();
    const plain = bench.plain(url);
    const prefix = "a*b[c-e]?\\^{t}:";
    const records = await armed(url, { prefix });
    const strangers = ["axxbc?:1", "a*bcx{t}:1", "a*bdx\\^{t}:1", "other"];
    for (const key of strangers) await plain.set(key, "stranger");
    for (const sid of ["1", "2"]) await records.open(sid, ids.next(), "L", null, ids.next());
    await records.setAlone("1", later("x"));
    const listed: Sid[] = [];
    for await (const page of records.listRecords({ pageSize: 10 })) listed.push(...page);
    expect(listed).toEqual(["1"]);
    expect(await records.drop(ALL_BUCKETS)).toBe(1);
    expect((await records.view(["1", "2"])).map(({ mark }) => mark)).toEqual(["none", "none"]);
    expect((await plain.keys("*")).sort()).toEqual([...strangers, "sf:shop:seal"].sort());
  });

  it("leaves alone what is not text, and our own keys, where the prefix is empty", async () => {
    const { url } = await bench.start();
    const plain = bench.plain(url);
    const records = await armed(url, { prefix: "" });
    const odd = Buffer.from([0xff, 0xfe]);
    await plain.set(odd, "x");
    await plain.set("sf:other:seal", "x");
    await records.setAlone("one", later("x"));
    await records.open("two", ids.next(), "R", null, ids.next());
    const listed: Sid[] = [];
    for await (const page of records.listRecords({ pageSize: 10 })) listed.push(...page);
    expect(listed).toEqual(["one"]);
    expect(await records.drop(ALL_BUCKETS)).toBe(1);
    expect(await plain.exists(odd, "sf:other:seal", "sf:shop:seal")).toBe(3);
    const failure = await rejection(records.setAlone("sf:shop:seal", later("x")));
    expect(failure).toMatchObject({ code: "GUARD_REFUSED" });
  });

  it("keeps two migrations in one Redis apart", async () => {
    const { url } = await bench.start();
    const shop = await armed(url);
    const cart = await armed(url, { migration: "cart", prefix: "cart:" });
    await shop.open("one", ids.next(), "R", later("shop"), ids.next());
    await cart.open("one", ids.next(), "L", null, ids.next());
    expect(await cart.drop(ALL_BUCKETS)).toBe(0);
    await cart.clearMarks();
    expect((await shop.view(["one"]))[0]).toMatchObject({ mark: "dirty" });
    expect(await shop.seal()).toMatchObject({ migration: "shop" });
    await cart.removeSeal();
    await shop.ping();
  });

  it("is not worked on under another prefix than it was armed for", async () => {
    const { url } = await bench.start();
    const records = await armed(url);
    const strayed = await bench.open(url, { prefix: "session:" });
    strayed.generation = GENERATION;
    strayed.trustRestarts = true;
    expect(await rejection(strayed.open("one", ids.next(), "L", null, ids.next()))).toBeInstanceOf(RedisLost);
    expect(await rejection(strayed.read("one", ids.next()))).toBeInstanceOf(RedisLost);
    await records.ping();
  });

  it("drops 20,000 records by buckets", async () => {
    const { url } = await bench.start();
    const records = await armed(url);
    const sids = Array.from({ length: 20_000 }, (_, i) => `session-${i}`);
    const session = later("x".repeat(100));
    const leases = sids.map(() => ids.next());
    const leased = await records.leaseMany(sids, leases);
    expect(leased.every(({ state }) => state === "leased")).toBe(true);
    const filled = await records.fillMany(sids.map((sid, i) => ({ sid, lease: leases[i]!, session })));
    expect(filled.every(Boolean)).toBe(true);
    await records.push(sids.slice(0, 5_000).map((sid) => ({ sid, dirty: ids.next() })));

    const below = sids.filter((sid) => bucketOf(sid) < 1_000);
    expect(await records.drop([0, 1_000])).toBe(below.length);
    expect(await records.drop([0, 1_000])).toBe(0);
    expect((await records.view(below)).every(({ session: left, mark }) => left === null && mark === "none")).toBe(true);
    const dirty = sids.slice(0, 5_000).filter((sid) => bucketOf(sid) >= 1_000);
    expect((await records.dirtyState()).count).toBe(dirty.length);
    let listed = 0;
    for await (const page of records.listRecords({ pageSize: 1_000 })) listed += page.length;
    expect(listed).toBeGreaterThanOrEqual(sids.length - below.length);
    expect(await records.drop([1_000, BUCKETS])).toBe(sids.length - below.length);
    expect((await records.dirtyState()).count).toBe(0);
  });

  it("refuses a session that Redis cannot hold before it is sent", async () => {
    const { url } = await bench.start();
    const records = await armed(url);
    const session = { ...later(""), value: Buffer.alloc(512 * 1024 * 1024 + 1) };
    for (const write of [
      () => records.setAlone("huge", session),
      () => records.open("huge", ids.next(), "R", session, ids.next()),
      () => records.close("huge", ids.next(), { kind: "value", session }),
      () => records.fill("huge", ids.next(), session),
      () => records.fillMany([{ sid: "huge", lease: ids.next(), session }]),
    ]) {
      expect(await rejection(write())).toMatchObject({ code: "VALUE_TOO_LARGE" });
    }
    await records.ping();
  });

  it("puts no session id into an error", async () => {
    const { url } = await bench.start();
    const records = await armed(url);
    const plain = bench.plain(url);
    const sid = "secret-credential";
    await plain.hset(`sess:${sid}`, "field", "value");
    for (const call of [
      () => records.view([sid]),
      () => records.setAlone(sid, later("secret-value")).then(() => records.view([sid, "x"])),
    ]) {
      const failure = await call().catch((error) => error);
      expect(inspect(failure, { depth: 9, showHidden: true })).not.toMatch(/secret/);
    }
    await plain.set("sf:shop:dirty", "no index");
    const failure = await rejection(records.open("other", ids.next(), "R", null, ids.next()));
    expect(failure).toBeInstanceOf(RedisRefused);
    expect(inspect(failure, { depth: 9, showHidden: true })).not.toContain("sess:");
  });
});

describe("what Redis may be", () => {
  it("is named by a URL that can be read", async () => {
    for (const [url, text] of [
      ["redis-cluster://127.0.0.1:1,127.0.0.1:2/0", "redis.url"],
      ["http://127.0.0.1", "redis.url"],
      ["redis://user:pass word@127.0.0.1:port", "redis.url"],
      ["redis-sentinel://127.0.0.1:1", "redis.url"],
    ] as const) {
      const failure = (await rejection(bench.open(url))) as FerryError;
      expect(failure).toBeInstanceOf(FerryError);
      expect(failure.code).toBe("CONFIG_INVALID");
      expect(failure.message).toContain(text);
      expect(failure.message).not.toContain("pass");
    }
    for (const options of [{ prefix: "sf:x:" }, { migration: "a:b" }]) {
      expect(await rejection(bench.open("redis://127.0.0.1:1", options))).toMatchObject({ code: "CONFIG_INVALID" });
    }
  });

  it("is refused with a wrong password, or without one, and the password is not told", async () => {
    const { port } = await bench.start({ args: ["--requirepass", "right-one"] });
    for (const url of [
      `redis://:wrong-one@127.0.0.1:${port}`,
      `redis://someone:wrong-one@127.0.0.1:${port}`,
      `redis://127.0.0.1:${port}`,
    ]) {
      const failure = await rejection(bench.open(url));
      expect(failure).toMatchObject({ name: "FerryError", code: "AUTHENTICATION_FAILED" });
      expect(inspect(failure, { depth: 9, showHidden: true })).not.toMatch(/(wrong|right)-one/);
    }
    const records = await armed(`redis://:right-one@127.0.0.1:${port}`);
    await records.ping();
  });

  it("may be another database of the server, and is refused where there is none such", async () => {
    const { url } = await bench.start();
    const records = await armed(`${url}/3`);
    await records.setAlone("one", later("x"));
    const plain = bench.plain(url);
    expect(await plain.dbsize()).toBe(0);
    const none = await bench.open(`${url}/99`);
    const failure = await rejection(none.readAlone("one", { deadline: 300, hold: true }));
    expect(failure).toMatchObject({ name: "RedisUnreachable", sent: false });
    expect((failure as Error).message).toContain("DB index");
  });

  it("may be 6.2, which tells the time that is left only", async () => {
    const { url } = await bench.start();
    const records = await armed(await bench.disguise(url, "6.2.15"));
    expect((await records.facts()).version).toBe("6.2.15");
    const session = later("old");
    await records.setAlone("one", session);
    for (const found of [
      await records.readAlone("one"),
      (await records.view(["one"]))[0]!.session,
      ((await records.readMany(["one"], [ids.next()]))[0] as { session: typeof session }).session,
    ]) {
      expect(Math.abs(found!.expiresAt - session.expiresAt)).toBeLessThanOrEqual(2);
    }
    expect(await records.readAlone("two")).toBeNull();
    expect((await records.view(["two"]))[0]!.session).toBeNull();
    await records.setAlone("never", { ...session, expiresAt: Number.POSITIVE_INFINITY });
    expect((await records.readAlone("never"))?.expiresAt).toBe(Number.POSITIVE_INFINITY);
    expect((await records.view(["never"]))[0]!.session?.expiresAt).toBe(Number.POSITIVE_INFINITY);
  });

  it("is refused below 6.2", async () => {
    const { url } = await bench.start();
    expect(await rejection(bench.open(await bench.disguise(url, "6.0.15")))).toMatchObject({
      code: "VERSION_UNSUPPORTED",
    });
  });

  it("may forget the scripts", async () => {
    const { url } = await bench.start();
    const records = await armed(url);
    const plain = bench.plain(url);
    await plain.script("FLUSH");
    expect(await records.open("one", ids.next(), "L", null, ids.next())).toBe("L");
    await plain.script("FLUSH");
    expect(await records.leaseMany(["two"], [ids.next()])).toHaveLength(1);
  });

  it("may be full: reads and destroys go on, nothing is half done", async () => {
    const { url } = await bench.start({ args: ["--maxmemory", "3mb"] });
    const records = await armed(url);
    const plain = bench.plain(url);
    const session = later("before");
    await records.setAlone("one", session);
    await records.open("dirty", ids.next(), "R", session, ids.next());
    for (let i = 0; ; i++) {
      if ((await plain.set(`fill:${i}`, "x".repeat(50_000)).catch(() => "OOM")) === "OOM") break;
    }
    const before = await records.view(["one", "dirty"]);
    const big = { ...session, value: Buffer.alloc(200_000) };
    for (const write of [
      () => records.open("one", ids.next(), "R", big, ids.next()),
      () => records.open("one", ids.next(), "L", big, ids.next()),
      () => records.open("dirty", ids.next(), "L", big, ids.next()),
      () => records.setAlone("one", big),
    ]) {
      const failure = await rejection(write());
      expect(failure).toBeInstanceOf(RedisRefused);
      expect((failure as Error).message).toContain("OOM");
    }
    expect(await records.view(["one", "dirty"])).toEqual(before);
    // Under a lease that found no room nothing is filled, and who reads is answered.
    const lease = ids.next();
    expect(await records.read("unknown", lease)).toEqual({ from: "L", lease });
    await records.fill("unknown", lease, session);
    expect(await records.view(["unknown"])).toMatchObject([{ session: null, mark: "none" }]);
    // What goes together does not fail together.
    const [refused, gone] = await Promise.allSettled([
      records.open("one", ids.next(), "R", big, ids.next()),
      records.open("dirty", ids.next(), "R", null, ids.next()),
    ]);
    expect([refused.status, gone.status]).toEqual(["rejected", "fulfilled"]);
    expect(await records.read("one", ids.next())).toMatchObject({ from: "R", session });
    expect(await records.destroyAlone("one")).toBe(true);
    const facts = await records.facts();
    expect(facts.maxMemory).toBe(3 * 1024 * 1024);
    expect(facts.usedMemory).toBeGreaterThan(2 * 1024 * 1024);
  });

  it("may lack a right", async () => {
    const { url, port } = await bench.start();
    const plain = bench.plain(url);
    await plain.call("ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-zadd", "-config");
    const records = await armed(`redis://app:pw@127.0.0.1:${port}`);
    const failure = await rejection(records.open("one", ids.next(), "R", later("x"), ids.next()));
    expect(failure).toBeInstanceOf(RedisRefused);
    expect((failure as Error).message).toContain("NOPERM");
    expect((await records.facts()).persistence).toEqual({ aof: false, rdb: null });
  });
});
