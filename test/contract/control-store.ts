import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  type ControlChange,
  type ControlRecord,
  type ControlStore,
  ControlUnreachable,
  NodeIdTaken,
  type NodeRegistration,
  type NodeReport,
  type NodeRole,
  NotSetUp,
} from "../../src/ports/control-store.js";

/** One kind of store, as the suite drives it. */
export interface ControlStoreHarness {
  /** Another process on the same database: its own connections, where it has any. */
  open(migration: string): Promise<ControlStore>;
  /** Lets that much time go by on the store's clock. */
  pass(milliseconds: number): Promise<void>;
  /** `down`: connections are refused. `paused`: the server hangs. */
  outage(kind: "down" | "paused"): Promise<{ end(): Promise<void> }>;
  /** The longest that a call may take while the store is away. */
  readonly deadline: number;
  end(): Promise<void>;
}

export const LEGACY: ControlChange = {
  position: { phase: "legacy", percent: 100 },
  pending: null,
  generation: "g1",
  interrupted: false,
};

export const DUAL_WRITE: ControlChange = { ...LEGACY, position: { phase: "dual-write", percent: 100 } };

const CLIMBING: ControlChange = {
  ...LEGACY,
  pending: {
    lower: { phase: "legacy", percent: 100 },
    upper: { phase: "dual-write", percent: 10 },
    ladder: "dual-write",
    buckets: [0, 1000],
    rung: 1,
    direction: "up",
    oneWay: false,
    by: "anna@host",
    reason: 'first step, with "quotes", \u0000 and ünicode',
    startedAt: 1_763_776_123_456,
  },
};

const REPORT: NodeReport = {
  acknowledged: 3,
  gap: 2,
  redis: "down",
  operations: 120,
  errors: 1,
  p95: 4.25,
  endpoints: ["127.0.0.1:4711"],
};

const PRESENCE = { presence: 60_000 };
const LATE = { overdueAfter: 60_000 };

export function registration(id: string, role: NodeRole = "app"): NodeRegistration {
  return { id, role, protocol: 1, host: "web-1", pid: 4242, version: "0.1.0" };
}

export function controlStoreContract(name: string, start: () => Promise<ControlStoreHarness>): void {
  describe(`control store: ${name}`, () => {
    let harness: ControlStoreHarness;
    let count = 0;
    const opened: ControlStore[] = [];

    beforeAll(async () => {
      harness = await start();
    });
    afterEach(async () => {
      await Promise.all(opened.splice(0).map((store) => store.close()));
    });
    afterAll(() => harness?.end());

    const open = async (migration: string) => {
      const store = await harness.open(migration);
      opened.push(store);
      return store;
    };
    const fresh = async (initial: ControlChange = LEGACY) => {
      const migration = `shop-${++count}`;
      const store = await open(migration);
      expect(await store.setup(initial)).toBe(true);
      return { migration, store, another: () => open(migration) };
    };
    const set = async (store: ControlStore, change: ControlChange): Promise<ControlRecord> => {
      const record = await store.compareAndSet((await store.read()).revision, change);
      if (record === null) throw new Error("the record changed in between");
      return record;
    };

    describe("setup", () => {
      it("makes the record once and leaves it alone afterwards", async () => {
        const { migration, store } = await fresh(CLIMBING);
        expect(await store.setup(DUAL_WRITE)).toBe(false);
        expect(await store.read()).toEqual({ migration, revision: 1, ...CLIMBING });
      });

      it("makes it once when several processes set up together", async () => {
        const migration = `together-${++count}`;
        const stores = await Promise.all(Array.from({ length: 6 }, () => open(migration)));
        const made = await Promise.all(stores.map((store) => store.setup(LEGACY)));
        expect(made.filter(Boolean)).toHaveLength(1);
      });

      it("is missed by every method that needs the record", async () => {
        const store = await open(`nobody-${++count}`);
        const calls: [string, () => Promise<unknown>][] = [
          ["read", () => store.read()],
          ["compareAndSet", () => store.compareAndSet(1, LEGACY)],
          ["join", () => store.join(registration("n"), PRESENCE)],
          ["renew", () => store.renew("n", REPORT, LATE)],
          ["nodes", () => store.nodes()],
          ["lock", () => store.lock("phase", "n", 1000)],
          ["getDocument", () => store.getDocument("check", "1")],
          ["putDocument", () => store.putDocument("check", "1", {})],
          ["listDocuments", () => store.listDocuments("check", 1)],
          ["append", () => store.append({ by: "anna", action: "void", detail: {} })],
          ["ledger", () => store.ledger(1)],
        ];
        for (const [method, call] of calls) await expect(call(), method).rejects.toThrow(NotSetUp);
      });

      it("is not missed by what only removes or looks at the clock", async () => {
        const store = await open(`nobody-${++count}`);
        await store.leave("n");
        await store.evict("n");
        await store.forget("n");
        await store.unlock("phase", "n");
        await store.deleteDocument("check", "1");
        await store.destroy();
        expect(Math.abs((await store.now()) - Date.now())).toBeLessThan(60_000);
      });
    });

    describe("the record", () => {
      it("is replaced under the revision that was read, and under no other", async () => {
        const { migration, store } = await fresh();
        const next = { ...DUAL_WRITE, generation: "g2", interrupted: true };
        expect(await store.compareAndSet(1, next)).toEqual({ migration, revision: 2, ...next });
        expect(await store.compareAndSet(1, LEGACY)).toBeNull();
        expect(await store.compareAndSet(3, LEGACY)).toBeNull();
        expect(await store.read()).toEqual({ migration, revision: 2, ...next });
        expect((await store.compareAndSet(2, CLIMBING))?.pending).toEqual(CLIMBING.pending);
        expect((await store.compareAndSet(3, LEGACY))?.pending).toBeNull();
      });

      it("gets a new revision even where nothing changed", async () => {
        const { store } = await fresh();
        expect((await store.compareAndSet(1, LEGACY))?.revision).toBe(2);
      });

      it("lets one of many concurrent writers win each revision and never goes back", async () => {
        const { migration, store } = await fresh();
        const writers = await Promise.all(Array.from({ length: 6 }, () => open(migration)));
        const wins: number[] = [];
        const seen: number[] = [];
        let done = false;
        const reader = (async () => {
          while (!done) {
            seen.push((await store.read()).revision);
            await new Promise((resolve) => setImmediate(resolve));
          }
        })();
        await Promise.all(
          writers.map(async (writer, index) => {
            for (let won = 0; won < 5; ) {
              const { revision } = await writer.read();
              const record = await writer.compareAndSet(revision, { ...LEGACY, generation: `writer-${index}` });
              if (record === null) continue;
              expect(record).toMatchObject({ revision: revision + 1, generation: `writer-${index}` });
              wins.push(record.revision);
              won++;
            }
          }),
        );
        done = true;
        await reader;
        expect(wins.sort((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, index) => index + 2));
        expect(seen).toEqual([...seen].sort((a, b) => a - b));
      });

      it("keeps percentages and large numbers exactly", async () => {
        const { store } = await fresh();
        const pending = { ...CLIMBING.pending!, startedAt: Number.MAX_SAFE_INTEGER };
        const change = { ...LEGACY, position: { phase: "redis-first", percent: 12.34 }, pending } as const;
        expect(await set(store, change)).toMatchObject(change);
        expect(await store.read()).toMatchObject(change);
      });
    });

    describe("join", () => {
      it("registers a node as live, with the store's time and an empty report", async () => {
        const { store } = await fresh();
        const before = await store.now();
        expect(await store.join(registration("node0001", "proxy"), PRESENCE)).toEqual(await store.read());
        const [info] = await store.nodes();
        expect(info).toMatchObject({ ...registration("node0001", "proxy"), state: "live" });
        expect(info?.report).toEqual({
          acknowledged: 0,
          gap: 0,
          redis: "unused",
          operations: 0,
          errors: 0,
          p95: null,
          endpoints: [],
        });
        expect(info?.joinedAt).toBeGreaterThanOrEqual(before - 1);
        expect(info?.joinedAt).toBeLessThanOrEqual((await store.now()) + 1);
        expect(info?.renewedAt).toBe(info?.joinedAt);
      });

      it("refuses an id that is live or evicted already", async () => {
        const { store } = await fresh();
        await store.join(registration("a"), PRESENCE);
        await expect(store.join(registration("a"), PRESENCE)).rejects.toThrow(NodeIdTaken);
        await store.evict("a");
        await expect(store.join(registration("a", "job"), PRESENCE)).rejects.toThrow(NodeIdTaken);
        expect(await store.nodes()).toHaveLength(1);
        expect((await store.read()).revision).toBe(1);
      });

      it("changes nothing when a refused id comes into an empty fleet", async () => {
        const { store } = await fresh(DUAL_WRITE);
        await store.join(registration("a"), PRESENCE);
        await store.evict("a");
        await expect(store.join(registration("a"), PRESENCE)).rejects.toThrow(NodeIdTaken);
        expect(await store.read()).toMatchObject({ revision: 1, interrupted: false });
      });

      it("interrupts nothing by the first node ever after setup", async () => {
        const { store } = await fresh(DUAL_WRITE);
        await store.join(registration("job", "job"), PRESENCE);
        expect(await store.join(registration("a"), PRESENCE)).toMatchObject({ revision: 1, interrupted: false });
      });

      it.each([
        ["left", (store: ControlStore) => store.leave("a")],
        ["was evicted", (store: ControlStore) => store.evict("a")],
        ["was evicted and forgotten", (store: ControlStore) => store.evict("a").then(() => store.forget("a"))],
      ])("interrupts the record when the last node %s", async (_how, depart) => {
        const { migration, store } = await fresh(DUAL_WRITE);
        await store.join(registration("a"), PRESENCE);
        await depart(store);
        const expected = { migration, revision: 2, ...DUAL_WRITE, interrupted: true };
        expect(await store.join(registration("b"), PRESENCE)).toEqual(expected);
        expect(await store.read()).toEqual(expected);
      });

      it("interrupts the record when the last node has not renewed within the presence", async () => {
        const { store } = await fresh(DUAL_WRITE);
        await store.join(registration("a"), PRESENCE);
        await harness.pass(1_500);
        expect(await store.join(registration("b"), { presence: 9_000 })).toMatchObject({
          revision: 1,
          interrupted: false,
        });
        await store.leave("b");
        await store.renew("a", REPORT, LATE);
        expect(await store.join(registration("c"), { presence: 1_400 })).toMatchObject({
          revision: 1,
          interrupted: false,
        });
        await store.leave("c");
        await harness.pass(1_500);
        expect(await store.join(registration("d"), { presence: 1_400 })).toMatchObject({
          revision: 2,
          interrupted: true,
        });
      });

      it("interrupts a transition that was pending in legacy, and nothing in legacy otherwise", async () => {
        const { store } = await fresh();
        await store.join(registration("a"), PRESENCE);
        await store.leave("a");
        expect(await store.join(registration("b"), PRESENCE)).toMatchObject({ revision: 1, interrupted: false });
        await set(store, CLIMBING);
        await store.leave("b");
        expect(await store.join(registration("c"), PRESENCE)).toMatchObject({
          revision: 3,
          interrupted: true,
          pending: CLIMBING.pending,
        });
      });

      it("takes jobs for no presence, and never interrupts by them", async () => {
        const { store } = await fresh(DUAL_WRITE);
        await store.join(registration("a"), PRESENCE);
        await store.leave("a");
        expect(await store.join(registration("j", "job"), PRESENCE)).toMatchObject({ revision: 1, interrupted: false });
        expect(await store.join(registration("b", "proxy"), PRESENCE)).toMatchObject({
          revision: 2,
          interrupted: true,
        });
      });

      it("gives an interrupted record a new revision when the fleet was away once more", async () => {
        const { store } = await fresh(DUAL_WRITE);
        await store.join(registration("a"), PRESENCE);
        await store.leave("a");
        await store.join(registration("b"), PRESENCE);
        await store.leave("b");
        expect(await store.join(registration("c"), PRESENCE)).toMatchObject({ revision: 3, interrupted: true });
        expect(await set(store, LEGACY)).toMatchObject({ revision: 4, interrupted: false });
      });

      it("interrupts once when several nodes come back together, and all of them see it", async () => {
        for (let round = 0; round < 5; round++) {
          const { migration, store } = await fresh(DUAL_WRITE);
          await store.join(registration("a"), PRESENCE);
          await store.leave("a");
          const stores = await Promise.all(Array.from({ length: 5 }, () => open(migration)));
          const records = await Promise.all(stores.map((each, i) => each.join(registration(`n${i}`), PRESENCE)));
          for (const record of records) expect(record).toMatchObject({ revision: 2, interrupted: true });
          expect((await store.read()).revision).toBe(2);
          expect(await store.nodes()).toHaveLength(5);
        }
      });

      it("returns a record no older than any transition whose author did not see the node", async () => {
        const { migration, store } = await fresh();
        const joiner = await open(migration);
        for (let round = 0; round < 15; round++) {
          const { revision } = await store.read();
          const [joined, seen] = await Promise.all([
            joiner.join(registration(`n${round}`), PRESENCE),
            store.compareAndSet(revision, LEGACY).then(() => store.nodes()),
          ]);
          if (!seen.some((node) => node.id === `n${round}`)) expect(joined.revision).toBe(revision + 1);
        }
      });
    });

    describe("renew", () => {
      it("stores the report and brings the record", async () => {
        const { store, another } = await fresh();
        await store.join(registration("a"), PRESENCE);
        const joinedAt = (await store.nodes())[0]!.joinedAt;
        await harness.pass(20);
        const renewal = await (await another()).renew("a", REPORT, LATE);
        expect(renewal).toEqual({ record: await store.read(), accepted: true, overdue: [] });
        const [info] = await store.nodes();
        expect(info).toMatchObject({ ...registration("a"), state: "live", report: REPORT, joinedAt });
        expect(info!.renewedAt).toBeGreaterThan(joinedAt);
      });

      it("keeps endless figures", async () => {
        const { store } = await fresh();
        await store.join(registration("a"), PRESENCE);
        const report = { ...REPORT, p95: Number.POSITIVE_INFINITY, operations: 2 ** 53 };
        await store.renew("a", report, { overdueAfter: Number.POSITIVE_INFINITY });
        expect((await store.nodes())[0]?.report).toEqual(report);
      });

      it("is refused to a node that was evicted, left, or never was", async () => {
        const { store } = await fresh();
        await store.join(registration("a"), PRESENCE);
        await store.renew("a", REPORT, LATE);
        await store.join(registration("b"), PRESENCE);
        await store.evict("a");
        await store.leave("b");
        const [before] = await store.nodes();
        await harness.pass(20);
        for (const id of ["a", "b", "c"]) {
          const answer = await store.renew(id, { ...REPORT, acknowledged: 9 }, LATE);
          expect(answer).toEqual({ record: await store.read(), accepted: false, overdue: [] });
        }
        expect(await store.nodes()).toEqual([before]);
        expect(before).toMatchObject({ id: "a", state: "evicted", report: REPORT });
      });

      it("lists live nodes that are overdue by the store's clock, but never the one that asks", async () => {
        const { store } = await fresh();
        for (const id of ["c", "a", "b", "e"]) await store.join(registration(id, id === "b" ? "job" : "app"), PRESENCE);
        await store.evict("e");
        await harness.pass(1_200);
        await store.join(registration("d"), PRESENCE);
        const renewal = await store.renew("c", REPORT, { overdueAfter: 1_000 });
        expect(renewal).toMatchObject({ accepted: true, overdue: ["a", "b"] });
        await store.renew("a", REPORT, LATE);
        expect((await store.renew("d", REPORT, { overdueAfter: 1_000 })).overdue).toEqual(["b"]);
        expect((await store.renew("d", REPORT, { overdueAfter: 10_000 })).overdue).toEqual([]);
      });
    });

    describe("leaving", () => {
      it("takes a live node out, and an evicted one only by forget", async () => {
        const { store } = await fresh();
        for (const id of ["a", "b", "c"]) {
          await store.join(registration(id), PRESENCE);
          await harness.pass(3);
        }
        expect((await store.nodes()).map((node) => node.id)).toEqual(["a", "b", "c"]);
        await store.forget("a");
        expect(await store.nodes()).toHaveLength(3);
        await store.evict("a");
        await store.evict("a");
        await store.leave("a");
        await store.leave("b");
        expect((await store.nodes()).map((node) => [node.id, node.state])).toEqual([
          ["a", "evicted"],
          ["c", "live"],
        ]);
        await store.forget("a");
        await store.forget("a");
        await store.leave("nobody");
        await store.evict("nobody");
        expect((await store.nodes()).map((node) => node.id)).toEqual(["c"]);
      });

      it("takes out only who is overdue, where that is asked", async () => {
        const { store } = await fresh();
        for (const id of ["silent", "renewed"]) await store.join(registration(id), PRESENCE);
        await harness.pass(1_200);
        await store.renew("renewed", REPORT, { overdueAfter: 1_000 });
        for (const id of ["silent", "renewed", "nobody"]) await store.evict(id, { overdueAfter: 1_000 });
        const states = (await store.nodes()).map((node) => [node.id, node.state]);
        expect(Object.fromEntries(states)).toEqual({ silent: "evicted", renewed: "live" });
      });
    });

    describe("locks", () => {
      it("belong to one holder, who may renew and release them", async () => {
        const { store, another } = await fresh();
        const other = await another();
        expect(await store.lock("phase", "one", 60_000)).toBe(true);
        expect(await other.lock("phase", "two", 60_000)).toBe(false);
        expect(await store.lock("phase", "one", 60_000)).toBe(true);
        expect(await other.lock("backfill", "two", 60_000)).toBe(true);
        await other.unlock("phase", "two");
        expect(await other.lock("phase", "two", 60_000)).toBe(false);
        await store.unlock("phase", "one");
        expect(await other.lock("phase", "two", 60_000)).toBe(true);
      });

      it("may be taken by another when their time is over, not before, and not after a renewal", async () => {
        const { store } = await fresh();
        expect(await store.lock("phase", "one person", 1_000)).toBe(true);
        await harness.pass(500);
        expect(await store.lock("phase", "one person", 1_700)).toBe(true);
        await harness.pass(700);
        expect(await store.lock("phase", "two", 1000)).toBe(false);
        await harness.pass(1_200);
        expect(await store.lock("phase", "two", 60_000)).toBe(true);
        expect(await store.lock("phase", "one person", 1000)).toBe(false);
        await store.unlock("phase", "one person");
        expect(await store.lock("phase", "three", 1000)).toBe(false);
        expect(await store.lock("endless", "one person", Number.POSITIVE_INFINITY)).toBe(true);
      });

      it("are given to one of many who ask together", async () => {
        const { migration } = await fresh();
        const stores = await Promise.all(Array.from({ length: 6 }, () => open(migration)));
        const taken = await Promise.all(stores.map((store, i) => store.lock("phase", `holder-${i}`, 60_000)));
        expect(taken.filter(Boolean)).toHaveLength(1);
      });
    });

    describe("documents", () => {
      it("are stored, replaced, listed by their last put, and deleted", async () => {
        const { store } = await fresh();
        expect(await store.getDocument("check", "1")).toBeNull();
        expect(await store.listDocuments("check", 5)).toEqual([]);
        for (const id of ["1", "2", "3"]) await store.putDocument("check", id, { id, clean: true });
        await store.putDocument("other", "1", "elsewhere");
        await store.putDocument("check", "1", { id: "1", clean: false });
        expect(await store.getDocument("check", "1")).toEqual({ id: "1", clean: false });
        expect((await store.listDocuments("check", 5)).map(({ id }) => id)).toEqual(["1", "3", "2"]);
        expect(await store.listDocuments("check", 2)).toEqual([
          { id: "1", body: { id: "1", clean: false } },
          { id: "3", body: { id: "3", clean: true } },
        ]);
        expect(await store.listDocuments("check", 0)).toEqual([]);
        await store.deleteDocument("check", "1");
        await store.deleteDocument("check", "1");
        expect(await store.getDocument("check", "1")).toBeNull();
        expect(await store.listDocuments("check", 5)).toHaveLength(2);
        expect(await store.listDocuments("other", 5)).toEqual([{ id: "1", body: "elsewhere" }]);
      });

      it("come back as they were put", async () => {
        const { store } = await fresh();
        const body = {
          endless: Number.POSITIVE_INFINITY,
          below: Number.NEGATIVE_INFINITY,
          none: Number.NaN,
          large: Number.MAX_VALUE,
          small: Number.MIN_VALUE,
          integer: Number.MAX_SAFE_INTEGER,
          fraction: 0.1 + 0.2,
          list: [1, Number.POSITIVE_INFINITY, null, []],
          text: '\u0000 \ud800 \u2028 😀 \\ "',
          $number: "Infinity",
          nested: { $number: { $number: "1" }, $$number: 2 },
          empty: {},
          flag: true,
          nothing: null,
        };
        await store.putDocument("odd", "id with spaces, ünicode:and}braces{", body);
        expect(await store.getDocument("odd", "id with spaces, ünicode:and}braces{")).toEqual(body);
        expect((await store.listDocuments("odd", 1))[0]?.body).toEqual(body);
        for (const [id, plain] of Object.entries({ list: [], text: "", zero: 0, no: false, endless: -Infinity })) {
          await store.putDocument("plain", id, plain);
          expect(await store.getDocument("plain", id)).toEqual(plain);
        }
      });

      it("may be large", async () => {
        const { store } = await fresh();
        const body = { lines: Array.from({ length: 20_000 }, (_, i) => `line ${i} of a long report`) };
        await store.putDocument("report", "1", body);
        expect(await store.getDocument("report", "1")).toEqual(body);
      });
    });

    describe("the ledger", () => {
      it("tells who did what, newest first, at the store's time", async () => {
        const { store } = await fresh();
        expect(await store.ledger(10)).toEqual([]);
        const before = await store.now();
        for (let i = 0; i < 12; i++) {
          await store.append({ by: "anna", action: "advance", detail: { i, until: Number.POSITIVE_INFINITY } });
        }
        const entries = await store.ledger(10);
        expect(entries.map((entry) => entry.detail.i)).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
        expect(entries[0]).toEqual({
          at: expect.any(Number),
          by: "anna",
          action: "advance",
          detail: { i: 11, until: Number.POSITIVE_INFINITY },
        });
        expect(entries[9]!.at).toBeGreaterThanOrEqual(before - 1);
        expect(entries[0]!.at).toBeGreaterThanOrEqual(entries[9]!.at);
        expect(await store.ledger(0)).toEqual([]);
        expect(await store.ledger(100)).toHaveLength(12);
        expect((await store.ledger(3, 10)).map((entry) => entry.detail.i)).toEqual([1, 0]);
        expect((await store.ledger(2, 1)).map((entry) => entry.detail.i)).toEqual([10, 9]);
        expect(await store.ledger(5, 12)).toEqual([]);
      });
    });

    describe("several migrations", () => {
      it("do not see each other, and one may go without the other", async () => {
        const one = await fresh();
        const two = await fresh(DUAL_WRITE);
        await one.store.join(registration("a"), PRESENCE);
        await one.store.lock("phase", "one", 60_000);
        await one.store.putDocument("check", "1", "one");
        await one.store.append({ by: "anna", action: "setup", detail: {} });
        expect(await two.store.nodes()).toEqual([]);
        expect((await two.store.renew("a", REPORT, { overdueAfter: 0 })).accepted).toBe(false);
        expect(await two.store.lock("phase", "two", 60_000)).toBe(true);
        expect(await two.store.getDocument("check", "1")).toBeNull();
        expect(await two.store.ledger(5)).toEqual([]);
        await two.store.join(registration("a"), PRESENCE);
        await two.store.evict("a");
        expect((await one.store.nodes())[0]?.state).toBe("live");

        await two.store.destroy();
        await expect(two.store.read()).rejects.toThrow(NotSetUp);
        expect(await one.store.read()).toMatchObject({ revision: 1, position: LEGACY.position });
        expect(await one.store.nodes()).toHaveLength(1);
        expect(await one.store.getDocument("check", "1")).toBe("one");
        expect(await one.store.ledger(5)).toHaveLength(1);
      });
    });

    describe("destroy", () => {
      it("leaves nothing behind that a new setup would find", async () => {
        const { migration, store } = await fresh(DUAL_WRITE);
        await store.join(registration("a"), PRESENCE);
        await store.lock("phase", "one", 60_000);
        for (const kind of ["check", "backfill", "evidence"]) await store.putDocument(kind, "1", kind);
        await store.append({ by: "anna", action: "setup", detail: {} });
        await store.destroy();
        await store.destroy();
        await expect(store.read()).rejects.toThrow(NotSetUp);
        expect(await store.setup(DUAL_WRITE)).toBe(true);
        expect(await store.read()).toEqual({ migration, revision: 1, ...DUAL_WRITE });
        expect(await store.nodes()).toEqual([]);
        expect(await store.lock("phase", "two", 60_000)).toBe(true);
        expect(await store.getDocument("check", "1")).toBeNull();
        expect(await store.listDocuments("backfill", 5)).toEqual([]);
        expect(await store.ledger(5)).toEqual([]);
        expect(await store.join(registration("b"), PRESENCE)).toMatchObject({ revision: 1, interrupted: false });
      });
    });

    describe("an outage", () => {
      it.each(["down", "paused"] as const)(
        "of a store that is %s is told within the deadline and survived",
        async (kind) => {
          const { store, another } = await fresh();
          const unused = await another();
          await store.join(registration("a"), PRESENCE);
          const outage = await harness.outage(kind);
          try {
            const began = performance.now();
            const answers = await Promise.allSettled([
              store.read(),
              store.renew("a", REPORT, LATE),
              store.compareAndSet(1, DUAL_WRITE),
              store.lock("phase", "one", 1000),
              store.nodes(),
              unused.read(),
            ]);
            expect(performance.now() - began).toBeLessThan(harness.deadline + 1_500);
            for (const answer of answers) {
              expect(answer.status).toBe("rejected");
              expect((answer as PromiseRejectedResult).reason).toBeInstanceOf(ControlUnreachable);
            }
            await expect(store.read()).rejects.toThrow(ControlUnreachable);
          } finally {
            await outage.end();
          }
          // A statement that was on its way may have been carried out; a connection that died is found out by its use.
          await expect.poll(() => store.read().catch(() => null), { timeout: 5000 }).not.toBeNull();
          expect((await unused.read()).revision).toBeGreaterThanOrEqual(1);
          expect((await store.renew("a", REPORT, LATE)).accepted).toBe(true);
        },
      );
    });
  });
}
