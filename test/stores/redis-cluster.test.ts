import fc from "fast-check";
import type { Cluster } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ALL_BUCKETS } from "../../src/core/cohort.js";
import { IdSource, newGeneration, newNodeId } from "../../src/core/ids.js";
import type { Sid } from "../../src/core/session.js";
import { NO_FENCE } from "../../src/ports/fence.js";
import { RedisLost, type RedisRecords } from "../../src/ports/redis-records.js";
import { surveyRedis } from "../../src/stores/redis/index.js";
import { KeyNames } from "../../src/stores/redis/key-names.js";
import { SLOTS, slotOfKey, tagOf } from "../../src/stores/redis/slots.js";
import { openRedisWitness } from "../../src/stores/witness-redis.js";
import { later } from "../contract/redis-records.js";
import { type ClusterServer, RedisCluster } from "../support/redis-cluster.js";
import { openRecords, rejection } from "./redis-support.js";

const names = new KeyNames("sess:", "shop", true, 0, true);
const ids = new IdSource(newNodeId());
const SIDS = Array.from({ length: 300 }, (_, i) => `sid-${i}`);

let cluster: RedisCluster;
let plain: Cluster;
let records: RedisRecords;
beforeAll(async () => {
  cluster = await RedisCluster.start();
  plain = cluster.plain();
  records = await openRecords(cluster.url);
});
afterAll(async () => {
  await records?.end();
  plain?.disconnect();
  await cluster?.stop();
});

const first = () => cluster.masters[0]!;
const second = () => cluster.masters[1]!;

/** A sid whose slot this master has. */
async function sidAt(master: ClusterServer, from = 0): Promise<Sid> {
  const slots = new Set(await cluster.slotsOf(master));
  for (let i = from; ; i++) if (slots.has(names.slotOf(`at-${i}`))) return `at-${i}`;
}

/** As a request asks: it waits for nobody who is known to be away. */
const LIMITS = { deadline: 5_000, hold: false };

async function store(r: RedisRecords, sid: Sid, text: string): Promise<void> {
  const intent = ids.next();
  await r.open(sid, intent, "L", later(text), ids.next(), LIMITS);
  await r.close(sid, intent, { kind: "value", session: later(text) }, LIMITS);
}

async function textOf(r: RedisRecords, sid: Sid): Promise<string | undefined> {
  return (await r.readAlone(sid))?.value.toString();
}

describe("slots", () => {
  const text = fc.string({ unit: fc.constantFrom("{", "}", "a", "b", "é", "😀", ":", "x") });

  it("are those of Redis, braces or not", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(text, fc.string()), { minLength: 20, maxLength: 40 }), async (keys) => {
        const told = await Promise.all(keys.map((key) => first().client.call("CLUSTER", "KEYSLOT", key)));
        expect(keys.map((key) => slotOfKey(key))).toEqual(told);
        expect(keys.map((key) => slotOfKey(Buffer.from(key)))).toEqual(told);
      }),
      { numRuns: 100 },
    );
  });

  it("have a tag each", () => {
    const tags = Array.from({ length: SLOTS }, (_, slot) => tagOf(slot));
    expect(tags.map((tag) => slotOfKey(`x{${tag}}{y}`))).toEqual(tags.map((_, slot) => slot));
    expect(new Set(tags).size).toBe(SLOTS);
    expect(tags.every((tag) => /^[0-9a-z]{1,4}$/.test(tag))).toBe(true);
  });

  it("hold all keys of a session, of which each tells the session", () => {
    fc.assert(
      fc.property(text, (sid) => {
        const slot = names.slotOf(sid);
        const keys = names.ofScript(slot, [sid]);
        expect(keys.map((key) => slotOfKey(key))).toEqual(keys.map(() => slot));
        const [, , data, side, item] = keys.map((key) => Buffer.from(key));
        expect([names.sidOfData(data!), names.sidOfSide(side!), names.sidOfItem(item!)]).toEqual([sid, sid, sid]);
        expect([names.sidOfSide(data!), names.sidOfSide(item!), names.sidOfItem(side!)]).toEqual([null, null, null]);
      }),
    );
  });
});

describe("a Redis Cluster", () => {
  let generation: string;
  beforeEach(async () => {
    await cluster.flush();
    generation = newGeneration();
    records.generation = generation;
    records.trustRestarts = false;
    await records.arm(generation, "active");
  });

  it("serves many sessions at once, whatever slots they are of, and plain clients read them", async () => {
    const leases = await records.readMany(
      SIDS,
      SIDS.map(() => ids.next()),
    );
    const fills = SIDS.map((sid, i) => ({ sid, lease: (leases[i] as { lease: string }).lease, session: later(sid) }));
    expect(await records.fillMany(fills)).toEqual(SIDS.map(() => true));
    const again = await records.leaseMany(
      SIDS,
      SIDS.map(() => ids.next()),
    );
    expect(again).toEqual(SIDS.map(() => ({ state: "hit" })));
    const reads = await Promise.all(SIDS.map((sid) => textOf(records, sid)));
    expect(reads).toEqual(SIDS);

    expect(await Promise.all(SIDS.map((sid) => plain.get(`sess:${sid}`)))).toEqual(SIDS);
    const witness = openRedisWitness({ url: cluster.url, prefix: "sess:", timeout: 1_000 });
    expect(String(await witness.get("sid-7"))).toBe("sid-7");
    await witness.close();

    const found: Sid[] = [];
    for await (const page of records.listRecords({ pageSize: 50 })) found.push(...page);
    expect(found.sort()).toEqual([...SIDS].sort());
    expect(await records.drop(ALL_BUCKETS)).toBe(SIDS.length);
  });

  it("drains what another process made dirty in any slot", async () => {
    const other = await openRecords(cluster.url);
    other.generation = generation;
    const dirty = await Promise.all(SIDS.map((sid) => other.open(sid, ids.next(), "R", later(sid), ids.next())));
    expect(new Set(dirty)).toEqual(new Set(["R"]));
    expect((await records.dirtyState()).count).toBe(SIDS.length);
    for (let left = SIDS.length; left > 0; ) {
      const some = await records.dirtySids(100);
      const told = await records.dirtyRecords(some);
      const marks = told.flatMap(({ sid, nonce, seen }) => (nonce === null ? [] : [{ sid, nonce, seen }]));
      left -= (await records.undirty(marks)).filter(Boolean).length;
    }
    expect(await records.dirtyState()).toEqual({ count: 0, oldestAge: 0 });
    expect(await other.dirtySids(10)).toEqual([]);
    await other.end();
  });

  it("goes on while slots move: what comes halfway waits, and nothing is lost or half done", async () => {
    const sids = await Promise.all(Array.from({ length: 8 }, (_, i) => sidAt(first(), i * 100)));
    for (const sid of sids) await store(records, sid, sid);
    const late: Promise<unknown>[] = [];
    const slots = [...new Set(sids.map((sid) => names.slotOf(sid)))];
    let moved = 0;
    await cluster.move(
      slots,
      first(),
      second(),
      async () => {
        const here = sids.filter((sid) => names.slotOf(sid) === slots[moved]);
        moved++;
        for (const sid of here) {
          late.push(
            store(records, sid, `${sid} anew`),
            records.read(sid, ids.next(), LIMITS),
            records.view([sid], LIMITS),
          );
          late.push(records.open(`${sid}{x`, ids.next(), "R", later("beside"), ids.next()));
        }
        // They ask again and again meanwhile.
        await new Promise((resolve) => setTimeout(resolve, 30));
      },
      async () => {
        // One key that is there already is found there.
        expect((await records.seal())?.generation).toBe(generation);
      },
    );
    await Promise.all(late);
    for (const sid of sids) expect(await textOf(records, sid)).toBe(`${sid} anew`);
    for (const view of await records.view(sids)) expect(view.mark).toBe("none");
    const other = await openRecords(cluster.url);
    other.generation = generation;
    expect((await other.dirtyState()).count).toBe(sids.length);
    await other.end();
    await cluster.move(slots, second(), first());
  });

  it("finds every session though its slot moves past the sweep", async () => {
    for (const sid of SIDS.slice(0, 40)) await store(records, sid, sid);
    const [from, to] = [cluster.masters[2]!, first()];
    const slots = (await cluster.slotsOf(from)).filter((slot) =>
      SIDS.slice(0, 40).some((sid) => names.slotOf(sid) === slot),
    );
    const found = new Set<Sid>();
    let moving: Promise<void> | undefined;
    for await (const page of records.listRecords({ pageSize: 500 })) {
      for (const sid of page) found.add(sid);
      moving ??= cluster.move(slots, from, to);
      await moving;
    }
    expect([...found].sort()).toEqual(SIDS.slice(0, 40).sort());
    await cluster.move(slots, to, from);
  });

  it("is lost as a whole when one master is: restarted, emptied, or without a seal", async () => {
    const [there, gone] = [await sidAt(first()), await sidAt(second())];
    await records.ping();
    await plain.del(names.seal(names.slotOf(gone)));
    expect(await rejection(records.read(gone, ids.next()))).toBeInstanceOf(RedisLost);
    expect(await rejection(records.ping())).toBeInstanceOf(RedisLost);
    expect(await rejection(records.stamp("x"))).toBeInstanceOf(RedisLost);
    expect(await records.seal()).toBeNull();
    await records.arm(generation, "active");
    await records.ping();

    await second().client.flushall();
    expect(await rejection(records.ping())).toBeInstanceOf(RedisLost);
    expect(await rejection(records.dirtyState())).toBeInstanceOf(RedisLost);
    await records.arm(generation, "active");

    await second().client.save();
    await second().server.restart();
    await cluster.settled();
    const patient = { deadline: 5_000, hold: true };
    expect(await rejection(records.readAlone(gone, patient))).toBeInstanceOf(RedisLost);
    expect(await rejection(records.open(gone, ids.next(), "L", null, ids.next()))).toBeInstanceOf(RedisLost);
    expect(await rejection(records.ping(patient))).toBeInstanceOf(RedisLost);
    expect(await textOf(records, there)).toBeUndefined();
    expect(await records.hasRestarted()).toBe(true);
    // Where R is the authority, the run is accepted, in every slot of it.
    records.trustRestarts = true;
    await records.ping(patient);
    records.trustRestarts = false;
    expect(await records.hasRestarted()).toBe(false);
    expect(await textOf(records, gone)).toBeUndefined();
  });

  it("tells what its seals say where they differ: a sealing was broken off, or one master came back older", async () => {
    const { generation } = records;
    await records.stamp("9");
    const slot = (await cluster.slotsOf(second()))[0]!;
    const key = names.seal(slot);
    const whole = (await second().client.get(key))!;
    await second().client.set(key, whole.replace(generation, "another").replace('"stamp":"9"', '"stamp":"8"'));
    expect(await records.seal()).toBeNull();
    const { generations, stamp } = (await records.seals())!;
    expect([...generations].sort()).toEqual([generation, "another"].sort());
    expect(stamp).toBe("8");
    await second().client.set(key, whole);
    expect(await records.seals()).toEqual({ generations: [generation], stamp: "9" });
  });

  it("drops what is dirty where one master came back older, and spares what is dirty elsewhere", async () => {
    await records.stamp("9");
    const [older, newer] = [await sidAt(second(), 700), await sidAt(first(), 700)];
    for (const sid of [older, newer]) await records.open(sid, ids.next(), "R", later("dirty"), ids.next());
    const key = names.seal(names.slotOf(older));
    const whole = (await second().client.get(key))!;
    await second().client.set(key, whole.replace('"stamp":"9"', '"stamp":"8"'));
    await records.drop(ALL_BUCKETS, { spareDirty: true, since: "9" });
    await second().client.set(key, whole);
    expect((await records.view([older, newer])).map(({ mark }) => mark)).toEqual(["none", "dirty"]);
    expect(await records.dirtySids(10)).toEqual([newer]);
    await records.drop(ALL_BUCKETS);
  });

  it("takes a master that joined empty for what it is, unless an armed one is missing", async () => {
    const sid = await sidAt(first());
    await store(records, sid, "kept");
    const newcomer = await cluster.join();
    await cluster.move([names.slotOf(sid)], first(), newcomer);
    expect(await textOf(records, sid)).toBe("kept");
    expect(await records.hasRestarted()).toBe(false);
    await records.ping();
    const [again, wary] = [await sidAt(first(), 500), await openRecords(cluster.url)];
    wary.generation = generation;
    await store(records, again, "kept");
    await cluster.move([names.slotOf(again)], first(), newcomer);
    await first().client.save();
    await first().server.restart();
    await cluster.settled();
    expect(await rejection(wary.readAlone(again, { deadline: 5_000, hold: true }))).toBeInstanceOf(RedisLost);
    await wary.end();
  });

  it("ends a node's connections to every master", async () => {
    const node = newNodeId();
    const other = await openRecords(cluster.url, { node });
    other.generation = generation;
    await other.ping();
    const connections = async () => {
      const lists = await Promise.all(cluster.masters.map(({ client }) => client.client("LIST")));
      const lines = lists.map((list) =>
        String(list)
          .split("\n")
          .filter((line) => line.includes(`:${node} `)),
      );
      return lines.map((all, i) => all.map((line) => `${i} ${line.split(" ")[0]}`));
    };
    const before = await connections();
    expect(before.map(({ length }) => length)).toEqual(cluster.masters.map(() => 1));
    await records.disconnectNode(node);
    // No fence keeps this one from coming back.
    const after = await connections();
    expect(after.flat().filter((connection) => before.flat().includes(connection))).toEqual([]);
    await other.ping({ deadline: 5_000, hold: true });
    await other.end();
  });

  it("tells of all its masters", async () => {
    await records.facts();
    const { runId, evictionPolicy, replicas } = await records.facts();
    expect(runId.split(",")).toHaveLength(cluster.masters.length);
    for (const master of cluster.masters) {
      const run = /run_id:(\w+)/.exec(await master.client.info("server"))?.[1];
      expect(runId.split(",")).toContain(run);
      expect(records.runOf(await sidAt(master))).toBe(run);
    }
    expect({ evictionPolicy, replicas }).toEqual({ evictionPolicy: "noeviction", replicas: 0 });
    await second().client.config("SET", "maxmemory-policy", "allkeys-lru");
    expect((await records.facts()).evictionPolicy).toBe("allkeys-lru");
    await second().client.config("SET", "maxmemory-policy", "noeviction");
    const common = { url: cluster.url, prefix: "sess:", node: newNodeId(), fence: NO_FENCE };
    expect(await surveyRedis({ ...common, migration: "shop" })).toEqual({
      user: "default",
      missing: [],
      strangers: [],
    });
    const { strangers } = await surveyRedis({ ...common, migration: "other" });
    expect(strangers).toEqual([{ migration: "shop", prefix: "sess:", state: "active" }]);
  });

  it("is named as what it is", async () => {
    expect(await rejection(openRecords(first().server.url))).toMatchObject({ code: "CONFIG_INVALID" });
  });
});
