import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { LEGACY_NAMES, openPlainStore, seed } from "../../src/demo/legacy.js";
import { loadPeer, type PlainStore } from "../../src/demo/peers.js";
import { openPlainRedis, type PlainRedis } from "../../src/demo/plain-redis.js";
import { formatProof, type ProofInput, type ProofLine, prove } from "../../src/demo/proof.js";
import { type QuietSession, quietSessions } from "../../src/demo/quiet.js";
import { Account, Truth } from "../../src/demo/truth.js";
import { type RunningServer, startMemcached, startPostgres, startRedis } from "../../src/servers/index.js";

interface Raw {
  connect(): Promise<unknown>;
  flushAll(): Promise<unknown>;
  set(key: string, value: string): Promise<unknown>;
  pExpireAt(key: string, at: number): Promise<unknown>;
  del(key: string): Promise<unknown>;
  persist(key: string): Promise<unknown>;
  close(): Promise<void>;
}

let redisServer: RunningServer;
let legacyServer: RunningServer;
let redis: PlainRedis;
let raw: Raw;
let legacy: { store: PlainStore; close(): Promise<void> };

beforeAll(async () => {
  [redisServer, legacyServer] = await Promise.all([startRedis(), startPostgres()]);
  redis = await openPlainRedis(redisServer.url);
  const { createClient } = await loadPeer<{ createClient(options: unknown): Raw }>("redis", "redis");
  raw = createClient({ url: redisServer.url });
  await raw.connect();
  legacy = await openPlainStore("postgres", legacyServer.url);
});
afterAll(async () => {
  await Promise.all([redis?.close(), raw?.close(), legacy?.close()]);
  await Promise.all([redisServer?.stop(), legacyServer?.stop()]);
});

const SOON = Date.now() + 1_800_000;
let input: ProofInput & { truth: Truth; quiet: QuietSession[] };
let alive: Account;
let ended: Account;

/** A world in which the migration went well. */
beforeEach(async () => {
  await raw.flushAll();
  const truth = new Truth();
  truth.judged = 10;
  for (let i = 0; i < 5; i++) {
    const account = new Account(`u${i}`, `connect.sid=s%3Alive${i}.signature`);
    const cart = { version: 1, items: [`i${i}`] };
    account.adding(`i${i}`);
    account.added(`i${i}`, cart);
    account.renewed(0, 1, SOON);
    truth.accounts.push(account);
    await raw.set(`sess:live${i}`, JSON.stringify({ cookie: {}, user: `u${i}`, cart }));
    await raw.pExpireAt(`sess:live${i}`, SOON + 400);
  }
  alive = truth.accounts[0]!;
  ended = new Account("gone", "connect.sid=s%3Agone.signature");
  ended.state = "ended";
  ended.endedAt = SOON - 10_000;
  truth.accounts.push(ended);
  const quiet = quietSessions(50);
  for (const { sid, value, expiresAt } of quiet) {
    await raw.set(`sess:${sid}`, value);
    await raw.pExpireAt(`sess:${sid}`, expiresAt - 900);
  }
  await raw.set("{sessionferry}:seal", "complete");
  input = { truth, quiet, redis, legacy: { name: "postgres", store: legacy.store }, handedOverAt: SOON };
});

const failing = (lines: ProofLine[]) =>
  lines.filter((line) => !line.ok).map((line) => `${line.claim}: ${line.figures}`);

test("all lines hold when all went well", async () => {
  const lines = await prove(input);
  expect(failing(lines)).toEqual([]);
  expect(lines).toHaveLength(10);
  expect(formatProof(lines)).toMatch(/^ok {6}5 live sessions are in Redis with the cart last acknowledged: all\n/);
});

const goneSession = { cookie: { originalMaxAge: null }, user: "gone", cart: { version: 0, items: [] } };
const faults: Record<string, [plant: () => unknown, ...lines: RegExp[]]> = {
  "a live session is absent": [
    () => raw.del("sess:live0"),
    /live sessions are in Redis.*1 absent/,
    /expire when.*1 absent/,
  ],
  "a cart lost an item": [
    () => alive.adding("more") ?? alive.added("more", { version: 2, items: ["i0", "more"] }),
    /live sessions.*1 with another cart/,
  ],
  "a cart belongs to somebody else": [
    async () => {
      await raw.set("sess:live0", JSON.stringify({ user: "u1", cart: { version: 1, items: ["i0"] } }));
      await raw.pExpireAt("sess:live0", SOON);
    },
    /live sessions.*1 with another cart/,
  ],
  "a live session expires too early": [() => raw.pExpireAt("sess:live0", SOON - 1500), /told.*1 too early/],
  "a live session expires too late": [() => raw.pExpireAt("sess:live0", SOON + 1500), /told.*1 too late/],
  "a live session never expires": [() => raw.persist("sess:live0"), /told.*1 too late/],
  "a logged-out session is in Redis": [
    () => raw.set("sess:gone", JSON.stringify(goneSession)),
    /dead in Redis: 1 alive/,
    /1 that nobody knows/,
  ],
  "a logged-out session is in the legacy store": [
    () => new Promise((resolve) => legacy.store.set("gone", goneSession, resolve)),
    /dead in PostgreSQL too: 1 alive/,
  ],
  "a quiet session is absent": [
    () => raw.del(`sess:${input.quiet[0]!.sid}`),
    /unchanged: 1 absent/,
    /as before.*1 absent/,
  ],
  "a quiet session was altered": [
    () => input.quiet.splice(3, 1, { ...input.quiet[3]!, value: JSON.stringify({ user: "other" }) }),
    /unchanged: 1 altered/,
  ],
  "a quiet session expires too early": [
    () => raw.pExpireAt(`sess:${input.quiet[4]!.sid}`, input.quiet[4]!.expiresAt - 5000),
    /as before.*1 too early/,
  ],
  "a quiet session expires too late": [
    () => raw.pExpireAt(`sess:${input.quiet[4]!.sid}`, input.quiet[4]!.expiresAt + 5000),
    /as before.*1 too late/,
  ],
  "a session that nobody knows": [() => raw.set("sess:stranger", "{}"), /1 that nobody knows/],
  "a mark that was left": [() => raw.set("{sessionferry}:dirty", "x"), /1 marks/],
  "a stale read": [() => input.truth.fault("stale", "GET /cart"), /1 stale/],
  "somebody was logged out": [() => input.truth.fault("lost", "GET /cart"), /1 logged out/],
  "a logged-out session answered": [() => input.truth.fault("resurrected", "GET /cart"), /1 resurrected/],
  "a request failed": [() => input.truth.fault("failed", "POST /cart"), /1 failed/],
  "no session was logged out": [
    () => {
      ended.state = "ending";
    },
    /dead in Redis: nothing to compare/,
    /dead in PostgreSQL too: nothing to compare/,
  ],
  "no quiet sessions": [
    () => input.quiet.splice(0),
    /unchanged: nothing/,
    /as before.*nothing/,
    /50 that nobody knows/,
  ],
};

for (const [name, [plant, ...expected]] of Object.entries(faults)) {
  test(`the proof fails when ${name}, and by that line alone`, async () => {
    try {
      await plant();
      const found = failing(await prove(input));
      expect(found).toHaveLength(expected.length);
      for (const line of expected) expect(found.some((each) => line.test(each))).toBe(true);
    } finally {
      await new Promise((resolve) => legacy.store.destroy("gone", resolve));
    }
  });
}

test("what nobody can know is tolerated both ways", async () => {
  input.truth.cutOff = 2;
  input.truth.cutOffLogins = 1;
  await raw.set("sess:orphan", "{}");
  alive.adding("cut off");
  expect(failing(await prove(input))).toEqual([]);
  ended.endedAt = input.handedOverAt - 1;
  await new Promise((resolve) => legacy.store.set("gone", goneSession, resolve));
  const lines = await prove(input);
  await new Promise((resolve) => legacy.store.destroy("gone", resolve));
  expect(failing(lines)).toEqual([expect.stringMatching(/dead in PostgreSQL too: nothing to compare/)]);
});

for (const name of LEGACY_NAMES) {
  test(`quiet sessions are written to ${name} as its old application would have`, async () => {
    const server = name === "postgres" ? legacyServer : await startMemcached();
    const quiet = quietSessions(700);
    await seed(name, server.url, quiet);
    const { store, close } = await openPlainStore(name, server.url);
    for (const { sid, value } of quiet) {
      const found = await new Promise((resolve, reject) =>
        store.get(sid, (error, session) => (error ? reject(error) : resolve(session))),
      );
      expect(JSON.stringify(found)).toBe(value);
    }
    await close();
    await expect(seed(name, server.url, quiet)).rejects.toMatchObject({ code: "GUARD_REFUSED" });
    if (server !== legacyServer) await server.stop();
  });
}
