import fc from "fast-check";
import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ID_LENGTH, IdSource, newNodeId, newToken } from "../../src/core/ids.js";
import type { Session } from "../../src/core/session.js";
import type { RedisRecords } from "../../src/ports/redis-records.js";
import { type RunningServer, startRedis } from "../../src/servers/index.js";
import { openRecords, plainClient } from "../stores/redis-support.js";
import { assertEnds, SECRETS, Unheard } from "./judge.js";
import { PATIENCE, runs } from "./runs.js";

const GENERATION = "0123456789abcdef";
const SID = `sid-${SECRETS.sid}`;
const OTHER = `${SID}-2`;
const KEYS = { own: `sess:${SID}`, side: `sf:shop:s:sess:${SID}`, item: `sf:shop:i:sess:${SID}` } as const;
const SEAL = "sf:shop:seal";
const INDEX = "sf:shop:dirty";
const ids = new IdSource(newNodeId());
/** What R holds and L does not. */
const STALE = `stale ${SECRETS.value}`;
const session = (value: string = SECRETS.value): Session => ({
  value: Buffer.from(value),
  flags: 0,
  expiresAt: Date.now() + 3_600_000,
});
const WHOLE = new RegExp(`^(?:[LD][0-9a-z]{${ID_LENGTH}}|[IJ](?:[0-9a-z]{${ID_LENGTH}})+)$`);

type Broken = { readonly text: Buffer } | { readonly type: "hash" | "list" | "stream" };

/** Whether the value that was found with this sidecar may be a hit of those who do not know R for the truth. */
function mayHit(side: Broken | null, indexed: boolean): boolean {
  if (side === null || indexed) return true;
  if (!("text" in side)) return false;
  const text = side.text.toString("latin1");
  return text[0] === "D" || (WHOLE.test(text) && text[0] === "L");
}

type Verb = (records: RedisRecords) => Promise<unknown>;
/** Those that do not know R for the truth; what they answer must be L's. */
const ASKING: Record<string, Verb> = {
  read: (records) => records.read(SID, ids.next()),
  readMany: (records) => records.readMany([OTHER, SID], [ids.next(), ids.next()]),
  copy: async (records) => {
    const [lease] = await records.leaseMany([SID], [ids.next()]);
    if (lease?.state === "leased") return records.fill(SID, lease.lease, session());
    return lease;
  },
  writeL: async (records) => {
    const intent = ids.next();
    const to = await records.open(SID, intent, "L", session(), ids.next());
    if (to === "L") await records.close(SID, intent, { kind: "value", session: session() });
    return to;
  },
  getsL: (records) => records.gets(SID, "L", ids.next(), false, newToken()),
  getsR: (records) => records.gets(SID, "R", ids.next(), false, newToken()),
  appendR: (records) =>
    records.openIf(
      SID,
      ids.next(),
      "R",
      { verb: "get-and-touch", expiresAt: Date.now() + 60_000, newToken: newToken() },
      null,
      false,
      ids.next(),
    ),
  view: async (records) => (await records.view([SID, OTHER])).filter(({ mark }) => mark === "none"),
};
const OTHERS: Record<string, Verb> = {
  writeR: (records) => records.open(SID, ids.next(), "R", session(), ids.next()),
  destroyR: (records) => records.open(SID, ids.next(), "R", null, ids.next()),
  known: (records) =>
    records.openIf(SID, ids.next(), "R", { verb: "touch", expiresAt: Date.now() + 60_000 }, null, true, ids.next()),
  incr: (records) =>
    records.openIf(SID, ids.next(), "R", { verb: "incr", by: 1n, initial: null, token: 0n }, null, true, ids.next()),
  append: (records) =>
    records.openIf(SID, ids.next(), "R", { verb: "append", data: Buffer.from("x"), token: 0n }, null, true, ids.next()),
  cas: (records) => records.performAlone(SID, { verb: "cas", session: session(), token: newToken() }),
  getsKnown: (records) => records.gets(SID, "R", ids.next(), true, newToken()),
  close: (records) => records.close(SID, ids.next(), { kind: "value", session: session() }),
  keep: (records) => records.close(SID, ids.next(), { kind: "keep", expiresAt: Date.now() + 60_000 }),
  withdraw: (records) => records.close(SID, ids.next(), { kind: "withdraw" }),
  fillMany: (records) => records.fillMany([OTHER, SID].map((sid) => ({ sid, lease: ids.next(), session: session() }))),
  mark: (records) => records.mark([OTHER, SID]),
  push: (records) => records.push([{ sid: SID, dirty: ids.next() }]),
  drain: async (records) => {
    const dirty = (await records.dirtyRecords([SID, OTHER])).flatMap(({ sid, nonce, seen }) =>
      nonce ? [{ sid, nonce, seen }] : [],
    );
    return records.undirty(dirty);
  },
  dirtySids: (records) => records.dirtySids(10),
  dirtyState: (records) => records.dirtyState(),
  readAlone: (records) => records.readAlone(SID),
  setAlone: (records) => records.setAlone(SID, session()),
  destroyAlone: (records) => records.destroyAlone(SID),
  listIntents: (records) => all(records.listIntents({ pageSize: 10 })),
  listMarked: (records) => all(records.listMarked({ pageSize: 10 })),
  listRecords: (records) => all(records.listRecords({ pageSize: 10 })),
};

/** They answer nothing. */
const VOID = new Set(["close", "keep", "withdraw", "mark", "push", "setAlone"]);

async function all(pages: AsyncIterable<unknown[]>): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const page of pages) found.push(...page);
  return found;
}

const id = () => ids.next();
const hostileText: fc.Arbitrary<Buffer> = fc.oneof(
  fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
  fc
    .tuple(fc.constantFrom(..."LDIJXld \0"), fc.uint8Array({ maxLength: 40 }))
    .map(([tag, bytes]) => Buffer.concat([Buffer.from(tag), bytes])),
  fc
    .tuple(fc.constantFrom(..."LDIJX"), fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: ID_LENGTH }))
    .map(([tag, count, cut]) => Buffer.from(tag + Array.from({ length: count }, id).join("") + id().slice(cut))),
  fc.constantFrom(..."LDIJX").map((tag) => Buffer.from(tag + "é".repeat(9))),
  fc.constantFrom(..."LDIJX").map((tag) => Buffer.from(tag.padEnd(300_000, "0123456789abcdefgh"))),
);
const broken: fc.Arbitrary<Broken> = fc.oneof(
  { weight: 6, arbitrary: hostileText.map((text) => ({ text })) },
  { weight: 1, arbitrary: fc.constantFrom("hash", "list", "stream").map((type) => ({ type }) as Broken) },
);
const own: fc.Arbitrary<Broken | null> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ text: Buffer.from(STALE) }) },
  { weight: 1, arbitrary: fc.constant(null) },
  { weight: 2, arbitrary: fc.constantFrom("hash", "list", "stream").map((type) => ({ type }) as Broken) },
);
const item: fc.Arbitrary<Broken | null> = fc.oneof(
  fc.constant(null),
  fc.uint8Array({ maxLength: 20 }).map((bytes) => ({ text: Buffer.from(bytes) })),
  fc.constantFrom("hash", "list").map((type) => ({ type }) as Broken),
);
const seal = fc.oneof(
  hostileText,
  fc.jsonValue().map((value) => Buffer.from(JSON.stringify(value))),
  fc
    .tuple(fc.constantFrom("generation", "run", "prefix", "state", "migration", "cut"), fc.jsonValue())
    .map(([name, value]) => {
      const whole = { generation: GENERATION, run: "x", prefix: "sess:", state: "active", migration: "shop" };
      const text = JSON.stringify({ ...whole, [name]: value });
      return Buffer.from(name === "cut" ? text.slice(0, 30) : text);
    }),
);

describe("what R holds for a session, broken by somebody else", () => {
  let server: RunningServer;
  let plain: Redis;
  let records: RedisRecords;
  const unheard = new Unheard();
  beforeAll(async () => {
    server = await startRedis();
    plain = plainClient(server.url);
    records = await openRecords(server.url, { items: { flags: 0 } });
    records.generation = GENERATION;
    unheard.listen();
  });
  afterAll(async () => {
    unheard.close();
    plain?.disconnect();
    await records?.end();
    await server?.stop();
  });

  async function put(key: string, what: Broken | null): Promise<void> {
    if (what === null) return;
    if ("text" in what) await plain.set(key, what.text);
    else if (what.type === "hash") await plain.hset(key, "a", STALE);
    else if (what.type === "list") await plain.lpush(key, STALE);
    else await plain.xadd(key, "*", "a", STALE);
  }

  async function furnish(state: { own: Broken | null; side: Broken | null; item?: Broken | null; indexed?: boolean }) {
    await plain.flushall();
    await records.arm(GENERATION, "active");
    await put(KEYS.own, state.own);
    await put(KEYS.side, state.side);
    await put(KEYS.item, state.item ?? null);
    if (state.indexed) await plain.zadd(INDEX, 1, SID);
  }

  /** Answers, and never by a value that L does not have. */
  async function ask(name: string, side: Broken | null, indexed: boolean): Promise<void> {
    const answer = await assertEnds((ASKING[name] ?? OTHERS[name])!(records), 10_000);
    await unheard.assertNone();
    // An error of the catalogue would do no harm, but nothing here is worth one.
    if (!VOID.has(name)) expect(answer, `${name} has an answer`).toBeDefined();
    if (!(name in ASKING) || mayHit(side, indexed)) return;
    const told = JSON.stringify(answer, (_, value) => {
      if (typeof value === "bigint") return String(value);
      return value?.type === "Buffer" ? Buffer.from(value.data).toString() : value;
    });
    expect(told ?? "").not.toContain(STALE);
    expect(told ?? "").not.toContain('"hit"');
  }

  /** Whatever a script has met is whole, or waits to run out. */
  async function assertMended(): Promise<void> {
    await records.view([SID]);
    const mark = await plain.get(KEYS.side);
    if (mark === "J") expect(await plain.pttl(KEYS.side)).toBeGreaterThan(0);
    else if (mark !== null) expect(mark).toMatch(WHOLE);
    // A dirty record is drained for good.
    if (mark?.[0] !== "D") return;
    const [record] = await records.dirtyRecords([SID]);
    expect(await records.undirty([{ sid: SID, nonce: record!.nonce!, seen: record!.seen }])).toEqual([true]);
    expect(await plain.zscore(INDEX, SID)).toBeNull();
  }

  it("ends every call by an answer, which is never a hit that L does not have", { timeout: PATIENCE }, async () => {
    const first = fc.constantFrom(...Object.keys(ASKING), ...Object.keys(OTHERS));
    await fc.assert(
      fc.asyncProperty(
        own,
        broken,
        item,
        fc.boolean(),
        fc.array(first, { minLength: 1, maxLength: 3 }),
        async (...how) => {
          const [value, side, beside, indexed, names] = how;
          await furnish({ own: value, side, item: beside, indexed });
          // A sidecar of another type is seen by scripts alone, since MGET passes it over.
          if ("type" in side) await records.view([SID]);
          const [asked, ...rest] = names;
          await ask(asked!, side, indexed);
          for (const name of rest) await assertEnds((ASKING[name] ?? OTHERS[name])!(records), 10_000);
          await unheard.assertNone();
          await assertMended();
        },
      ),
      runs(100),
    );
  });

  it("a seal that is broken is none", { timeout: PATIENCE }, async () => {
    const verb = fc.constantFrom(...Object.keys(ASKING), ...Object.keys(OTHERS));
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          seal.map((text) => ({ text })),
          fc.constant({ type: "hash" } as Broken),
        ),
        verb,
        async (text, name) => {
          await furnish({ own: { text: Buffer.from(STALE) }, side: null });
          await plain.del(SEAL);
          await put(SEAL, text);
          if (name.startsWith("list")) return void (await assertEnds(OTHERS[name]!(records), 10_000));
          await expect((ASKING[name] ?? OTHERS[name])!(records)).rejects.toMatchObject({ name: "RedisLost" });
          await assertEnds(records.seal(), 10_000);
          await assertEnds(records.hasRestarted(), 10_000);
          await unheard.assertNone();
        },
      ),
      runs(40),
    );
  });

  const stale = { text: Buffer.from(STALE) };
  const of = (text: string) => ({ text: Buffer.from(text) });

  it.each(["", "X", "I", "J", "Iabc", `I${"0".repeat(ID_LENGTH)}cut`, "Lé", `L${"A".repeat(ID_LENGTH)}`])(
    "a sidecar that says %j: L is trusted and v dropped until it has run out",
    async (text) => {
      await furnish({ own: stale, side: of(text) });
      expect(await records.read(SID, id())).toEqual({ from: "L", lease: null });
      expect(await plain.exists(KEYS.own)).toBe(0);
      expect(await plain.pttl(KEYS.side)).toBeGreaterThan(29_000);
      await plain.pexpire(KEYS.side, 1);
      await expect.poll(() => plain.exists(KEYS.side)).toBe(0);
      expect(await records.read(SID, "lease")).toEqual({ from: "L", lease: "lease" });
    },
  );

  it("a write that comes upon a broken sidecar closes with none", async () => {
    await furnish({ own: stale, side: of("X") });
    const intent = id();
    expect(await records.open(SID, intent, "L", session(), id())).toBe("L");
    await records.close(SID, intent, { kind: "value", session: session() });
    expect(await plain.exists(KEYS.own, KEYS.side)).toBe(0);
  });

  it.each([
    ["says dirty under no nonce", of("D"), false],
    ["is broken, while the dirty index names it", of("garbage"), true],
  ])("what %s is ahead of L, and drained", async (_, side, indexed) => {
    await furnish({ own: stale, side, indexed });
    expect(await records.read(SID, id())).toMatchObject({ from: "R", session: { value: stale.text } });
    expect(await records.dirtySids(10)).toEqual([SID]);
    const [record] = await records.dirtyRecords([SID]);
    expect(await records.undirty([{ sid: SID, nonce: record!.nonce!, seen: record!.seen }])).toEqual([true]);
    expect(await plain.exists(INDEX, KEYS.side)).toBe(0);
  });

  it("where R is the truth, a broken sidecar costs nobody a session", async () => {
    await furnish({ own: stale, side: of("X") });
    const touch = { verb: "touch", expiresAt: Date.now() + 60_000 } as const;
    const answer = await records.openIf(SID, id(), "R", touch, null, true, id());
    expect(answer).toMatchObject({ answer: "R", result: { result: "done" } });
    expect(await plain.get(KEYS.own)).toBe(STALE);
  });

  it("a session's key of another type is no value, and no trouble of its neighbours", async () => {
    await furnish({ own: { type: "hash" }, side: null });
    const [mine, lease] = [id(), id()];
    expect(await records.readMany([OTHER, SID], [mine, lease])).toEqual([
      { from: "L", lease: mine },
      { from: "L", lease },
    ]);
    expect(await records.fill(SID, lease, session())).toBe(true);
    expect(await records.read(SID, id())).toMatchObject({ from: "R" });
  });

  it("a push leaves alone what is no value: L would lose the session", async () => {
    await furnish({ own: { type: "list" }, side: null });
    await records.push([{ sid: SID, dirty: id() }]);
    expect(await records.dirtySids(10)).toEqual([]);
  });

  it("what stands beside a value in another length is no token, so that a fresh one is given out", async () => {
    await furnish({ own: of("value"), side: null, item: of("1234567") });
    const token = newToken();
    expect(await records.gets(SID, "R", id(), true, token)).toMatchObject({ item: { token } });
  });
});
