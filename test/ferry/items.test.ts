import { setTimeout as delay } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import type { PhaseName, Position } from "../../src/core/phase.js";
import type { Items } from "../../src/ports/items.js";
import { startMemcached, startRedis } from "../../src/servers/index.js";
import { type ItemsUnderTest, itemStoreContract } from "../contract/item-store.js";
import { Site } from "../integration/site.js";

/**
 * memcached's semantics in every phase are one suite: two nodes over a real memcached and a real Redis pass it as
 * memcached itself does, wherever the migration stands. Ramps are met halfway, where the sessions are on both sides.
 */
const at = (phase: PhaseName, percent = 100): Position => ({ phase, percent });
const UP = [
  at("legacy"),
  at("dual-write", 50),
  at("dual-write"),
  at("read-through", 50),
  at("read-through"),
  at("redis-first", 50),
  at("redis-first"),
  at("full-redis"),
  at("complete"),
];

const DOWN = [at("full-redis"), at("redis-first"), at("read-through"), at("dual-write"), at("legacy")];

let site: Site | null = null;

async function openSite(): Promise<Site> {
  const [memcached, redis] = await Promise.all([startMemcached(), startRedis()]);
  const server = `${memcached.host}:${memcached.port}`;
  const opened = await Site.open({
    legacy: "memcached",
    control: "redis",
    servers: { legacy: memcached, redis },
    config: {
      legacy: { preset: "memcached", url: memcached.url, prefix: "s:" },
      redis: { preset: "plain", url: redis.url, prefix: "s:" },
      proxy: { listeners: [{ listen: "127.0.0.1:11999", server }] },
      ramps: { "dual-write": [50, 100], "read-through": [50, 100], "redis-first": [50, 100] },
    },
  });
  await opened.join();
  await opened.join();
  return opened;
}

function items(): [Items, Items] {
  const [one, other] = site!.nodes.map(({ ferry }) => ferry.items!);
  return [one!, other!];
}

/** Step by step, as operators go: down a phase at a time, up a step of the ramp at a time. */
async function travel(to: Position): Promise<void> {
  site ??= await openSite();
  const { position } = await site.record();
  const [from, end] = [position, to].map((each) =>
    UP.findIndex(({ phase, percent }) => phase === each.phase && percent === each.percent),
  );
  const steps =
    from! <= end!
      ? UP.slice(from! + 1, end! + 1)
      : DOWN.slice(DOWN.findIndex((step) => step.phase === position.phase) + 1);
  for (const step of steps) {
    expect(await site.moveTo(step)).toMatchObject({ position: step, pending: null });
    if (step.phase === to.phase && step.percent === to.percent) return;
  }
}

afterAll(() => site?.close());

describe("items while the authority moves", () => {
  it("exclude each other, count right and keep flags and values, all the way up and down", async () => {
    await travel(at("legacy"));
    const [one, other] = items();
    const node = (i: number) => (i % 2 === 0 ? one : other);
    const plain = { token: false };
    const life = () => Date.now() + 3_600_000;
    const counters = Array.from({ length: 6 }, (_, i) => `counter${i}`);
    const kept = Array.from({ length: 20 }, (_, i) => ({
      sid: `kept${i}`,
      flags: i,
      value: Buffer.from(`value ${i}`),
    }));
    for (const [i, sid] of counters.entries()) {
      const session = { value: Buffer.from("0"), flags: i, expiresAt: life() };
      await node(i).perform(sid, { verb: "set", session }, plain);
    }
    for (const { sid, flags, value } of kept) {
      await one.perform(sid, { verb: "set", session: { value, flags, expiresAt: life() } }, plain);
    }
    let moving = true;
    const counted = counters.map(() => 0);
    const held = new Map<string, number>();
    const wrong: string[] = [];
    let locked = 0;
    let changed = 0;
    const errors: unknown[] = [];
    const work = async (i: number, act: () => Promise<void>) => {
      while (moving) {
        await act().catch((error: unknown) => errors.push(error));
        // What several raise without a pause cannot be copied: counts that overlap end with nothing in Redis.
        await delay(10 + 5 * (i % 5));
      }
    };
    const counting = (i: number) => async () => {
      const c = i % counters.length;
      const { result } = await node(i).perform(counters[c]!, { verb: "incr", by: 1n, initial: null, token: 0n }, plain);
      if (result === "done") counted[c]!++;
      else wrong.push(`a counter was ${result}`);
    };
    const locking = (i: number) => async () => {
      const lock = `lock.${i % 3}`;
      const session = { value: Buffer.from("1"), flags: 0, expiresAt: life() };
      const { result } = await node(i).perform(lock, { verb: "add", session }, plain);
      if (result !== "done") return;
      locked++;
      if (held.has(lock)) wrong.push("a lock was held twice");
      held.set(lock, i);
      await delay(2);
      held.delete(lock);
      const gone = await node(i + 1).perform(lock, { verb: "delete", token: 0n }, plain);
      if (gone.result !== "done") wrong.push(`a lock was ${gone.result} when it was released`);
    };
    const swapping = (i: number) => async () => {
      const { sid, flags } = kept[i % 2]!;
      const [item] = await node(i).read([sid], { token: true });
      if (item?.flags !== flags) wrong.push("flags were lost");
      const session = { value: item!.value, flags, expiresAt: life() };
      const { result } = await node(i + 1).perform(sid, { verb: "cas", session, token: item!.token }, plain);
      if (result === "done") changed++;
      else if (result !== "changed") wrong.push(`an item was ${result}`);
    };
    const looking = (i: number) => async () => {
      const found = await node(i).read(
        kept.map(({ sid }) => sid),
        plain,
      );
      for (const [n, { flags, value }] of kept.entries()) {
        if (found[n]?.flags !== flags || !found[n]!.value.equals(value)) wrong.push("an item is not what was stored");
      }
    };
    const clients = Array.from({ length: 24 }, (_, i) =>
      work(i, [counting, locking, swapping, looking][i % 4]!(i >> 2)),
    );
    for (const position of [...UP.slice(1, -1), ...DOWN.slice(1)]) {
      expect(await site!.moveTo(position)).toMatchObject({ position, pending: null });
      await delay(60);
    }
    moving = false;
    await Promise.all(clients);
    expect(errors).toEqual([]);
    expect(wrong).toEqual([]);
    const found = await one.read(counters, plain);
    expect(found.map((item) => [Number(item?.value), item?.flags])).toEqual(counted.map((n, i) => [n, i]));
    expect(Math.min(locked, changed, ...counted)).toBeGreaterThan(10);
  }, 120_000);
});

it("a counter that one client raises without a pause keeps its copy, with flags and expiry", async () => {
  await travel(at("dual-write"));
  const [one] = items();
  const plain = { token: false };
  const session = { value: Buffer.from("95"), flags: 7, expiresAt: Date.now() + 3_600_000 };
  await one.perform("raised", { verb: "set", session }, plain);
  // An intent ends after the answer, and what overlaps it would leave nothing.
  await site!.settle();
  for (let n = 0; n < 40; n++) {
    const { result } = await one.perform("raised", { verb: "incr", by: 1n, initial: null, token: 0n }, plain);
    expect(result).toBe("done");
  }
  await site!.settle();
  const [held] = await site!.look(({ records }) => records.view(["raised"]));
  expect(held).toMatchObject({ mark: "none", session: { value: Buffer.from("135"), flags: 7 } });
  expect(Math.abs(held!.session!.expiresAt - session.expiresAt)).toBeLessThan(2_000);
  expect(await site!.differences(["raised"])).toEqual([]);
}, 60_000);

/** Two ramps met halfway show four phases: each session is in the upper one or the lower. */
const TELLING = [at("dual-write", 50), at("redis-first", 50), at("full-redis")];

async function whileIn(position: Position): Promise<ItemsUnderTest> {
  await travel(position);
  const [one, other] = items();
  return { one, other, stop: async () => {} };
}

for (const position of process.env.SOAK ? [...UP.slice(0, -1), ...DOWN.slice(1)] : TELLING) {
  const where = `the ferry in ${position.phase} at ${position.percent} %`;
  itemStoreContract(where, () => whileIn(position));
  it(`flushes both stores in ${where}`, () => flushes(), 60_000);
}

describe("at last", () => {
  itemStoreContract("the ferry in complete", () => whileIn(at("complete")));
  it("flushes Redis in complete", () => flushes(), 60_000);
});

/** What one node stores is gone for both, and so is what L alone has; what is stored afterwards stays. */
async function flushes(): Promise<void> {
  const [one, other] = items();
  const complete = (await site!.record()).position.phase === "complete";
  const sids = Array.from({ length: 40 }, (_, i) => `flushed${i}`);
  const session = (flags: number) => ({ value: Buffer.from("x"), flags, expiresAt: Date.now() + 3_600_000 });
  const plain = { token: false };
  for (const [i, sid] of sids.entries()) {
    await (i % 2 ? one : other).perform(sid, { verb: "set", session: session(i) }, { token: i % 3 === 0 });
    if (i % 5 === 0) await one.perform(sid, { verb: "delete", token: 0n }, plain);
  }
  if (!complete) await site!.look(({ legacy }) => legacy.set("of L alone", session(0)));
  const all = [...sids, "of L alone"];
  await one.flush();
  for (const node of [one, other]) expect(await node.read(all, plain)).toEqual(all.map(() => null));
  if (!complete) {
    const left = await site!.look(({ legacy }) => Promise.all(all.map((sid) => legacy.get(sid))));
    expect(left.filter((found) => found !== null)).toEqual([]);
  }
  for (const node of [one, other]) {
    expect(await node.perform("afterwards", { verb: "set", session: session(1) }, plain)).toMatchObject({
      result: "done",
    });
    expect((await other.read(["afterwards"], plain))[0]).toMatchObject({ flags: 1 });
  }
}
