import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ALL_BUCKETS, bucketOf } from "../../src/core/cohort.js";
import { IdSource, newGeneration, newNodeId } from "../../src/core/ids.js";
import { restOf } from "../../src/core/place.js";
import { NEVER, type Session, type Sid } from "../../src/core/session.js";
import { type ConditionalVerb, type Mode, RedisLost, type RedisRecords } from "../../src/ports/redis-records.js";

/** What the suite needs of the R under test. */
export interface RecordsUnderTest {
  /** Two nodes' views of one R. */
  readonly records: RedisRecords;
  readonly other: RedisRecords;
  /** A sid as this R is asked for it; the name itself unless told. */
  readonly sid?: (name: string) => Sid;
  /** Lets the lease of this sid run out. */
  expireLease(sid: Sid): Promise<void>;
  /** How long a lease without anything else lives from now, in milliseconds. */
  leaseLifetime(sid: Sid): Promise<number>;
  /** Takes the sidecar of this sid away, as an eviction does, or somebody's hand. */
  loseMark(sid: Sid): Promise<void>;
  /** Restarts R with its data. */
  restart(): Promise<void>;
  /** Everything goes, the seal too. */
  emptyOut(): Promise<void>;
  /** Where the suite's own way takes long: for each test a new R, sealed for this generation. */
  renew?(generation: string): Promise<void>;
  close(): Promise<void>;
}

const HOUR = 3_600_000;
/** What a verb answers that was carried out and tells nothing else. */
const DONE = { result: "done", token: 0n, item: null };

export function later(text: string, life = HOUR): Session {
  return { value: Buffer.from(text), flags: 0, expiresAt: Date.now() + life };
}

/** The rules of PROTOCOL.md, "The scripts", branch by branch; every implementation passes them. */
export function redisRecordsContract(name: string, open: () => Promise<RecordsUnderTest>): void {
  describe(`records in ${name}`, () => {
    const ids = new IdSource(newNodeId());
    let test: RecordsUnderTest;
    let r: RedisRecords;
    let count = 0;
    let sid: Sid;

    beforeAll(async () => {
      test = await open();
      r = test.records;
    });
    afterAll(() => test?.close());

    beforeEach(async () => {
      const name = `sid-${++count}`;
      sid = test.sid?.(name) ?? name;
      const generation = newGeneration();
      for (const records of [test.records, test.other]) {
        records.generation = generation;
        records.trustRestarts = false;
      }
      if (test.renew) return test.renew(generation);
      await r.drop(ALL_BUCKETS);
      await r.arm(generation, "active");
    });

    const look = async () => {
      const [view] = await r.view([sid]);
      return view!;
    };
    const v = async () => (await look()).session;
    const intend = async () => {
      const id = ids.next();
      expect(await r.open(sid, id, "L", later("unused"), ids.next())).toBe("L");
      return id;
    };
    /** Puts a value into R the way a mode L write does. */
    const store = async (session: Session) => {
      await r.close(sid, await intend(), { kind: "value", session });
    };
    const soil = async (session: Session | null) => {
      const nonce = ids.next();
      expect(await r.open(sid, ids.next(), "R", session, nonce)).toBe("R");
      return nonce;
    };
    const lease = async () => {
      const answer = await r.read(sid, ids.next());
      if (answer.from !== "L" || answer.lease === null) throw new Error("no lease was given");
      return answer.lease;
    };
    const touch = (mode: Mode, expiresAt: number, under: string | null = null, known = false) =>
      r.openIf(sid, ids.next(), mode, { verb: "touch", expiresAt }, under, known, ids.next());

    describe("read", () => {
      it("trusts L while intents stand, and gives no lease", async () => {
        await store(later("hidden"));
        await intend();
        expect(await r.read(sid, ids.next())).toEqual({ from: "L", lease: null });
      });

      it("hits a value, with its expiry to the millisecond", async () => {
        const session = later("here");
        await store(session);
        expect(await r.read(sid, ids.next())).toEqual({ from: "R", session, ahead: false });
        expect((await look()).mark).toBe("none");
      });

      it("hits a value that never expires", async () => {
        await store({ ...later("here"), expiresAt: NEVER });
        expect(await r.read(sid, ids.next())).toMatchObject({ from: "R", session: { expiresAt: NEVER } });
      });

      it("hits absence while the record is dirty", async () => {
        await soil(null);
        expect(await r.read(sid, ids.next())).toEqual({ from: "R", session: null, ahead: true });
      });

      it("hits a dirty value", async () => {
        const session = later("ahead");
        await soil(session);
        expect(await r.read(sid, ids.next())).toEqual({ from: "R", session, ahead: true });
      });

      it("makes a lease where nothing is known, and shares the one that stands", async () => {
        const first = ids.next();
        expect(await r.read(sid, first)).toEqual({ from: "L", lease: first });
        expect(await test.other.read(sid, ids.next())).toEqual({ from: "L", lease: first });
        expect(await look()).toEqual({ session: null, mark: "lease", intents: [], state: `L${first}` });
      });

      it("lets a lease that stands alone run out after 30 seconds", async () => {
        const first = await lease();
        expect(await test.leaseLifetime(sid)).toBeGreaterThan(29_000);
        expect(await test.leaseLifetime(sid)).toBeLessThanOrEqual(30_000);
        await test.expireLease(sid);
        expect((await look()).mark).toBe("none");
        expect(await r.fill(sid, first, later("too late"))).toBe(false);
      });

      it("treats a value that has expired as absent", async () => {
        await store(later("brief", 30));
        await new Promise((resolve) => setTimeout(resolve, 60));
        expect(await r.read(sid, ids.next())).toMatchObject({ from: "L" });
      });

      it("answers for many sids at once, with and without values", async () => {
        const [hit, dirty, busy, leased] = ["hit", "dirty", "busy", "leased"].map((kind) => `${sid}-${kind}`);
        const session = later("many");
        const intent = ids.next();
        await r.open(hit!, intent, "L", null, ids.next());
        await r.close(hit!, intent, { kind: "value", session });
        await r.open(dirty!, ids.next(), "R", null, ids.next());
        await r.open(busy!, ids.next(), "L", null, ids.next());
        const sids = [hit!, dirty!, busy!, leased!];
        const leases = sids.map(() => ids.next());
        expect(await r.readMany(sids, leases)).toEqual([
          { from: "R", session, ahead: false },
          { from: "R", session: null, ahead: true },
          { from: "L", lease: null },
          { from: "L", lease: leases[3] },
        ]);
        const again = sids.map(() => ids.next());
        expect(await r.leaseMany(sids, again)).toEqual([
          { state: "hit" },
          { state: "dirty" },
          { state: "intents" },
          { state: "leased", lease: leases[3] },
        ]);
        expect(await r.readMany([], [])).toEqual([]);
      });
    });

    describe("open", () => {
      it("in mode L leaves an intent, hides the value and drops the lease", async () => {
        await store(later("old"));
        const id = await intend();
        expect(await look()).toMatchObject({ mark: "intents", intents: [id], state: `I${id}` });
        expect((await v())?.value.toString()).toBe("old");
      });

      it("drops the lease, so that the copy under way is refused", async () => {
        const stale = await lease();
        const id = await intend();
        expect(await r.fill(sid, stale, later("stale"))).toBe(false);
        await r.close(sid, id, { kind: "none" });
        expect(await r.fill(sid, stale, later("stale"))).toBe(false);
        expect(await v()).toBeNull();
      });

      it("notes that intents overlapped, also for those that come later", async () => {
        const [a, b] = [await intend(), await intend()];
        expect((await look()).state).toBe(`J${a}${b}`);
        await r.close(sid, a, { kind: "value", session: later("a") });
        const c = await intend();
        await r.close(sid, b, { kind: "value", session: later("b") });
        await r.close(sid, c, { kind: "value", session: later("c") });
        expect(await look()).toEqual({ session: null, mark: "none", intents: [], state: "" });
      });

      it("takes no notice of intents where R alone is read: they came with older data, and are nobody's", async () => {
        await store(later("old"));
        for (let i = 0; i < 2; i++) await intend();
        const session = later("new");
        expect(await r.open(sid, ids.next(), "R", later("behind"), ids.next())).toBe("L");
        expect(await r.open(sid, ids.next(), "R", session, ids.next(), undefined, true)).toBe("R");
        expect(await look()).toMatchObject({ session, mark: "dirty", intents: [] });
      });

      it("in mode R writes R, makes it dirty and drops the lease", async () => {
        const stale = await lease();
        const session = later("new");
        const nonce = await soil(session);
        expect(await look()).toEqual({ session, mark: "dirty", intents: [], state: `D${nonce}` });
        expect(await r.fill(sid, stale, later("stale"))).toBe(false);
        expect(await r.dirtySids(10)).toEqual([sid]);
      });

      it("in mode R destroys", async () => {
        await store(later("old"));
        const nonce = await soil(null);
        expect(await look()).toEqual({ session: null, mark: "dirty", intents: [], state: `D${nonce}` });
      });

      it("in mode R takes a session that has expired for none", async () => {
        await store(later("old"));
        await soil(later("past", -1));
        expect(await look()).toMatchObject({ session: null, mark: "dirty" });
      });

      it("in mode L goes to R while R is ahead, with a fresh nonce", async () => {
        const before = await soil(later("first"));
        const session = later("second");
        const nonce = ids.next();
        expect(await r.open(sid, ids.next(), "L", session, nonce)).toBe("R");
        expect(nonce).not.toBe(before);
        expect(await look()).toEqual({ session, mark: "dirty", intents: [], state: `D${nonce}` });
        expect(await r.open(sid, ids.next(), "L", null, ids.next())).toBe("R");
        expect(await v()).toBeNull();
      });

      it("that wants it clean is told so while R is ahead, and changes nothing", async () => {
        const session = later("ahead");
        const nonce = await soil(session);
        const verbs: ConditionalVerb[] = [
          { verb: "set", session: later("other") },
          { verb: "append", data: Buffer.from("!"), token: 0n },
          { verb: "incr", by: 1n, initial: null, token: 0n },
          { verb: "delete", token: 0n },
          { verb: "touch", expiresAt: NEVER },
        ];
        for (const other of [later("other"), null]) {
          expect(await r.open(sid, ids.next(), "L-if-clean", other, ids.next())).toBe("dirty");
        }
        for (const verb of verbs) {
          const answer = await r.openIf(sid, ids.next(), "L-if-clean", verb, null, false, ids.next());
          expect(answer).toEqual({ answer: "dirty" });
        }
        expect(await look()).toEqual({ session, mark: "dirty", intents: [], state: `D${nonce}` });
        await r.undirty([{ sid, nonce, seen: Date.now() }]);
        expect(await r.open(sid, ids.next(), "L-if-clean", null, ids.next())).toBe("L");
        const touch = { verb: "touch", expiresAt: NEVER } as const;
        expect(await r.openIf(sid, ids.next(), "L-if-clean", touch, null, false, ids.next())).toEqual({ answer: "L" });
        expect((await look()).mark).toBe("intents");
      });

      it("in mode R goes to L behind open intents", async () => {
        const first = await intend();
        const second = ids.next();
        expect(await r.open(sid, second, "R", later("b"), ids.next())).toBe("L");
        expect((await look()).state).toBe(`J${first}${second}`);
      });
    });

    describe("close", () => {
      it("brings the value", async () => {
        const id = await intend();
        const session = later("closed");
        await r.close(sid, id, { kind: "value", session });
        expect(await look()).toEqual({ session, mark: "none", intents: [], state: "" });
      });

      it("brings none", async () => {
        await store(later("old"));
        await r.close(sid, await intend(), { kind: "none" });
        expect(await v()).toBeNull();
      });

      it("brings nothing that has expired", async () => {
        await store(later("old"));
        await r.close(sid, await intend(), { kind: "value", session: later("past", -1000) });
        expect(await v()).toBeNull();
        await r.close(sid, await intend(), { kind: "value", session: { ...later("past"), expiresAt: -5 } });
        expect(await v()).toBeNull();
      });

      it("keeps the hidden value, with a new expiry or its own", async () => {
        const session = later("kept");
        await store(session);
        await r.close(sid, await intend(), { kind: "keep" });
        expect(await v()).toEqual(session);
        const expiresAt = session.expiresAt + 1234;
        await r.close(sid, await intend(), { kind: "keep", expiresAt });
        expect(await v()).toEqual({ ...session, expiresAt });
        await r.close(sid, await intend(), { kind: "keep", expiresAt: NEVER });
        expect(await v()).toEqual({ ...session, expiresAt: NEVER });
        await r.close(sid, await intend(), { kind: "keep", expiresAt: Date.now() - 1 });
        expect(await v()).toBeNull();
      });

      it("makes nothing out of keep where nothing was hidden", async () => {
        await r.close(sid, await intend(), { kind: "keep", expiresAt: Date.now() + HOUR });
        expect(await look()).toEqual({ session: null, mark: "none", intents: [], state: "" });
      });

      it("takes a count into the hidden value, where it is certain what stands there", async () => {
        const count = async (text: string) =>
          r.close(sid, await intend(), { kind: "revalue", value: Buffer.from(text) });
        await count("41");
        expect(await v()).toBeNull();
        const session = later("41");
        await store(session);
        await count("42");
        expect(await v()).toEqual({ ...session, value: Buffer.from("42") });
        await count("100");
        expect(await v()).toEqual({ ...session, value: Buffer.from("100") });
        await count("99");
        expect(await look()).toEqual({ session: null, mark: "none", intents: [], state: "" });
      });

      it("waits for the last intent", async () => {
        await store(later("old"));
        const [a, b] = [await intend(), await intend()];
        await r.close(sid, b, { kind: "value", session: later("b") });
        expect(await look()).toMatchObject({ mark: "intents", intents: [a] });
        expect((await v())?.value.toString()).toBe("old");
        await r.close(sid, a, { kind: "keep" });
        expect(await v()).toBeNull();
      });

      it("forgets the overlap once no intent stands", async () => {
        const [a, b] = [await intend(), await intend()];
        await r.close(sid, a, { kind: "none" });
        await r.close(sid, b, { kind: "none" });
        const session = later("alone");
        await store(session);
        expect(await v()).toEqual(session);
      });

      it("of an unknown intent drops the value and the lease", async () => {
        await store(later("old"));
        await r.close(sid, ids.next(), { kind: "value", session: later("never") });
        expect(await v()).toBeNull();
        const stale = await lease();
        await r.close(sid, ids.next(), { kind: "none" });
        expect((await look()).mark).toBe("none");
        expect(await r.fill(sid, stale, later("stale"))).toBe(false);
      });

      it("of an unknown intent beside others drops the value, and none of the others tells one: they overlapped", async () => {
        await store(later("old"));
        const id = await intend();
        await r.close(sid, ids.next(), { kind: "none" });
        expect(await look()).toEqual({ session: null, mark: "intents", intents: [id], state: `J${id}` });
        await r.close(sid, id, { kind: "value", session: later("perhaps not the last") });
        expect(await look()).toEqual({ session: null, mark: "none", intents: [], state: "" });
      });

      it("of an unknown intent leaves a dirty record alone", async () => {
        const session = later("ahead");
        const nonce = await soil(session);
        await r.close(sid, ids.next(), { kind: "none" });
        expect(await look()).toEqual({ session, mark: "dirty", intents: [], state: `D${nonce}` });
      });

      it("withdraws an intent, and leaves everything alone where it does not stand", async () => {
        await store(later("old"));
        const session = await v();
        await r.close(sid, ids.next(), { kind: "withdraw" });
        expect(await v()).toEqual(session);
        const id = await intend();
        await r.close(sid, ids.next(), { kind: "withdraw" });
        expect(await look()).toMatchObject({ session, intents: [id] });
        await r.close(sid, id, { kind: "withdraw" });
        expect(await look()).toEqual({ session: null, mark: "none", intents: [], state: "" });
        const standing = await lease();
        await r.close(sid, ids.next(), { kind: "withdraw" });
        expect((await look()).state).toBe(`L${standing}`);
      });

      it("compares ids at their own places only", async () => {
        const [a, b] = [await intend(), await intend()];
        const across = (a + b).slice(5, 5 + a.length);
        await r.close(sid, across, { kind: "none" });
        expect((await look()).intents).toEqual([a, b]);
      });

      it("ends the middle one of three", async () => {
        const [a, b, c] = [await intend(), await intend(), await intend()];
        await r.close(sid, b, { kind: "none" });
        expect((await look()).state).toBe(`J${a}${c}`);
      });
    });

    describe("openIf touch", () => {
      it("in mode L leaves an intent, and overlaps like any other", async () => {
        await store(later("old"));
        const first = await intend();
        expect(await touch("L", Date.now() + HOUR)).toEqual({ answer: "L" });
        expect((await look()).state.startsWith(`J${first}`)).toBe(true);
      });

      it("that wants to stand alone is told so while others stand, and changes nothing", async () => {
        const alone = { verb: "touch", expiresAt: Date.now() + HOUR, alone: true } as const;
        const ask = (mode: Mode) => r.openIf(sid, ids.next(), mode, alone, null, false, ids.next());
        await store(later("old"));
        const first = await intend();
        for (const mode of ["L", "R"] as const) expect(await ask(mode)).toEqual({ answer: "busy" });
        expect((await look()).state).toBe(`I${first}`);
        await r.close(sid, first, { kind: "keep" });
        expect(await ask("L")).toEqual({ answer: "L" });
        expect((await look()).state).toMatch(/^I/);
      });

      it("in mode R goes to L behind open intents", async () => {
        await intend();
        expect(await touch("R", Date.now() + HOUR)).toEqual({ answer: "L" });
      });

      it("takes no notice of intents where R alone is read", async () => {
        await store(later("old"));
        await intend();
        expect(await touch("R", Date.now() + HOUR, null, true)).toMatchObject({ answer: "R" });
        expect(await look()).toMatchObject({ mark: "dirty", intents: [] });
      });

      it("moves the expiry of a value that is there, and makes it dirty", async () => {
        const session = later("touched");
        await store(session);
        const expiresAt = session.expiresAt + 5678;
        const nonce = ids.next();
        const verb = { verb: "touch", expiresAt } as const;
        expect(await r.openIf(sid, ids.next(), "R", verb, null, false, nonce)).toEqual({ answer: "R", result: DONE });
        expect(await look()).toEqual({
          session: { ...session, expiresAt },
          mark: "dirty",
          intents: [],
          state: `D${nonce}`,
        });
        expect(await touch("R", NEVER)).toEqual({ answer: "R", result: DONE });
        expect((await v())?.expiresAt).toBe(NEVER);
      });

      it("in mode L is decided by R while R is ahead", async () => {
        const nonce = await soil(later("ahead"));
        expect(await touch("L", Date.now() + 2 * HOUR)).toEqual({ answer: "R", result: DONE });
        expect((await look()).state).not.toBe(`D${nonce}`);
      });

      it("destroys by a time that has passed", async () => {
        await store(later("touched"));
        expect(await touch("R", Date.now() - 1)).toEqual({ answer: "R", result: DONE });
        expect(await look()).toMatchObject({ session: null, mark: "dirty" });
      });

      it("is refused, and changes nothing, where the session is known to be absent", async () => {
        const nonce = await soil(null);
        expect(await touch("R", Date.now() + HOUR)).toEqual({ answer: "R", result: { result: "absent" } });
        expect((await look()).state).toBe(`D${nonce}`);
      });

      it("takes absence for knowledge under the lease that L was read with, and in full-redis", async () => {
        const under = await lease();
        expect(await touch("R", Date.now() + HOUR, under)).toEqual({ answer: "R", result: { result: "absent" } });
        expect((await look()).state).toBe(`L${under}`);
        await test.expireLease(sid);
        expect(await touch("R", Date.now() + HOUR, null, true)).toEqual({ answer: "R", result: { result: "absent" } });
        expect((await look()).mark).toBe("none");
      });

      it("is unknown otherwise, and opens no intent", async () => {
        expect(await touch("R", Date.now() + HOUR)).toEqual({ answer: "unknown" });
        expect((await look()).mark).toBe("none");
        const standing = await lease();
        expect(await touch("R", Date.now() + HOUR, ids.next())).toEqual({ answer: "unknown" });
        expect(await touch("R", Date.now() + HOUR)).toEqual({ answer: "unknown" });
        expect((await look()).state).toBe(`L${standing}`);
      });
    });

    describe("fill", () => {
      it("writes under the lease that stands, and drops it", async () => {
        const session = later("copied");
        expect(await r.fill(sid, await lease(), session)).toBe(true);
        expect(await look()).toEqual({ session, mark: "none", intents: [], state: "" });
      });

      it("with none leaves nothing behind", async () => {
        expect(await r.fill(sid, await lease(), null)).toBe(true);
        expect(await look()).toEqual({ session: null, mark: "none", intents: [], state: "" });
      });

      it("is refused under another lease, and under none", async () => {
        const standing = await lease();
        expect(await r.fill(sid, ids.next(), later("stale"))).toBe(false);
        expect((await look()).state).toBe(`L${standing}`);
        expect(await r.fill(sid, standing, later("copied"))).toBe(true);
        expect(await r.fill(sid, standing, later("twice"))).toBe(false);
        expect((await v())?.value.toString()).toBe("copied");
      });

      it("is refused once R is dirty", async () => {
        const stale = await lease();
        await soil(later("ahead"));
        expect(await r.fill(sid, stale, later("stale"))).toBe(false);
        expect((await v())?.value.toString()).toBe("ahead");
      });

      it("works for many, each for itself, one sid twice too", async () => {
        const stands = await lease();
        const session = later("copied");
        expect(
          await r.fillMany([
            { sid: `${sid}-other`, lease: ids.next(), session },
            { sid, lease: stands, session },
            { sid, lease: stands, session: later("twice") },
          ]),
        ).toEqual([false, true, false]);
        expect(await v()).toEqual(session);
        expect(await r.fillMany([])).toEqual([]);
      });
    });

    describe("mark", () => {
      it("drops the value and the lease where nothing else stands", async () => {
        await store(later("old"));
        await r.mark([sid]);
        expect(await v()).toBeNull();
        const stale = await lease();
        await r.mark([sid, `${sid}-unknown`]);
        expect(await r.fill(sid, stale, later("stale"))).toBe(false);
      });

      it("keeps the values of open intents from coming", async () => {
        await store(later("old"));
        const id = await intend();
        await r.mark([sid]);
        expect((await look()).state).toBe(`J${id}`);
        await r.close(sid, id, { kind: "value", session: later("closed") });
        expect(await v()).toBeNull();
      });

      it("leaves a dirty record alone", async () => {
        const session = later("ahead");
        const nonce = await soil(session);
        await r.mark([sid]);
        expect(await look()).toEqual({ session, mark: "dirty", intents: [], state: `D${nonce}` });
      });
    });

    describe("drain", () => {
      it("tells value and nonce together, and nothing of clean records", async () => {
        const session = later("ahead");
        const nonce = await soil(session);
        const [clean, busy, gone] = [`${sid}-clean`, `${sid}-busy`, `${sid}-gone`];
        await r.open(busy, ids.next(), "L", null, ids.next());
        const destroyed = ids.next();
        await r.open(gone, ids.next(), "R", null, destroyed);
        const seen = expect.any(Number);
        expect(await r.dirtyRecords([sid, clean, busy, gone])).toEqual([
          { sid, nonce, session, seen },
          { sid: clean, nonce: null, session: null, seen: 0 },
          { sid: busy, nonce: null, session: null, seen: 0 },
          { sid: gone, nonce: destroyed, session: null, seen },
        ]);
      });

      it("takes the mark away only if it is the same", async () => {
        const session = later("ahead");
        const first = await soil(session);
        const second = await soil(session);
        expect(await r.undirty([{ sid, nonce: first, seen: 0 }])).toEqual([false]);
        expect(await r.dirtySids(10)).toEqual([sid]);
        expect(
          await r.undirty([
            { sid, nonce: second, seen: 0 },
            { sid: `${sid}-unknown`, nonce: second, seen: 0 },
          ]),
        ).toEqual([true, false]);
        expect(await look()).toEqual({ session, mark: "none", intents: [], state: "" });
        expect(await r.dirtySids(10)).toEqual([]);
        expect(await r.undirty([])).toEqual([]);
      });

      it("counts the age of what was outrun from when it was read", async () => {
        const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
        const other = `${sid}-other`;
        await soil(later("first"));
        await r.open(other, ids.next(), "R", later("other"), ids.next());
        await pause(60);
        const before = performance.now();
        const [record, beside] = await r.dirtyRecords([sid, other]);
        const { seen } = record!;
        await soil(later("second"));
        await pause(10);
        expect(await r.undirty([{ sid, nonce: record!.nonce!, seen }])).toEqual([false]);
        // It waits behind the other one now.
        expect(await r.dirtySids(10)).toEqual([other, sid]);
        expect(await r.undirty([{ sid: other, nonce: beside!.nonce!, seen }])).toEqual([true]);
        const { oldestAge } = await r.dirtyState();
        expect(oldestAge).toBeGreaterThanOrEqual(10);
        expect(oldestAge).toBeLessThan(50 + performance.now() - before);
        // Who read it long ago says nothing new, and who does not know when says nothing.
        for (const long of [seen - 10_000, 0]) await r.undirty([{ sid, nonce: record!.nonce!, seen: long }]);
        expect((await r.dirtyState()).oldestAge).toBeLessThan(50 + performance.now() - before);
      });

      it("keeps a destroy in front that was outrun", async () => {
        await soil(null);
        await r.open(`${sid}-other`, ids.next(), "R", later("other"), ids.next());
        const [record] = await r.dirtyRecords([sid]);
        await soil(later("back"));
        expect(await r.undirty([{ sid, nonce: record!.nonce!, seen: record!.seen }])).toEqual([false]);
        expect(await r.dirtySids(10)).toEqual([sid, `${sid}-other`]);
        expect((await r.dirtyState()).oldestAge).toBeLessThan(5_000);
      });

      it("lists destroys first, then the oldest", async () => {
        const pause = () => new Promise((resolve) => setTimeout(resolve, 3));
        const write = async (name: string, session: Session | null) => {
          await r.open(name, ids.next(), "R", session, ids.next());
          await pause();
        };
        await write("first", later("1"));
        await write("second", later("2"));
        await write("third", later("3"));
        await write("gone", null);
        await write("second", null);
        await write("first", later("again"));
        // Of the destroys, too, that which has waited longest: from its first change.
        expect(await r.dirtySids(10)).toEqual(["second", "gone", "first", "third"]);
        expect(await r.dirtySids(2)).toEqual(["second", "gone"]);
        // Written again before the destroy was drained: it stays where it was.
        await write("gone", later("back"));
        expect(await r.dirtySids(2)).toEqual(["second", "gone"]);
      });

      it("names nothing any more whose intents were dropped", async () => {
        await soil(null);
        await test.loseMark(sid);
        const intent = await intend();
        await r.open("dirty", ids.next(), "R", null, ids.next());
        await r.open("level", intent, "L", null, ids.next());
        const level = later("level");
        await r.close("level", intent, { kind: "value", session: level });
        expect(await r.dropIntents()).toBe(1);
        expect(await look()).toEqual({ session: null, mark: "none", intents: [], state: "" });
        expect(await r.dirtySids(10)).toEqual(["dirty"]);
        expect((await r.view(["level"]))[0]).toMatchObject({ session: level, mark: "none" });
      });

      it("lists a run of them from anywhere, so that the first ones are not all that is ever seen", async () => {
        const names = Array.from({ length: 9 }, (_, i) => `sid-${i}`);
        for (const name of names) await r.open(name, ids.next(), "R", later(name), ids.next());
        const seen = new Set<Sid>();
        for (let looks = 0; seen.size < names.length; looks++) {
          expect(looks).toBeLessThan(200);
          const some = await r.dirtySids(3, { from: "anywhere" });
          expect(new Set(some).size).toBe(3);
          for (const name of some) seen.add(name);
        }
        expect((await r.dirtySids(20, { from: "anywhere" })).sort()).toEqual(names);
        await new Promise((resolve) => setTimeout(resolve, 5));
        for (const name of ["last", "later"]) await r.open(name, ids.next(), "R", later(name), ids.next());
        expect((await r.dirtySids(2, { from: "end" })).sort()).toEqual(["last", "later"]);
        expect(await r.dirtySids(20, { from: "end" })).toHaveLength(11);
      });

      it("tells count and age, of destroys too", async () => {
        expect(await r.dirtyState()).toEqual({ count: 0, oldestAge: 0 });
        await soil(null);
        await new Promise((resolve) => setTimeout(resolve, 30));
        await r.open(`${sid}-b`, ids.next(), "R", later("b"), ids.next());
        const { count, oldestAge } = await r.dirtyState();
        expect(count).toBe(2);
        expect(oldestAge).toBeGreaterThanOrEqual(25);
        expect(oldestAge).toBeLessThan(5_000);
      });

      it("pushes what is present and clean, and nothing else", async () => {
        const session = later("clean");
        await store(session);
        const [absent, busy, dirty] = [`${sid}-absent`, `${sid}-busy`, `${sid}-dirty`];
        const id = ids.next();
        await r.open(busy, id, "L", null, ids.next());
        const nonce = ids.next();
        await r.open(dirty, ids.next(), "R", null, nonce);
        const pushed = ids.next();
        const records = [sid, absent, busy, dirty].map((each) => ({
          sid: each,
          dirty: each === sid ? pushed : ids.next(),
        }));
        await r.push(records);
        expect((await r.view([sid, absent, busy, dirty])).map(({ state }) => state)).toEqual([
          `D${pushed}`,
          "",
          `I${id}`,
          `D${nonce}`,
        ]);
        expect(await v()).toEqual(session);
        expect(new Set(await r.dirtySids(10))).toEqual(new Set([sid, dirty]));
      });
    });

    // The index names a session exactly while its sidecar says dirty.
    describe("reconcile", () => {
      const reconcile = async () => {
        const dirty = ids.next();
        return { dirty, clean: (await r.reconcile([{ sid, dirty }]))[0] };
      };

      it("leaves what is dirty as it is, and what nobody names", async () => {
        const nonce = await soil(later("ahead"));
        const name = `${sid}-unknown`;
        const asked = [sid, name].map((each) => ({ sid: each, dirty: ids.next() }));
        expect(await r.reconcile(asked)).toEqual([false, true]);
        expect((await r.view([sid, name])).map(({ state }) => state)).toEqual([`D${nonce}`, ""]);
        expect(await r.dirtySids(10)).toEqual([sid]);
        expect(await r.reconcile([])).toEqual([]);
      });

      it("makes a value whose mark was lost dirty again, at its place", async () => {
        const session = later("ahead");
        await soil(session);
        const before = (await r.dirtyState()).oldestAge;
        await test.loseMark(sid);
        expect(await r.dirtySids(10)).toEqual([sid]);
        const { dirty, clean } = await reconcile();
        expect(clean).toBe(false);
        expect(await look()).toEqual({ session, mark: "dirty", intents: [], state: `D${dirty}` });
        expect((await r.dirtyState()).oldestAge).toBeGreaterThanOrEqual(before);
        expect(await r.undirty([{ sid, nonce: dirty, seen: 0 }])).toEqual([true]);
        expect(await r.dirtyState()).toEqual({ count: 0, oldestAge: 0 });
      });

      it("makes a destroy whose mark was lost dirty again, and refuses the copy that would bring the session back", async () => {
        await soil(null);
        await test.loseMark(sid);
        const granted = await lease();
        const { dirty, clean } = await reconcile();
        expect(clean).toBe(false);
        expect(await r.fill(sid, granted, later("back"))).toBe(false);
        expect(await look()).toEqual({ session: null, mark: "dirty", intents: [], state: `D${dirty}` });
      });

      it("takes the name of a value that has gone as well: what L holds stays", async () => {
        const { now } = await r.facts();
        await soil({ ...later("brief"), expiresAt: now + 400 });
        await test.loseMark(sid);
        while ((await v()) !== null) await new Promise((resolve) => setTimeout(resolve, 20));
        expect((await reconcile()).clean).toBe(true);
        expect(await look()).toEqual({ session: null, mark: "none", intents: [], state: "" });
        expect(await r.dirtySids(10)).toEqual([]);
      });

      it("takes the name where a write to L is under way", async () => {
        await soil(null);
        await test.loseMark(sid);
        const id = await intend();
        expect((await reconcile()).clean).toBe(true);
        expect((await look()).state).toBe(`I${id}`);
        expect(await r.dirtySids(10)).toEqual([]);
      });
    });

    describe("R alone", () => {
      it("sets, reads, touches and destroys without marks", async () => {
        expect(await r.readAlone(sid)).toBeNull();
        expect(await r.touchAlone(sid, Date.now() + HOUR)).toBe(false);
        const session = later("alone");
        await r.setAlone(sid, session);
        expect(await r.readAlone(sid)).toEqual(session);
        const expiresAt = session.expiresAt + 99;
        expect(await r.touchAlone(sid, expiresAt)).toBe(true);
        expect(await look()).toEqual({ session: { ...session, expiresAt }, mark: "none", intents: [], state: "" });
        expect(await r.destroyAlone(sid)).toBe(true);
        expect(await r.destroyAlone(sid)).toBe(false);
        expect(await r.readAlone(sid)).toBeNull();
      });
    });

    describe("administration", () => {
      const listed = async () => {
        const sids: Sid[] = [];
        for await (const page of r.listRecords({ pageSize: 3 })) sids.push(...page);
        return new Set(sids);
      };

      it("lists live records", async () => {
        const sids = Array.from({ length: 20 }, (_, i) => `${sid}-${i}`);
        for (const each of sids) await r.setAlone(each, later("x"));
        await r.open(`${sid}-gone`, ids.next(), "R", null, ids.next());
        await lease();
        expect(await listed()).toEqual(new Set(sids));
      });

      it("stops listing when it is told to", async () => {
        for (let i = 0; i < 50; i++) await r.setAlone(`${sid}-${i}`, later("x"));
        const stop = new AbortController();
        let pages = 0;
        for await (const page of r.listRecords({ pageSize: 3, signal: stop.signal })) {
          expect(page.length).toBeGreaterThan(0);
          pages++;
          stop.abort();
        }
        expect(pages).toBe(1);
      });

      it("lists open intents", async () => {
        const [a, b] = [await intend(), await intend()];
        await r.open(`${sid}-dirty`, ids.next(), "R", null, ids.next());
        await r.read(`${sid}-leased`, ids.next());
        const found = new Map<Sid, string[]>();
        for await (const page of r.listIntents({ pageSize: 2 })) {
          for (const { sid: each, intents } of page) found.set(restOf(each), intents);
        }
        expect([...found]).toEqual([[restOf(sid), [a, b]]]);
      });

      it("lists every session with a mark, whatever it says", async () => {
        await r.setAlone(`${sid}-unmarked`, later("x"));
        await intend();
        await r.open(`${sid}-dirty`, ids.next(), "R", later("x"), ids.next());
        await r.open(`${sid}-gone`, ids.next(), "R", null, ids.next());
        await r.read(`${sid}-leased`, ids.next());
        const found: Sid[] = [];
        for await (const page of r.listMarked({ pageSize: 2 })) found.push(...page);
        const marked = [sid, `${sid}-dirty`, `${sid}-gone`, `${sid}-leased`];
        expect(new Set(found.map(restOf))).toEqual(new Set(marked.map(restOf)));
        await r.clearMarks();
        for await (const page of r.listMarked({ pageSize: 2 })) expect(page).toEqual([]);
      });

      it("drops the buckets it is told to, marks and all", async () => {
        const sids = Array.from({ length: 60 }, (_, i) => `${sid}-${i}`);
        const below = sids.filter((each) => bucketOf(each) < 5_000);
        expect(below.length).toBeGreaterThan(10);
        for (const [i, each] of sids.entries()) {
          await r.setAlone(each, later("x"));
          if (i % 3 === 0) await r.open(each, ids.next(), "R", i % 2 ? null : later("y"), ids.next());
          if (i % 3 === 1) await r.open(each, ids.next(), "L", null, ids.next());
        }
        const present = await listed();
        expect(await r.drop([0, 5_000])).toBe(below.filter((each) => present.has(each)).length);
        for (const view of await r.view(below)) expect(view).toMatchObject({ session: null, mark: "none" });
        const rest = sids.filter((each) => !below.includes(each));
        expect(await listed()).toEqual(new Set(rest.filter((each) => present.has(each))));
        expect((await r.view(rest)).filter(({ mark }) => mark !== "none").length).toBeGreaterThan(5);
        expect((await r.dirtySids(100)).filter((each) => below.includes(each))).toEqual([]);
        expect((await r.dirtySids(100)).length).toBeGreaterThan(0);
        await r.drop(ALL_BUCKETS);
        expect(await listed()).toEqual(new Set());
        expect(await r.dirtyState()).toEqual({ count: 0, oldestAge: 0 });
      });

      it("spares what is dirty, unless its seal's stamp is older than the one it is told", async () => {
        await r.stamp("5");
        await soil(later("dirty"));
        await r.drop(ALL_BUCKETS, { spareDirty: true });
        await r.drop(ALL_BUCKETS, { spareDirty: true, since: "5" });
        expect(await look()).toMatchObject({ mark: "dirty" });
        await r.drop(ALL_BUCKETS, { spareDirty: true, since: "6" });
        expect(await look()).toMatchObject({ session: null, mark: "none" });
        expect(await r.dirtySids(10)).toEqual([]);
      });

      it("clears marks and keeps values", async () => {
        const session = later("stays");
        await soil(session);
        await r.open(`${sid}-b`, ids.next(), "L", null, ids.next());
        await r.read(`${sid}-c`, ids.next());
        await r.clearMarks();
        for (const view of await r.view([sid, `${sid}-b`, `${sid}-c`])) expect(view.mark).toBe("none");
        expect(await v()).toEqual(session);
        expect(await r.dirtySids(10)).toEqual([]);
      });

      it("tells facts", async () => {
        const facts = await r.facts();
        expect(facts.evictionPolicy).toBe("noeviction");
        expect(Math.abs(facts.now - Date.now())).toBeLessThan(HOUR);
        expect(facts.persistence).toEqual({ aof: false, rdb: false });
        expect(facts).toMatchObject({ replicas: 0, evictedKeys: 0, maxMemory: 0 });
      });
    });

    describe("the seal", () => {
      /** Everything that is not administration, once. */
      const commands = (): Record<string, () => Promise<unknown>> => ({
        read: () => r.read(sid, ids.next()),
        readMany: () => r.readMany([sid], [ids.next()]),
        leaseMany: () => r.leaseMany([sid], [ids.next()]),
        openL: () => r.open(sid, ids.next(), "L", null, ids.next()),
        openR: () => r.open(sid, ids.next(), "R", null, ids.next()),
        openIf: () => touch("L", 1),
        close: () => r.close(sid, ids.next(), { kind: "none" }),
        fill: () => r.fill(sid, ids.next(), null),
        fillMany: () => r.fillMany([{ sid, lease: ids.next(), session: null }]),
        mark: () => r.mark([sid]),
        dirtyRecords: () => r.dirtyRecords([sid]),
        undirty: () => r.undirty([{ sid, nonce: ids.next(), seen: 0 }]),
        reconcile: () => r.reconcile([{ sid, dirty: ids.next() }]),
        dirtySids: () => r.dirtySids(1),
        dirtyState: () => r.dirtyState(),
        push: () => r.push([{ sid, dirty: ids.next() }]),
        view: () => r.view([sid]),
        readAlone: () => r.readAlone(sid),
        setAlone: () => r.setAlone(sid, later("x")),
        touchAlone: () => r.touchAlone(sid, 1),
        destroyAlone: () => r.destroyAlone(sid),
        ping: () => r.ping(),
        stamp: () => r.stamp("1"),
        complete: () => r.complete(),
      });
      const allLost = async () => {
        for (const [command, run] of Object.entries(commands())) {
          await expect(run(), command).rejects.toBeInstanceOf(RedisLost);
        }
      };

      it("is told as it was written", async () => {
        expect(await r.seal()).toEqual({ migration: "shop", generation: r.generation, state: "active" });
        await r.arm(r.generation, "complete");
        expect(await test.other.seal()).toMatchObject({ state: "complete" });
        await r.arm(r.generation, "active", undefined, "7");
        expect(await r.seals()).toEqual({ generations: [r.generation], stamp: "7" });
        await r.ping();
        await r.complete();
        expect(await r.seal()).toMatchObject({ generation: r.generation, state: "complete" });
        await r.ping();
        await r.removeSeal();
        expect(await r.seal()).toBeNull();
        expect(await r.seals()).toBeNull();
      });

      it("takes a stamp, under which everything works as before", async () => {
        await store(later("old"));
        await r.stamp("12");
        await r.stamp("13");
        expect(await test.other.seals()).toEqual({ generations: [r.generation], stamp: "13" });
        expect(await v()).toMatchObject({ value: Buffer.from("old") });
      });

      it("of another generation, also one that begins alike, makes every command fail and change nothing", async () => {
        const { generation } = r;
        await store(later("old"));
        const before = await look();
        for (const other of [newGeneration(), generation.slice(0, -1), `${generation}x`, ""]) {
          r.generation = other;
          await allLost();
        }
        r.generation = generation;
        expect(await look()).toEqual(before);
      });

      it("that is missing makes every command fail, until somebody arms anew", async () => {
        await test.emptyOut();
        await allLost();
        r.trustRestarts = true;
        await allLost();
        await test.other.arm(r.generation, "active");
        expect(await look()).toMatchObject({ session: null, mark: "none" });
      });

      it("of an earlier run makes every command fail, until somebody arms anew", async () => {
        const session = later("old");
        await store(session);
        await test.restart();
        await allLost();
        await test.other.arm(r.generation, "active");
        expect(await v()).toEqual(session);
      });

      it("of an earlier run is rewritten where restarts are trusted, for every node", async () => {
        const session = later("old");
        await store(session);
        await test.restart();
        r.trustRestarts = true;
        expect(await v()).toEqual(session);
        await r.ping();
        await test.other.ping();
        expect(await r.seal()).toMatchObject({ state: "active", generation: r.generation });
      });

      it("is not asked for by administration", async () => {
        await store(later("x"));
        await r.removeSeal();
        expect(await r.seal()).toBeNull();
        await r.facts();
        await r.clearMarks();
        expect(await r.drop(ALL_BUCKETS)).toBe(1);
        await r.disconnectNode(newNodeId());
      });
    });
  });
}
