import fc from "fast-check";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openControl } from "../../src/control/open.js";
import type { ControlChange, ControlStore, NodeReport } from "../../src/ports/control-store.js";
import { type RunningServer, startPostgres, startRedis } from "../../src/servers/index.js";
import { sql } from "../stores/postgres-support.js";
import { assertEnds, SECRETS, Unheard } from "./judge.js";
import { PATIENCE, runs } from "./runs.js";

const DEADLINE = 1_000;
const INITIAL: ControlChange = {
  position: { phase: "legacy", percent: 100 },
  pending: null,
  generation: "0123456789abcdef",
  interrupted: false,
};
const REPORT: NodeReport = {
  acknowledged: 1,
  gap: 0,
  redis: "up",
  operations: 1,
  errors: 0,
  p95: 1,
  endpoints: [],
};
const POSITION = { phase: "dual-write", percent: 10 };
const PENDING = {
  lower: { phase: "legacy", percent: 100 },
  upper: POSITION,
  ladder: "dual-write",
  buckets: [0, 1000],
  rung: 1,
  direction: "up",
  oneWay: false,
  by: "me",
  reason: "",
  startedAt: 1,
};

/** Texts that stand where JSON should: another release's words, half of ours, none at all. */
const json = fc.oneof(
  fc.constantFrom(
    "",
    "null",
    "[]",
    "{",
    `"${SECRETS.value}`,
    `{"phase":"sharded","percent":50}`,
    `{"phase":"dual-write","percent":{"$number":"NaN"}}`,
    `{"__proto__":{"phase":"legacy"}}`,
    "[".repeat(20_000),
  ),
  fc.jsonValue().map((value) => JSON.stringify(value)),
  fc
    .tuple(fc.constantFrom(...Object.keys(PENDING)), fc.jsonValue())
    .map(([key, value]) => JSON.stringify({ ...PENDING, [key]: value })),
  fc
    .tuple(fc.constantFrom("phase", "percent"), fc.jsonValue())
    .map(([key, value]) => JSON.stringify({ ...POSITION, [key]: value })),
  fc.constantFrom(JSON.stringify(PENDING), JSON.stringify(POSITION)),
);

const ASK: Record<string, (control: ControlStore) => Promise<unknown>> = {
  read: (control) => control.read(),
  renew: (control) => control.renew("node1", REPORT, { overdueAfter: 1_000 }),
  compareAndSet: (control) => control.compareAndSet(1, INITIAL),
  join: (control) =>
    control.join(
      { id: `n${Math.random()}`, role: "app", protocol: 1, host: "h", pid: 1, version: "1" },
      { presence: 1 },
    ),
  nodes: (control) => control.nodes(),
  lock: (control) => control.lock("phase", "me", 10),
  unlock: (control) => control.unlock("phase", "me"),
  get: (control) => control.getDocument("dirty", "latest"),
  list: (control) => control.listDocuments("dirty", 10),
  put: (control) => control.putDocument("dirty", "latest", { count: 1 }),
  append: (control) => control.append({ by: "me", action: "check", detail: {} }),
  ledger: (control) => control.ledger(10),
  evict: (control) => control.evict("node1"),
  leave: (control) => control.leave("node1"),
  destroy: (control) => control.destroy(),
};

async function furnish(control: ControlStore): Promise<void> {
  await control.destroy();
  await control.setup(INITIAL);
  await control.join({ id: "node1", role: "app", protocol: 1, host: "h", pid: 1, version: "1" }, { presence: 1 });
  await control.renew("node1", REPORT, { overdueAfter: 1_000 });
  await control.putDocument("dirty", "latest", { count: 1 });
  await control.append({ by: "me", action: "check", detail: {} });
}

/** From now on every change of this table ends with an error of this state. */
async function raising(url: string, table: string, state: string): Promise<void> {
  await sql(
    url,
    `CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
     $$ BEGIN RAISE EXCEPTION 'it does not want to' USING ERRCODE = '${state}'; END $$`,
  );
  await sql(
    url,
    `CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON sessionferry.${table}
    FOR EACH STATEMENT EXECUTE FUNCTION public.refuse()`,
  );
}

describe("control records that are broken, or another release's", () => {
  const unheard = new Unheard();
  const servers: RunningServer[] = [];
  let redis: Redis;
  const stores: ControlStore[] = [];
  beforeAll(async () => {
    servers.push(await startRedis(), await startPostgres());
    const open = (server: RunningServer) =>
      openControl(server.url, { migration: "shop", node: "fuzz0000", deadline: DEADLINE });
    for (const server of servers) stores.push(await open(server));
    redis = new Redis(servers[0]!.url);
    unheard.listen();
  });
  afterAll(async () => {
    unheard.close();
    redis?.disconnect();
    for (const store of stores) await store.close();
    for (const server of servers) await server.stop();
  });

  const ask = fc.constantFrom(...Object.keys(ASK));
  const asked = async (control: ControlStore, name: string) => {
    await assertEnds(ASK[name]!(control), 3 * DEADLINE);
    await unheard.assertNone();
  };
  const key = (name: string) => `{sf:shop}:control:${name}`;

  it("in Redis", { timeout: PATIENCE }, async () => {
    const breakage = fc.oneof(
      fc.record({
        hash: fc.constantFrom("record", "nodes", "joined", "reports", "locks", "docs:dirty"),
        field: fc.constantFrom(
          "revision",
          "position",
          "pending",
          "generation",
          "interrupted",
          "ground",
          "joins",
          "node1",
          "phase",
          "latest",
        ),
        text: json,
      }),
      fc.record({ line: json }),
      fc.record({ gone: fc.constantFrom("position", "pending", "revision", "generation") }),
      fc.record({
        retyped: fc.constantFrom("record", "nodes", "live", "ledger", "docs:dirty", "order:dirty", "kinds", "locks"),
      }),
    );
    await fc.assert(
      fc.asyncProperty(breakage, ask, async (broken, name) => {
        await redis.flushall();
        await furnish(stores[0]!);
        if ("hash" in broken) await redis.hset(key(broken.hash), broken.field, broken.text);
        else if ("line" in broken) await redis.lpush(key("ledger"), broken.line);
        else if ("gone" in broken) await redis.hdel(key("record"), broken.gone);
        else {
          await redis.del(key(broken.retyped));
          await redis.set(key(broken.retyped), "text");
        }
        await asked(stores[0]!, name);
      }),
      runs(150),
    );
  });

  // Before the next one, which may be stopped in the middle of a breakage.
  it("found: a state that no release knows is of the catalogue, and nothing has changed", async () => {
    const url = servers[1]!.url;
    await furnish(stores[1]!);
    const before = await stores[1]!.read();
    await raising(url, "control_record", "HX999");
    await expect(stores[1]!.compareAndSet(before.revision, INITIAL)).rejects.toMatchObject({
      code: "CONTROL_REFUSED",
      retryable: true,
      message: expect.stringContaining("HX999"),
    });
    await sql(url, "DROP FUNCTION public.refuse() CASCADE");
    expect(await stores[1]!.read()).toEqual(before);
    await sql(url, "ALTER TABLE sessionferry.control_record RENAME COLUMN percent TO share");
    await expect(stores[1]!.read()).rejects.toMatchObject({ code: "CONTROL_REFUSED" });
    await sql(url, "ALTER TABLE sessionferry.control_record RENAME COLUMN share TO percent");
    expect(await stores[1]!.read()).toEqual(before);
  });

  it("in PostgreSQL", { timeout: PATIENCE }, async () => {
    const url = servers[1]!.url;
    const documents = json.filter((text) => {
      try {
        JSON.parse(text);
        return !text.includes("\\u0000");
      } catch {
        return false;
      }
    });
    // What PostgreSQL, its extensions, its relatives and whoever stands before it may answer a statement with.
    const state = fc.oneof(
      fc.constantFrom(
        "0A000",
        "21000",
        "22P02",
        "23514",
        "2F002",
        "42703",
        "42883",
        "44000",
        "P0001",
        "P0004",
        "HV000",
      ),
      fc.stringMatching(/^[0-9A-Z]{5}$/).filter((code) => !code.endsWith("000") || code > "03"),
    );
    const raised = fc.tuple(fc.constantFrom("control_record", "nodes", "documents", "ledger", "locks"), state);
    const refusals = fc.record({ raised });
    const breakage = fc.oneof(
      { weight: 7, arbitrary: refusals },
      fc.tuple(fc.constant("control_record SET pending"), documents),
      fc.tuple(fc.constant("nodes SET report"), documents),
      fc.tuple(fc.constant("documents SET body"), documents),
      fc.tuple(fc.constant("ledger SET detail"), documents),
      fc.tuple(fc.constant("control_record SET phase"), fc.constantFrom("sharded", "", "__proto__", "legacy")),
      fc.tuple(fc.constant("control_record SET percent"), fc.constantFrom("0", "-1", "NaN", "Infinity", "101")),
      fc.tuple(fc.constant("control_record SET revision"), fc.constantFrom("9223372036854775807", "1")),
    );
    await fc.assert(
      fc.asyncProperty(breakage, ask, async (broken, name) => {
        await furnish(stores[1]!);
        if ("raised" in broken) await raising(url, ...broken.raised);
        else await sql(url, `UPDATE sessionferry.${broken[0]} = $1`, [broken[1]]).catch(() => {});
        await asked(stores[1]!, name);
        await sql(url, "DROP FUNCTION IF EXISTS public.refuse() CASCADE");
      }),
      runs(40),
    );
  });

  it("found: a transition that only a later release knows", async () => {
    await redis.flushall();
    await furnish(stores[0]!);
    await redis.hset(key("record"), "pending", JSON.stringify({ ...PENDING, ladder: "sharded" }));
    await expect(stores[0]!.read()).rejects.toMatchObject({ code: "PROTOCOL_MISMATCH" });
    await redis.hset(key("record"), "pending", "{");
    await expect(stores[0]!.read()).rejects.toMatchObject({ code: "PROTOCOL_MISMATCH" });
  });
});
