import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NEVER, type Session, type Sid } from "../../src/core/session.js";
import type { LegacyStore } from "../../src/ports/legacy-store.js";

/** One kind of L under test. */
export interface LegacyHarness {
  /** Another store on the same L, as another node would have it. Closed by the suite. */
  open(): LegacyStore;
  /** Flags that sessions of this L carry. */
  readonly flags: number;
  /** True where values need not be JSON. */
  readonly binary: boolean;
  /** A sid as this L is asked for it; the name itself unless told. */
  sid?(name: string): Sid;
  /** Lets L's clock go on by that many milliseconds. */
  pass(milliseconds: number): Promise<void>;
  stop(): Promise<void>;
}

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** What every LegacyStore must do, whatever stands behind it. */
export function legacyStoreContract(title: string, start: () => Promise<LegacyHarness>): void {
  describe(`${title} as a legacy store`, () => {
    let harness: LegacyHarness;
    let store: LegacyStore;
    let other: LegacyStore;

    beforeAll(async () => {
      harness = await start();
      store = harness.open();
      other = harness.open();
    });

    afterAll(async () => {
      await store?.close();
      await other?.close();
      await harness?.stop();
    });

    const sidOf = (name: string): Sid => harness.sid?.(name) ?? name;
    const newSid = (): Sid => sidOf(`contract-${randomUUID()}`);
    const json = (content: unknown) => Buffer.from(JSON.stringify(content));
    const session = async (content: unknown = { n: 1 }, life = HOUR): Promise<Session> => ({
      value: json(content),
      flags: harness.flags,
      expiresAt: life === NEVER ? NEVER : (await store.now()) + life,
    });

    /** Equal but for what L's granularity takes from the expiry: up to one when written, half of one when read. */
    function expectSame(found: Session | null, expected: Session): void {
      expect(found?.value.equals(expected.value)).toBe(true);
      expect(found?.flags).toBe(expected.flags);
      if (expected.expiresAt === NEVER) expect(found?.expiresAt).toBe(NEVER);
      else expect(Math.abs(found!.expiresAt - expected.expiresAt)).toBeLessThanOrEqual(store.expiryGranularity * 1.5);
    }

    describe("sessions", () => {
      it("gives back bytes, flags and expiry as they were set", async () => {
        const contents = [
          { cookie: { originalMaxAge: 1000, expires: null } },
          { text: 'naïve ☃ 🛒 "quotes" \\ back', nul: "\u0000", crlf: "\r\nEND\r\nHD\r\n" },
          { cart: Array.from({ length: 500 }, (_, n) => ({ n, name: "x".repeat(20) })) },
        ];
        for (const content of contents) {
          for (const life of [HOUR, 40 * DAY, 400 * DAY, NEVER]) {
            const [sid, expected] = [newSid(), await session(content, life)];
            await store.set(sid, expected);
            expectSame(await other.get(sid), expected);
          }
        }
      });

      it("keeps the very bytes of a JSON text: spaces, doubled keys, escapes", async () => {
        const sid = newSid();
        const expected = { ...(await session()), value: Buffer.from('{ "b":1, "a" : 2,"b":3,"z":"\\u0000\\u00e9" }') };
        await store.set(sid, expected);
        expectSame(await store.get(sid), expected);
      });

      it("takes any bytes where L does", async () => {
        if (!harness.binary) return;
        for (const value of [Buffer.from([...Array(256).keys()]), Buffer.from("\r\n"), Buffer.alloc(100_000, 0xff)]) {
          const [sid, expected] = [newSid(), { ...(await session()), value }];
          await store.set(sid, expected);
          expectSame(await store.get(sid), expected);
        }
      });

      it("finds nothing for ids that were never stored, whatever they are made of", async () => {
        for (const name of ["with space", "line\r\nbreak", "nul\0", "ünïcode", "'; DROP TABLE session; --"]) {
          const sid = sidOf(name);
          expect(await store.get(sid)).toBeNull();
          expect(await store.touch(sid, (await store.now()) + HOUR)).toBe(false);
          expect(await store.destroy(sid)).toBe(false);
        }
        expect(await store.getMany([newSid(), sidOf("nul\0")])).toEqual([null, null]);
      });

      it("takes ids with spaces, quotes and letters of any script", async () => {
        for (const start of ["with space", "line\r\nbreak", "quo\"te's", "ünïcode ☃", "tab\t", "a,b:c%20"]) {
          const [sid, expected] = [`${start}${randomUUID()}`, await session()];
          await store.set(sid, expected);
          expectSame(await other.get(sid), expected);
          expectSame((await store.getMany([sid]))[0]!, expected);
          expect(await store.destroy(sid)).toBe(true);
          expect(await store.get(sid)).toBeNull();
        }
      });

      it("replaces a session, and its expiry with it", async () => {
        const sid = newSid();
        await store.set(sid, await session({ n: 1 }, NEVER));
        const second = await session({ n: 2 }, 2 * HOUR);
        await other.set(sid, second);
        expectSame(await store.get(sid), second);
      });

      it("reads many in the order asked for, absent and repeated ones too", async () => {
        const [a, b, absent] = [newSid(), newSid(), newSid()];
        const [first, second] = [await session({ n: "a" }), await session({ n: "b" })];
        await Promise.all([store.set(a, first), store.set(b, second)]);
        const found = await store.getMany([b, absent, a, b]);
        expectSame(found[0]!, second);
        expect(found[1]).toBeNull();
        expectSame(found[2]!, first);
        expectSame(found[3]!, second);
        expect(await store.getMany([])).toEqual([]);
      });

      it("destroys, and says whether there was anything", async () => {
        const sid = newSid();
        await store.set(sid, await session());
        expect(await other.destroy(sid)).toBe(true);
        expect(await store.get(sid)).toBeNull();
        expect(await store.destroy(sid)).toBe(false);
      });

      it("moves the expiry and leaves the value alone", async () => {
        const sid = newSid();
        const before = await session({ n: 1 }, HOUR);
        await store.set(sid, before);
        for (const expiresAt of [
          before.expiresAt + DAY,
          before.expiresAt - HOUR / 2,
          NEVER,
          before.expiresAt + 60 * DAY,
        ]) {
          expect(await store.touch(sid, expiresAt)).toBe(true);
          expectSame(await store.get(sid), { ...before, expiresAt });
        }
        expect(await store.touch(newSid(), before.expiresAt)).toBe(false);
      });

      it("takes an expired session for absent, everywhere", async () => {
        const [dead, dying, touchedDead] = [newSid(), newSid(), newSid()];
        await store.set(dead, await session({}, -DAY));
        await store.set(dying, await session({}, 1_100));
        await store.set(touchedDead, await session({}, HOUR));
        await store.touch(touchedDead, (await store.now()) - HOUR);
        expect(await store.get(dying)).not.toBeNull();
        await harness.pass(2_300);
        for (const sid of [dead, dying, touchedDead]) {
          expect(await store.get(sid)).toBeNull();
          expect(await store.touch(sid, (await store.now()) + HOUR)).toBe(false);
          expect(await store.destroy(sid)).toBe(false);
        }
        expect(await store.getMany([dead, dying, touchedDead])).toEqual([null, null, null]);
        expect(await store.holds([dead, dying, touchedDead])).toEqual([false, false, false]);
        expect((await listed()).filter((sid) => [dead, dying, touchedDead].includes(sid))).toEqual([]);
      });
    });

    describe("tokens", () => {
      const token = async (from: LegacyStore, sid: Sid) => {
        const [taken] = await from.tokens([sid]);
        expect(taken).not.toBeNull();
        return taken!;
      };

      it("let a change through when nothing happened", async () => {
        const sid = newSid();
        const [first, second] = [await session({ n: 1 }), await session({ n: 2 }, 2 * HOUR)];
        expect(await store.applyIf([{ token: await token(store, sid), session: first }])).toEqual(["applied"]);
        expectSame(await other.get(sid), first);
        expect(await store.applyIf([{ token: await token(store, sid), session: second }])).toEqual(["applied"]);
        expectSame(await other.get(sid), second);
        expect(await store.applyIf([{ token: await token(store, sid), session: null }])).toEqual(["applied"]);
        expect(await other.get(sid)).toBeNull();
        expect(await store.applyIf([{ token: await token(store, sid), session: null }])).toEqual(["applied"]);
        expect(await other.get(sid)).toBeNull();
      });

      it("are good for one change", async () => {
        const sid = newSid();
        const taken = await token(store, sid);
        const written = await session();
        expect(await store.applyIf([{ token: taken, session: written }])).toEqual(["applied"]);
        expect(await store.applyIf([{ token: taken, session: null }])).toEqual(["changed"]);
        expectSame(await store.get(sid), written);
        const next = await token(store, sid);
        expect(
          await store.applyIf([
            { token: next, session: written },
            { token: next, session: null },
          ]),
        ).toEqual(["applied", "changed"]);
        expectSame(await store.get(sid), written);
      });

      it("leave no trace of an absent session that a reader could see", async () => {
        const sid = newSid();
        await token(store, sid);
        expect(await other.get(sid)).toBeNull();
        expect(await other.getMany([sid])).toEqual([null]);
        expect(await other.holds([sid])).toEqual([false]);
        expect(await other.touch(sid, (await store.now()) + HOUR)).toBe(false);
        expect(await other.get(sid)).toBeNull();
        expect(await listed()).not.toContain(sid);
        await token(store, sid);
        expect(await other.destroy(sid)).toBe(false);
        await token(store, sid);
        const written = await session();
        await other.set(sid, written);
        expectSame(await store.get(sid), written);
      });

      it.each(["absent", "present"])("refuse a change after another's write, from %s", async (from) => {
        for (const change of [await session({ n: "late" }), null]) {
          const sid = newSid();
          if (from === "present") await other.set(sid, await session({ n: "old" }));
          const taken = await token(store, sid);
          const between = await session({ n: "between" });
          await other.set(sid, between);
          expect(await store.applyIf([{ token: taken, session: change }])).toEqual(["changed"]);
          expectSame(await store.get(sid), between);
        }
      });

      it.each(["absent", "present"])("refuse a change after a write and a destroy, from %s", async (from) => {
        for (const change of [await session({ n: "late" }), null]) {
          const sid = newSid();
          if (from === "present") await other.set(sid, await session({ n: "old" }));
          const taken = await token(store, sid);
          await other.set(sid, await session({ n: "between" }));
          await other.destroy(sid);
          expect(await store.applyIf([{ token: taken, session: change }])).toEqual(["changed"]);
          expect(await store.get(sid)).toBeNull();
        }
      });

      it("refuse a change after another's change and back", async () => {
        const sid = newSid();
        const same = await session({ n: "same" });
        await store.set(sid, same);
        const taken = await token(store, sid);
        await other.set(sid, await session({ n: "other" }));
        await other.set(sid, same);
        expect(await store.applyIf([{ token: taken, session: null }])).toEqual(["changed"]);
        expectSame(await store.get(sid), same);
      });

      it("of many sids stand each for itself", async () => {
        const sids = Array.from({ length: 60 }, newSid);
        const old = await session({ n: "old" });
        await Promise.all(sids.filter((_, n) => n % 2 === 0).map((sid) => store.set(sid, old)));
        const tokens = await store.tokens(sids);
        const disturbed = new Set(sids.filter((_, n) => n % 3 === 0));
        const between = await session({ n: "between" });
        await Promise.all([...disturbed].map((sid) => other.set(sid, between)));
        const drained = await session({ n: "drained" });
        const deleted = (n: number) => n % 5 === 0;
        const outcomes = await store.applyIf(
          tokens.map((t, n) => ({ token: t!, session: deleted(n) ? null : drained })),
        );
        expect(outcomes).toEqual(sids.map((sid) => (disturbed.has(sid) ? "changed" : "applied")));
        for (const [n, found] of (await other.getMany(sids)).entries()) {
          if (disturbed.has(sids[n]!)) expectSame(found, between);
          else if (deleted(n)) expect(found).toBeNull();
          else expectSame(found, drained);
        }
        expect(await store.tokens([])).toEqual([]);
        expect(await store.applyIf([])).toEqual([]);
      });

      it("let exactly one of two concurrent changes through", async () => {
        for (let round = 0; round < 25; round++) {
          const sid = newSid();
          if (round % 2 === 0) await store.set(sid, await session({ n: "old" }));
          const [mine, theirs] = [await token(store, sid), await token(other, sid)];
          const [a, b] = [await session({ n: "a" }), await session({ n: "b" })];
          const [won, lost] = await Promise.all([
            store.applyIf([{ token: mine, session: a }]),
            other.applyIf([{ token: theirs, session: b }]),
          ]);
          expect([won[0], lost[0]].sort()).toEqual(["applied", "changed"]);
          expectSame(await store.get(sid), won[0] === "applied" ? a : b);
        }
      });

      it("taken and used by two drainers in opposite order block nobody", async () => {
        const sids = Array.from({ length: 40 }, newSid);
        const drain = async (from: LegacyStore, order: Sid[], n: string) => {
          const tokens = await from.tokens(order);
          const written = await session({ n });
          const changes = tokens.flatMap((t) => (t === null ? [] : [{ token: t, session: written }]));
          return (await from.applyIf(changes)).filter((outcome) => outcome === "applied").length;
        };
        for (let round = 0; round < 10; round++) {
          const [a, b] = await Promise.all([drain(store, sids, "a"), drain(other, [...sids].reverse(), "b")]);
          expect(a + b).toBeGreaterThanOrEqual(sids.length);
        }
        expect((await store.getMany(sids)).filter((found) => found === null)).toEqual([]);
      });
    });

    async function listed(pageSize = 1_000, after?: Sid, unverified = false): Promise<Sid[]> {
      const sids: Sid[] = [];
      for await (const page of store.list({ pageSize, unverified, ...(after !== undefined && { after }) })) {
        expect(page.length).toBeGreaterThan(0);
        expect(page.length).toBeLessThanOrEqual(pageSize);
        sids.push(...page);
      }
      return sids;
    }

    describe("as a whole", () => {
      it("lists every live session once, in one order, from wherever it is asked to go on", async () => {
        const sids = Array.from({ length: 53 }, newSid);
        for (const sid of sids) await store.set(sid, await session());
        const whole = await listed(10);
        expect(new Set(whole).size).toBe(whole.length);
        for (const sid of sids) expect(whole).toContain(sid);
        expect(await listed(1_000)).toEqual(whole);
        expect(await store.holds(whole)).toEqual(whole.map(() => true));
        expect(await listed(1_000, undefined, true)).toEqual(expect.arrayContaining(whole));
        for (const cut of [0, 17, whole.length - 1]) {
          expect(await listed(7, whole[cut])).toEqual(whole.slice(cut + 1));
        }
        await store.destroy(whole[20]!);
        expect(await listed(7, whole[20])).toEqual(whole.slice(21));
      });

      it("stops listing when told to", async () => {
        const abort = new AbortController();
        const walk = async () => {
          for await (const _ of store.list({ pageSize: 5, signal: abort.signal })) abort.abort();
        };
        await expect(walk()).rejects.toThrow();
      });

      it("counts what is there", async () => {
        const before = await store.count();
        for (let n = 0; n < 9; n++) await store.set(newSid(), await session());
        expect((await other.count()) - before).toBe(9);
      });

      it("prunes no live session", async () => {
        const sid = newSid();
        await store.set(sid, await session());
        expect(await store.prune()).toBeGreaterThanOrEqual(0);
        expect(await store.get(sid)).not.toBeNull();
      });

      it("has one identity and one clock for all that look", async () => {
        expect(await store.identity()).toBe(await other.identity());
        expect(Math.abs((await store.now()) - (await other.now()))).toBeLessThanOrEqual(store.expiryGranularity + 100);
      });

      it("finds no connection of a node that is not there", async () => {
        expect(await store.disconnectNode("nobody00", [])).toBe(true);
      });
    });
  });
}
