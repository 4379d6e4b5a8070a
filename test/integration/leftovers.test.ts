/** What nobody would ever clear away in Redis: names in the dirty index without a mark, intents of nodes that are gone. */
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterEach, expect, test } from "vitest";
import { bucketOf } from "../../src/core/cohort.js";
import { IdSource, newNodeId, nodeOf } from "../../src/core/ids.js";
import type { PhaseName, Position } from "../../src/core/phase.js";
import { sweepUnregistered } from "../../src/ferry/sweep.js";
import type { Point } from "../../src/ports/observer.js";
import { FerryNode } from "../../src/runtime/node.js";
import { FaultyLink } from "../support/faulty-link.js";
import { Signal, until } from "../support/processes.js";
import { LEGACY, Site } from "./site.js";

const at = (phase: PhaseName, percent = 100): Position => ({ phase, percent });
const sessionOf = (text: string, life = 3_600_000) => {
  return { value: Buffer.from(JSON.stringify({ text })), flags: 0, expiresAt: Date.now() + life };
};

let site: Site;
let node: FerryNode;
let plain: Redis;
const endings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  plain?.disconnect();
  await site?.close();
  for (const end of endings.splice(0)) await end();
});

/** Nothing is drained but by the steps. */
async function open(phase: PhaseName): Promise<void> {
  site = await Site.open({
    ...{ legacy: "postgres", control: "legacy", start: at(phase) },
    config: { timeouts: { drain: "5s", acknowledge: "5s" }, drain: { every: "1m" } },
  });
  plain = new Redis(site.redis.url);
  node = await site.join();
}

const keyOf = (kind: string) => `sf:${site.config.migration}:${kind}`;
async function loseMarks(...sids: string[]): Promise<void> {
  const sides = (await plain.keys(keyOf("s:*"))).filter((key) => sids.some((sid) => key.endsWith(`:${sid}`)));
  expect(await plain.del(...sides)).toBe(sids.length);
}
const held = (sid: string) => site.look(({ legacy }) => legacy.get(sid));

// A node died while Redis was away, so that nobody could sweep what it had left there; then all went back to legacy.
test("the first step out of legacy clears Redis of what was left there, whosever sessions move", async () => {
  await open("legacy");
  const sid = Array.from({ length: 100 }, (_, i) => `left-${i}`).find((name) => bucketOf(name) >= 1_000)!;
  const ids = new IdSource(newNodeId());
  const left = () => site.look(({ records }) => records.view([sid]));
  await site.look(({ records }) => records.open(sid, ids.next(), "L", null, ids.next()));
  expect(await left()).toMatchObject([{ mark: "intents" }]);
  await site.moveTo(at("dual-write", 10));
  expect(await left()).toMatchObject([{ mark: "none", session: null }]);
});

test("a step down does not wait for what lost its mark, and carries it over", async () => {
  await open("full-redis");
  const { ferry, legacy, ctx } = node;
  for (const sid of ["written", "gone"]) await ferry.set(sid, sessionOf("old"));
  await ferry.drain(["written", "gone"]);
  await ferry.set("written", sessionOf("new"));
  await ferry.destroy("gone");
  await ferry.set("brief", sessionOf("brief", 300));
  await loseMarks("written", "gone", "brief");
  await until("one has run out", async () => (await ctx.records.readAlone("brief")) === null);
  expect(await plain.zcard(keyOf("dirty"))).toBe(3);
  expect((await legacy.get("gone"))?.value.toString()).toContain("old");

  await site.moveTo(at("redis-first"));
  await site.moveTo(at("read-through"));
  expect(await plain.exists(keyOf("dirty"))).toBe(0);
  expect((await held("written"))?.value.toString()).toContain("new");
  expect(await held("gone")).toBeNull();
}, 60_000);

test("a drain of names without marks comes to an end", async () => {
  await open("redis-first");
  await node.ferry.set("one", sessionOf("one"));
  await loseMarks("one");
  await plain.del(...(await plain.keys("*:one")));
  await site.settle();
  expect(await plain.exists(keyOf("dirty"))).toBe(0);
}, 60_000);

test("an intent of a node that nobody knows is withdrawn by the step that would wait for it, behind PostgreSQL", async () => {
  await open("redis-first");
  const ids = new IdSource(newNodeId());
  const { records, ferry } = node;
  await ferry.set("kept", sessionOf("kept"));
  expect(await records.open("stray", ids.next(), "L", sessionOf("stray"), ids.next())).toBe("L");

  // What memcached has of that node nobody can tell.
  const stores = {
    control: node.control,
    records,
    legacy: Object.assign(Object.create(node.legacy), { kind: "memcached" }),
  };
  expect(await sweepUnregistered(stores, [node.id, ids.node])).toEqual([ids.node]);
  expect((await records.view(["stray"]))[0]!.intents.map(nodeOf)).toEqual([ids.node]);

  await site.moveTo(at("full-redis"));
  expect((await records.view(["stray"]))[0]!.intents).toEqual([]);
  expect((await ferry.get("kept"))?.value.toString()).toContain("kept");

  expect(await records.open("other", ids.next(), "L", null, ids.next())).toBe("L");
  expect(await sweepUnregistered(stores, [ids.node], true)).toEqual([]);
  expect((await records.view(["other"]))[0]!.intents).toEqual([]);
}, 60_000);

test("an intent that its living node does not have under way is withdrawn by that step, and no other", async () => {
  await open("redis-first");
  const { records, ferry, ctx } = node;
  // As a restart leaves it that takes Redis back to before the close.
  for (const sid of ["stray", "busy"]) {
    await ferry.set(sid, sessionOf("old"));
    await ferry.drain([sid]);
    expect(await records.open(sid, ctx.ids.next(), "L", null, ctx.ids.next())).toBe("L");
  }
  const [opened, goOn] = [new Signal(), new Signal()];
  const holding = {
    event() {},
    at: async (point: Point) => {
      if (point !== "write:opened") return;
      opened.tell();
      await goOn.told();
    },
  };
  const slow = await site.join(holding);
  // Begun when everybody has acknowledged the step, so that it is not what the step's own barrier waits for. It takes longer
  // than a request may.
  const acknowledged = {
    event() {},
    at: async (point: Point) => {
      if (point !== "transition:acknowledged") return;
      const behind = opened.told();
      slow.ferry.set("busy", sessionOf("new")).catch(() => {});
      await behind;
    },
  };
  const step = site.command((coordinator) => coordinator.moveTo(at("full-redis"), "test"), acknowledged);
  await expect(step).rejects.toMatchObject({
    code: "TRANSITION_PENDING",
    message: expect.stringContaining("no-intents"),
  });
  expect((await records.view(["busy"]))[0]!.intents.length).toBe(2);
  goOn.tell();
  await site.moveTo(at("full-redis"));
  expect((await records.view(["stray", "busy"])).map(({ intents }) => intents)).toEqual([[], []]);
  expect((await ferry.get("busy"))?.value.toString()).toContain("new");
  expect((await ferry.get("stray"))?.value.toString()).toContain("old");
}, 90_000);

/** What a test breaks between one process and Redis. */
async function behindALink(): Promise<FaultyLink> {
  site = await Site.open({ legacy: "postgres", control: "legacy", start: at("dual-write") });
  plain = new Redis(site.redis.url);
  const link = await FaultyLink.open(site.redis);
  endings.push(() => link.close());
  const redis = { ...site.config.redis, url: link.via(site.redis.url) };
  node = await FerryNode.open({ ...site.config, redis }, { role: "app" });
  site.nodes.push(node);
  return link;
}

const intents = async () => (await plain.keys(keyOf("s:*"))).length;

test.each([
  ["into the part of a ramp that the legacy store alone has", [at("dual-write", 10)]],
  ["to legacy and up again", [LEGACY, at("dual-write", 10), at("dual-write")]],
])(
  "an open that Redis gets late, after a way down %s, leaves no intent for good",
  async (_, way) => {
    const link = await behindALink();
    const sid = Array.from({ length: 100 }, (_, i) => `late-${i}`).find((each) => bucketOf(each) >= 1_000)!;
    link.cut("there");
    await node.ferry.set(sid, sessionOf("late"));
    for (const position of way) await site.moveTo(position);
    expect(await intents()).toBe(0);
    link.heal();
    // Bytes take milliseconds on loopback.
    await delay(1_000);
    await until("no intent stands", async () => (await intents()) === 0, 5_000);
  },
  60_000,
);
