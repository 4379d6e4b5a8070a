/** R for a pool: v belongs to one server, and to whoever comes by another it is as if it were not there (common.lua). */
import type { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { ALL_BUCKETS, bucketOf } from "../../src/core/cohort.js";
import { IdSource, newGeneration, newNodeId, newToken } from "../../src/core/ids.js";
import { located, serverOf } from "../../src/core/place.js";
import type { Sid } from "../../src/core/session.js";
import type { RedisRecords } from "../../src/ports/redis-records.js";
import { later } from "../contract/redis-records.js";
import { Bench } from "./redis-support.js";

const SERVERS = 70;
const bench = new Bench();
const ids = new IdSource(newNodeId());
let r: RedisRecords;
let plain: Redis;
let count = 0;
/** One session, by three servers. */
let [here, there, third]: Sid[] = [];
let rest = "";

beforeAll(async () => {
  const server = await bench.start();
  r = await bench.open(server.url, { items: { flags: 1, servers: SERVERS } });
  plain = bench.plain(server.url);
});
afterAll(() => bench.clear());

beforeEach(async () => {
  rest = `session-${++count}`;
  [here, there, third] = [0, 1, SERVERS - 1].map((server) => located(server, rest));
  r.generation = newGeneration();
  await r.drop(ALL_BUCKETS);
  await r.arm(r.generation, "active");
});

const session = (text: string) => ({ ...later(text), flags: 1 });
const copy = async (sid: Sid, text: string) => {
  const [answer] = await r.leaseMany([sid], [ids.next()]);
  if (answer?.state !== "leased") throw new Error(`the copy met ${answer?.state}`);
  expect(await r.fill(sid, answer.lease, session(text))).toBe(true);
};
const hit = async (sid: Sid) => {
  const answer = await r.read(sid, ids.next());
  return answer.from === "R" ? (answer.session?.value.toString() ?? null) : answer;
};
const lease = async (sid: Sid) => {
  const answer = await r.read(sid, ids.next());
  if (answer.from !== "L" || answer.lease === null) throw new Error("no lease was given");
  return answer.lease;
};
const indexed = async () => (await plain.zrange("sf:shop:dirty", "0", "-1")).sort();
const touched = (sid: Sid, known = false) =>
  r.openIf(sid, ids.next(), "R", { verb: "touch", expiresAt: Date.now() + 60_000 }, null, known, ids.next());

it("puts a session into its bucket wherever a client looks for it, and no server's number into its key", async () => {
  expect(new Set([rest, here!, there!, third!].map(bucketOf)).size).toBe(1);
  await copy(third!, "a");
  expect((await plain.keys("sess:*")).map(String)).toEqual([`sess:${rest}`]);
  expect(await plain.pexpiretime(`sf:shop:i:sess:${rest}`)).toBe(await plain.pexpiretime(`sess:${rest}`));
  const listed: Sid[] = [];
  for await (const page of r.listRecords({ pageSize: 10 })) listed.push(...page);
  expect(listed).toEqual([third]);
  await r.clearItems();
  expect(await plain.keys("*")).toEqual(expect.arrayContaining([`sess:${rest}`, "sf:shop:seal"]));
  expect(await plain.dbsize()).toBe(2);
});

it("answers a copy from one server to nobody who comes by another, who may fill R with what is there", async () => {
  await copy(here!, "old");
  const granted = await lease(there!);
  expect(await hit(here!)).toBe("old");
  expect((await r.view([there!]))[0]).toMatchObject({ session: null, mark: "lease" });
  // There is nothing there: the copy stays for whoever is right to see it.
  expect(await r.fill(there!, granted, null)).toBe(true);
  expect(await hit(here!)).toBe("old");
  expect(await r.fill(there!, await lease(there!), session("living"))).toBe(true);
  expect(await hit(there!)).toBe("living");
  expect(await hit(here!)).toMatchObject({ from: "L" });
  // A further copy of the old one finds that R has the session.
  expect(await r.leaseMany([here!], [ids.next()])).toEqual([{ state: "hit" }]);
  // Where R alone is the truth there is one session.
  expect((await r.readAlone(here!))?.value.toString()).toBe("living");
});

it("lets no verb be decided by what belongs to another server, unless R is ahead or alone", async () => {
  await copy(here!, "old");
  expect(await touched(there!)).toEqual({ answer: "unknown" });
  const add = { verb: "add", session: session("new") } as const;
  expect(await r.openIf(there!, ids.next(), "R", add, null, false, ids.next())).toEqual({ answer: "unknown" });
  const granted = await lease(there!);
  const added = await r.openIf(there!, ids.next(), "R", add, granted, false, ids.next());
  expect(added).toMatchObject({ answer: "R", result: { result: "done" } });
  expect(await hit(there!)).toBe("new");
  // Dirty for one server: what the others hold is not behind R.
  expect(await hit(here!)).toEqual({ from: "L", lease: null });
  expect(await touched(third!)).toEqual({ answer: "unknown" });
  await r.open(third!, ids.next(), "R", session("by the third"), ids.next());
  expect([await hit(there!), await hit(third!)]).toEqual(["by the third", "by the third"]);
  expect(await r.gets(here!, "L", ids.next(), false, newToken())).toEqual({ from: "L", lease: null });
  expect(await r.gets(there!, "L", ids.next(), false, newToken())).toEqual({ from: "dirty" });
  await copy(located(0, "another"), "old");
  expect(await touched(located(1, "another"), true)).toMatchObject({ answer: "R", result: { result: "done" } });
});

it("keeps the server through every change of the value, and gives the session to who changed it last", async () => {
  await copy(here!, "1");
  await r.gets(here!, "R", ids.next(), false, newToken());
  const verbs = [
    { verb: "append", data: Buffer.from("0"), token: 0n },
    { verb: "incr", by: 5n, initial: null, token: 0n },
    { verb: "append", data: Buffer.from("0"), token: 0n, newToken: newToken() },
  ] as const;
  for (const verb of verbs) await r.openIf(here!, ids.next(), "R", verb, null, false, ids.next());
  expect(await plain.get(`sess:${rest}`)).toBe("150");
  expect((await r.dirtyRecords([here!]))[0]).toMatchObject({ session: { flags: 1 } });
  await r.open(there!, ids.next(), "R", session("200"), ids.next());
  await r.openIf(here!, ids.next(), "R", verbs[0], null, false, ids.next());
  // Both have written it, so both get it.
  const values = (await r.dirtyRecords([here!, there!])).map((record) => record.session?.value.toString());
  expect(values).toEqual(["2000", "2000"]);
});

it("keeps nothing of a touch that another server answered", async () => {
  await copy(here!, "old");
  const intent = ids.next();
  const touch = { verb: "touch", expiresAt: Date.now() + 60_000 } as const;
  expect(await r.openIf(there!, intent, "L", touch, null, false, ids.next())).toEqual({ answer: "L" });
  await r.close(there!, intent, { kind: "keep", expiresAt: touch.expiresAt });
  expect(await plain.exists(`sess:${rest}`)).toBe(0);
  await copy(here!, "old");
  const mine = ids.next();
  await r.openIf(here!, mine, "L", touch, null, false, ids.next());
  await r.close(here!, mine, { kind: "keep", expiresAt: touch.expiresAt });
  expect(await hit(here!)).toBe("old");
});

it("is dirty until every server is level with R", async () => {
  await r.open(here!, ids.next(), "R", session("first"), ids.next());
  await r.open(there!, ids.next(), "R", session("second"), ids.next());
  expect(await indexed()).toEqual([here, there].sort());
  const [old, living] = await r.dirtyRecords([here!, there!]);
  expect([old, living].map((record) => record!.session?.value.toString())).toEqual(["second", "second"]);
  expect(await r.undirty([{ sid: here!, nonce: old!.nonce!, seen: old!.seen }])).toEqual([true]);
  expect(await indexed()).toEqual([there]);
  expect((await r.view([there!]))[0]).toMatchObject({ mark: "dirty" });
  expect(await r.undirty([{ sid: there!, nonce: living!.nonce!, seen: living!.seen }])).toEqual([true]);
  expect(await indexed()).toEqual([]);
  expect((await r.view([there!]))[0]).toMatchObject({ mark: "none" });
});

it("does not forget which servers are behind after a destroy", async () => {
  await r.open(third!, ids.next(), "R", session("first"), ids.next());
  await r.open(here!, ids.next(), "R", null, ids.next());
  expect(await indexed()).toEqual([here, third].sort());
  const [destroyed] = await r.dirtyRecords([here!]);
  expect(await r.undirty([{ sid: here!, nonce: destroyed!.nonce!, seen: destroyed!.seen }])).toEqual([true]);
  // The other server still holds the session: nobody may read it there.
  expect(await hit(third!)).toBeNull();
  expect((await r.dirtySids(10)).map(serverOf)).toEqual([SERVERS - 1]);
});

it("mends a broken sidecar of a dirty session without a look at the server", async () => {
  await r.open(there!, ids.next(), "R", session("ahead"), ids.next());
  await plain.set(`sf:shop:s:sess:${rest}`, "broken");
  expect((await r.view([there!]))[0]).toMatchObject({ mark: "dirty" });
  expect(await hit(there!)).toBe("ahead");
  expect(await indexed()).toEqual([there]);
});
