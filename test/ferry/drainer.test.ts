import { expect, test, vi } from "vitest";
import type { Position } from "../../src/core/phase.js";
import type { Sid } from "../../src/core/session.js";
import { FerryError } from "../../src/errors.js";
import { drain } from "../../src/ferry/drain.js";
import { drainIndex } from "../../src/ferry/drainer.js";
import { Ferry } from "../../src/ferry/ferry.js";
import { type ConditionalChange, LegacyUnreachable, OutcomeUnknown } from "../../src/ports/legacy-store.js";
import { RedisLost, type RedisRecords } from "../../src/ports/redis-records.js";
import type { MemoryLegacyStore } from "../../src/stores/legacy-memory.js";
import { rigAt, sessionOf } from "../support/rig.js";

/** A Redis that nobody has sealed yet, or that is away. */
const UNSEALED = new Proxy({} as RedisRecords, {
  get: () => async () => {
    throw new RedisLost("no seal");
  },
});

/** Every process logged "drain failed" once a second in legacy, and while it waited for a Redis to be sealed. */
test.each<[Position, boolean]>([
  [{ phase: "legacy", percent: 100 }, false],
  [{ phase: "dual-write", percent: 10 }, false],
  [{ phase: "dual-write", percent: 100 }, false],
  [{ phase: "read-through", percent: 100 }, false],
  [{ phase: "redis-first", percent: 1 }, true],
  [{ phase: "full-redis", percent: 100 }, true],
])("at %o a drain asks Redis: %s", async (position, asks) => {
  const { ferry } = await rigAt(position);
  const drained = drainIndex({ ...ferry.ctx, records: UNSEALED });
  if (asks) await expect(drained).rejects.toThrow(RedisLost);
  else expect(await drained).toBe(0);
});

test("a drain of any size comes to an end where marks were lost, and drains the rest", async () => {
  const { ferry, records, legacy, clock } = await rigAt({ phase: "full-redis", percent: 100 });
  const sids = Array.from({ length: 600 }, (_, i) => `sid-${i}`);
  const session = { value: Buffer.from("{}"), flags: 0, expiresAt: clock.now() + 1_000_000 };
  for (const sid of sids) await ferry.set(sid, session);
  for (const sid of sids) if (Number(sid.slice(4)) % 2 === 0) records.loseMark(sid);
  // What is found without a mark is dirty again, and is drained with the next ones.
  for (let turns = 0; (await records.dirtyState()).count > 0; turns++) {
    expect(turns).toBeLessThan(20);
    await drainIndex(ferry.ctx);
  }
  for (const sid of sids) expect(legacy.peek(sid)).not.toBeNull();
});

test("a drain of an index that others fill as fast as it is drained ends when it is told to", async () => {
  const { ferry, records, clock } = await rigAt({ phase: "full-redis", percent: 100 });
  let written = 0;
  const session = { value: Buffer.from("{}"), flags: 0, expiresAt: clock.now() + 1_000_000 };
  const busy = new Proxy(records, {
    get(_, name) {
      if (name !== "dirtySids") return Reflect.get(records, name).bind(records);
      return async (limit: number) => {
        await ferry.set(`sid-${written++}`, session);
        return records.dirtySids(limit);
      };
    },
  });
  // Asked before each batch: what the last window named is left.
  expect(await drainIndex({ ...ferry.ctx, records: busy }, undefined, () => written < 20)).toBe(19);
});

test("a drain asks for another window only at its end, or once somebody else was faster", async () => {
  const { ferry, records, legacy, clock } = await rigAt({ phase: "full-redis", percent: 100 });
  const session = { value: Buffer.from("{}"), flags: 0, expiresAt: clock.now() + 1_000_000 };
  const fill = async () => {
    for (let i = 0; i < 400; i++) await ferry.set(`sid-${i}`, session);
  };
  let windows = 0;
  let isOther = false;
  const counting = new Proxy(records, {
    get(_, name) {
      if (name !== "dirtySids") return Reflect.get(records, name).bind(records);
      return async (limit: number) => {
        windows++;
        const window = await records.dirtySids(limit);
        // Another process takes the newest half of what this one is about to take.
        if (isOther) await ferry.drain(window.slice(window.length / 2));
        return window;
      };
    },
  });
  await fill();
  expect(await drainIndex({ ...ferry.ctx, records: counting })).toBe(400);
  // Two full ones, and an empty one that ends it.
  expect(windows).toBe(3);

  await fill();
  windows = 0;
  isOther = true;
  await drainIndex({ ...ferry.ctx, records: counting });
  expect(windows).toBeGreaterThan(3);
  expect((await records.dirtyState()).count).toBe(0);
  for (let i = 0; i < 400; i++) expect(legacy.peek(`sid-${i}`)).not.toBeNull();
});

test("what the legacy store never takes keeps nobody else from it, be it the oldest hundreds", async () => {
  const { ferry, legacy, clock } = await rigAt({ phase: "full-redis", percent: 100 });
  const session = (value: string) => ({ value: Buffer.from(value), flags: 0, expiresAt: clock.now() + 1_000_000 });
  for (let i = 0; i < 400; i++) await ferry.set(`never-${i}`, session("never"));
  for (let i = 0; i < 400; i++) await ferry.set(`sid-${i}`, session("taken"));
  const choosy = new Proxy(legacy, {
    get(_, name) {
      if (name !== "applyIf") return Reflect.get(legacy, name)?.bind(legacy);
      return async (changes: readonly ConditionalChange[]) => {
        const taken = changes.filter(({ session }) => session?.value.toString() !== "never");
        const applied = await legacy.applyIf(taken);
        return changes.map((change) => (taken.includes(change) ? applied[taken.indexOf(change)]! : "refused"));
      };
    },
  });
  let drained = 0;
  for (let turns = 0; drained < 400; turns++) {
    expect(turns).toBeLessThan(20);
    drained += await drainIndex({ ...ferry.ctx, legacy: choosy });
  }
  for (let i = 0; i < 400; i++) expect(legacy.peek(`sid-${i}`)).not.toBeNull();
  expect(legacy.peek("never-0")).toBeNull();
});

/** L as several servers, of which each has the sids that begin with its name; some of them fail. */
function onServers(legacy: MemoryLegacyStore, fails: (server: string) => Promise<void> | null): MemoryLegacyStore {
  const servers = new Map<string, { name: string }>();
  const serverOf = (sid: Sid) => {
    const name = sid.split("-")[0]!;
    if (!servers.has(name)) servers.set(name, { name });
    return servers.get(name)!;
  };
  return new Proxy(legacy, {
    get(_, name) {
      if (name === "serverOf") return serverOf;
      if (name !== "tokens") return Reflect.get(legacy, name)?.bind(legacy);
      return async (sids: readonly Sid[]) => {
        await Promise.all([...new Set(sids.map((sid) => serverOf(sid).name))].map(fails));
        return legacy.tokens(sids);
      };
    },
  });
}

const away = async () => {
  throw new LegacyUnreachable("away");
};

test("a server that is away keeps no session of another one from being drained, be thousands of its own in front", async () => {
  const { ferry, legacy, records, clock } = await rigAt({ phase: "full-redis", percent: 100 });
  const session = sessionOf(1, clock.now() + 1_000_000);
  for (let i = 0; i < 1_500; i++) await ferry.set(`bad-${i}`, session);
  for (let i = 0; i < 300; i++) await ferry.set(`good-${i}`, session);
  const asked = vi.fn((server: string) => (server === "bad" ? away() : null));
  const ctx = { ...ferry.ctx, legacy: onServers(legacy, asked) };
  let drained = 0;
  for (let turns = 0; drained < 300; turns++) {
    expect(turns).toBeLessThan(50);
    // As a process drains that looks after other things every two seconds, where each try of the bad one takes five.
    let asks = 0;
    drained += await drainIndex(ctx, undefined, () => asks++ < 4).catch(() => 0);
  }
  // Once in a while is enough for one that is away.
  expect(asked.mock.calls.filter(([server]) => server === "bad").length).toBe(1);
  expect((await records.dirtyState()).count).toBe(1_500);
  expect(await drainIndex(ctx)).toBe(0);
  clock.advance(10_000);
  await expect(drainIndex(ctx)).rejects.toThrow("away");
});

test("a server that hangs holds up no request that waits for another one's sessions", async () => {
  const { ferry, legacy, clock } = await rigAt({ phase: "redis-first", percent: 100 });
  const session = sessionOf(1, clock.now() + 1_000_000);
  let wake = () => {};
  const hanging = new Promise<void>((resolve) => {
    wake = resolve;
  });
  const ctx = { ...ferry.ctx, legacy: onServers(legacy, (server) => (server === "bad" ? hanging : null)) };
  const node = new Ferry(ctx);
  for (let i = 0; i < 20; i++) for (const server of ["bad", "good"]) await node.set(`${server}-${i}`, session);
  const held = Array.from({ length: 20 }, (_, i) => node.destroy(`bad-${i}`));
  await Promise.all(Array.from({ length: 20 }, (_, i) => node.destroy(`good-${i}`)));
  for (let i = 0; i < 20; i++) expect(legacy.peek(`good-${i}`)).toBeNull();
  wake();
  await Promise.all(held);
});

// Whoever puts a restarted Redis right waits for it, and drops the mark by which others would overwrite what comes late.
test("a session that is written during each drain of it is never behind for longer than since the last one", async () => {
  const { ferry, records, clock, legacy } = await rigAt({ phase: "redis-first", percent: 100 });
  const session = (text: string) => ({ value: Buffer.from(text), flags: 0, expiresAt: clock.now() + 1_000_000 });
  await ferry.set("hot", session("0"));
  const writing = new Proxy(legacy, {
    get(_, name) {
      if (name !== "applyIf") return Reflect.get(legacy, name)?.bind(legacy);
      return async (changes: readonly ConditionalChange[]) => {
        await ferry.set("hot", session(`${changes[0]!.session!.value}1`));
        return legacy.applyIf(changes);
      };
    },
  });
  for (let round = 0; round < 5; round++) {
    await clock.sleep(1_000);
    const outcomes = await drain({ ...ferry.ctx, legacy: writing }, ["hot"]);
    expect(outcomes).toEqual(["outrun"]);
    expect(await records.dirtyState()).toEqual({ count: 1, oldestAge: 0 });
  }
  expect(await drain(ferry.ctx, ["hot"])).toEqual(["carried"]);
});

test("a drain is under way as long as its write may take effect", async () => {
  const { ferry, legacy, clock } = await rigAt({ phase: "redis-first", percent: 100 });
  await ferry.set("one", sessionOf(1, clock.now() + 60_000));
  let ends = () => {};
  const settled = new Promise<void>((resolve) => {
    ends = resolve;
  });
  vi.spyOn(legacy, "applyIf").mockRejectedValueOnce(new OutcomeUnknown("no reply", settled));
  await expect(ferry.drain(["one"])).rejects.toThrow("no reply");
  expect(ferry.ctx.routing.inFlight).toBe(1);
  ends();
  await settled;
  await Promise.resolve();
  expect(ferry.ctx.routing.inFlight).toBe(0);
});

/** Of two servers one serves nobody, and the other those that are behind it. */
test.each([
  ["is away", new LegacyUnreachable("away")],
  ["shows a certificate that has expired", new FerryError("AUTHENTICATION_FAILED", "not trusted")],
])("a server that %s keeps nothing from another, be it the oldest tens of thousands", async (_what, failure) => {
  const { ferry, records, legacy, clock } = await rigAt({ phase: "full-redis", percent: 100 });
  const session = { value: Buffer.from("{}"), flags: 0, expiresAt: clock.now() + 1_000_000 };
  for (let i = 0; i < 30_000; i++) await ferry.set(`away-${i}`, session);
  for (let i = 0; i < 100; i++) await ferry.set(`there-${i}`, session);
  const [away, there] = [{}, {}];
  const isAway = (sid: Sid) => sid.startsWith("away");
  const servers = new Proxy(legacy, {
    get(_, name) {
      if (name === "serverOf") return (sid: Sid) => (isAway(sid) ? away : there);
      if (name !== "tokens") return Reflect.get(legacy, name)?.bind(legacy);
      return async (sids: readonly Sid[]) => {
        if (sids.some(isAway)) throw failure;
        return legacy.tokens(sids);
      };
    },
  });
  expect(await drainIndex({ ...ferry.ctx, legacy: servers }).catch(() => 0)).toBe(100);
  expect((await records.dirtyState()).count).toBe(30_000);
});
