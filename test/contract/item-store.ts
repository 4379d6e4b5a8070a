import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NEVER, type Session, type Sid } from "../../src/core/session.js";
import type { CasToken, ItemResult, ItemStore, ItemVerb } from "../../src/ports/items.js";

/** What the suite needs of the store under test: two ways to it, as two nodes have them. */
export interface ItemsUnderTest {
  readonly one: ItemStore;
  readonly other: ItemStore;
  stop(): Promise<void>;
}

const HOUR = 3_600_000;
const AT_ONCE = 24;
const TOKEN = { token: true } as const;
const PLAIN = { token: false } as const;

const ABSENT = { result: "absent" };
const PRESENT = { result: "present" };
const CHANGED = { result: "changed" };

/** More than a memcached takes that was not told how much. */
const HUGE = Buffer.alloc(1_500_000, "x");

/**
 * memcached's semantics, verb by verb, from whichever node it is asked: every store with its verbs passes this.
 *
 * @param limited whether values have at most the size that memcached takes by default.
 */
export function itemStoreContract(name: string, begin: () => Promise<ItemsUnderTest>, limited = true): void {
  describe(`items of ${name}`, () => {
    let under: ItemsUnderTest;
    let turn = 0;
    beforeAll(async () => {
      under = await begin();
    });
    afterAll(async () => {
      await under?.stop();
    });

    const fresh = (): Sid => randomUUID();
    const session = (value: string | Buffer, flags = 0, life = HOUR): Session => ({
      value: Buffer.from(value),
      flags,
      expiresAt: life === NEVER ? NEVER : Date.now() + life,
    });
    /** The nodes take turns: an item is one item wherever it is asked for. */
    const node = (): ItemStore => (turn++ % 2 === 0 ? under.one : under.other);
    const perform = (sid: Sid, verb: ItemVerb, wishes = PLAIN as { token: boolean }) =>
      node().perform(sid, verb, wishes);
    const set = async (sid: Sid, value: string | Buffer, flags = 0, life = HOUR): Promise<void> => {
      expect(await perform(sid, { verb: "set", session: session(value, flags, life) })).toMatchObject({
        result: "done",
      });
    };
    const get = async (sid: Sid) => (await node().read([sid], PLAIN))[0] ?? null;
    const text = async (sid: Sid): Promise<string | null> => (await get(sid))?.value.toString("latin1") ?? null;
    const gets = async (sid: Sid): Promise<CasToken> => (await node().read([sid], TOKEN))[0]!.token;
    const tokenOf = (result: ItemResult): CasToken => {
      if (result.result !== "done") throw new Error(`it was ${result.result}`);
      return result.token;
    };
    const count = (verb: "incr" | "decr", by: bigint, initial: Session | null = null): ItemVerb => ({
      verb,
      by,
      initial,
      token: 0n,
    });
    const counted = async (sid: Sid, verb: "incr" | "decr", by: bigint): Promise<string | null> => {
      const result = await perform(sid, count(verb, by));
      return result.result === "done" ? (result.item?.value.toString() ?? null) : result.result;
    };

    it("keeps bytes and flags as they are, empty values too", async () => {
      const bytes = Buffer.from([...Array(256).keys()]);
      for (const [value, flags] of [
        [bytes, 0xffff_ffff],
        [Buffer.alloc(0), 0],
        [Buffer.alloc(0), 7],
        [Buffer.alloc(100_000, "x"), 1],
      ] as const) {
        const sid = fresh();
        await set(sid, value, flags);
        for (let i = 0; i < 2; i++) {
          const item = await get(sid);
          // Compared here: a matcher takes seconds for so many bytes, and stops everything meanwhile.
          expect([item?.value.equals(value), item?.flags]).toEqual([true, flags]);
        }
      }
    });

    it("reads many in their order, absent ones as null", async () => {
      const sids = [fresh(), fresh(), fresh(), fresh()];
      await set(sids[0]!, "a");
      await set(sids[2]!, "c", 5);
      for (const wishes of [PLAIN, TOKEN]) {
        const found = await node().read(sids, wishes);
        expect(found.map((item) => item && [item.value.toString(), item.flags])).toEqual([
          ["a", 0],
          null,
          ["c", 5],
          null,
        ]);
      }
      expect(await node().read([], PLAIN)).toEqual([]);
    });

    it("tells the expiry, and knows nothing of an item after it", async () => {
      const sid = fresh();
      await set(sid, "x", 0, 20_000);
      const { expiresAt } = (await get(sid))!;
      expect(Math.abs(expiresAt - Date.now() - 20_000)).toBeLessThan(2_500);
      await set(sid, "x", 0, NEVER);
      expect((await get(sid))!.expiresAt).toBe(NEVER);
    });

    it("stores and at once forgets what has expired already", async () => {
      for (const verb of ["set", "add", "replace"] as const) {
        const sid = fresh();
        if (verb !== "add") await set(sid, "old");
        const done = await perform(sid, { verb, session: session("new", 0, -5_000) });
        expect(done).toMatchObject({ result: "done" });
        expect(await get(sid)).toBeNull();
        expect(await perform(sid, { verb: "add", session: session("again") })).toMatchObject({ result: "done" });
        expect(await text(sid)).toBe("again");
        expect(await perform(sid, { verb: "add", session: session("probe", 0, -5_000) })).toEqual(PRESENT);
      }
    });

    it("adds only where there is none, replaces only what is there", async () => {
      const sid = fresh();
      expect(await perform(sid, { verb: "replace", session: session("x") })).toEqual(ABSENT);
      expect(await perform(sid, { verb: "add", session: session("a", 3) })).toMatchObject({ result: "done" });
      expect(await perform(sid, { verb: "add", session: session("b") })).toEqual(PRESENT);
      expect(await get(sid)).toMatchObject({ value: Buffer.from("a"), flags: 3 });
      expect(await perform(sid, { verb: "replace", session: session("c", 4) })).toMatchObject({ result: "done" });
      expect(await get(sid)).toMatchObject({ value: Buffer.from("c"), flags: 4 });
    });

    it("deletes once", async () => {
      const sid = fresh();
      expect(await perform(sid, { verb: "delete", token: 0n })).toEqual(ABSENT);
      await set(sid, "x");
      expect(await perform(sid, { verb: "delete", token: 0n })).toMatchObject({ result: "done" });
      expect(await perform(sid, { verb: "delete", token: 0n })).toEqual(ABSENT);
      expect(await get(sid)).toBeNull();
    });

    it("appends and prepends, flags and expiry staying", async () => {
      const sid = fresh();
      for (const verb of ["append", "prepend"] as const) {
        expect(await perform(sid, { verb, data: Buffer.from("x"), token: 0n })).toEqual(ABSENT);
      }
      await set(sid, "b", 9, 20_000);
      await perform(sid, { verb: "append", data: Buffer.from("c\0"), token: 0n });
      await perform(sid, { verb: "prepend", data: Buffer.from("a"), token: 0n });
      const item = (await get(sid))!;
      expect(item).toMatchObject({ value: Buffer.from("abc\0"), flags: 9 });
      expect(Math.abs(item.expiresAt - Date.now() - 20_000)).toBeLessThan(2_500);
    });

    it("counts in 64 bits: up around the end, down to nothing, in the old place where it fits", async () => {
      const sid = fresh();
      expect(await counted(sid, "incr", 1n)).toBe("absent");
      await set(sid, "9007199254740992", 2);
      expect(await counted(sid, "incr", 1n)).toBe("9007199254740993");
      expect(await counted(sid, "incr", 18437736874454810623n)).toBe("0");
      expect(await text(sid)).toBe("0".padEnd(20).slice(0, 16));
      await set(sid, "18446744073709551615");
      expect(await counted(sid, "decr", 1n)).toBe("18446744073709551614");
      expect(await counted(sid, "incr", 2n)).toBe("0");
      expect(await text(sid)).toBe("0".padEnd(20));
      await set(sid, "11");
      expect(await counted(sid, "decr", 3n)).toBe("8");
      expect(await text(sid)).toBe("8 ");
      expect(await counted(sid, "incr", 92n)).toBe("100");
      expect(await counted(sid, "decr", 101n)).toBe("0");
      expect(await text(sid)).toBe("0  ");
      await set(sid, " +07 x", 6);
      expect(await counted(sid, "incr", 1n)).toBe("8");
      expect(await get(sid)).toMatchObject({ value: Buffer.from("8     "), flags: 6 });
    });

    it("does not count what is no number", async () => {
      const sid = fresh();
      for (const value of ["abc", "", "18446744073709551616", "1.5", "-"]) {
        await set(sid, value, 3);
        expect(await counted(sid, "incr", 1n)).toBe("not-a-number");
        expect(await counted(sid, "decr", 1n)).toBe("not-a-number");
        expect(await get(sid)).toMatchObject({ value: Buffer.from(value), flags: 3 });
      }
    });

    it("begins to count where it is told with what", async () => {
      for (const flags of [0, 5]) {
        const sid = fresh();
        const first = count("decr", 3n, session("13", flags));
        expect(await perform(sid, first)).toMatchObject({ result: "done", item: { value: Buffer.from("13") } });
        expect(await perform(sid, first)).toMatchObject({ result: "done", item: { value: Buffer.from("10") } });
        expect(await get(sid)).toMatchObject({ value: Buffer.from("10"), flags });
      }
    });

    it("touches what is there, and gets it in the same step", async () => {
      const sid = fresh();
      const soon = () => Date.now() + 30_000;
      expect(await perform(sid, { verb: "touch", expiresAt: soon() })).toEqual(ABSENT);
      expect(await perform(sid, { verb: "get-and-touch", expiresAt: soon() })).toEqual(ABSENT);
      await set(sid, "x", 8, HOUR);
      expect(await perform(sid, { verb: "touch", expiresAt: soon() })).toMatchObject({ result: "done" });
      expect(Math.abs((await get(sid))!.expiresAt - soon())).toBeLessThan(2_500);
      const got = await perform(sid, { verb: "get-and-touch", expiresAt: NEVER });
      expect(got).toMatchObject({ result: "done", item: { value: Buffer.from("x"), flags: 8, expiresAt: NEVER } });
      expect(await get(sid)).toMatchObject({ value: Buffer.from("x"), flags: 8, expiresAt: NEVER });
      expect(await perform(sid, { verb: "get-and-touch", expiresAt: Date.now() - 5_000 })).toMatchObject({
        result: "done",
        item: { value: Buffer.from("x") },
      });
      expect(await get(sid)).toBeNull();
      expect(await perform(sid, { verb: "touch", expiresAt: soon() })).toEqual(ABSENT);
    });

    if (limited) {
      it("refuses what is too large, and a set has removed the old item then", async () => {
        const sid = fresh();
        const refuse = async (verb: ItemVerb) => {
          const code = await perform(sid, verb).then(
            ({ result }) => result,
            (error: { code?: string }) => error.code,
          );
          expect([verb.verb, code]).toEqual([verb.verb, "VALUE_TOO_LARGE"]);
        };
        await refuse({ verb: "add", session: session(HUGE) });
        expect(await get(sid)).toBeNull();
        await set(sid, "old", 3);
        const token = await gets(sid);
        await refuse({ verb: "add", session: session(HUGE) });
        await refuse({ verb: "replace", session: session(HUGE) });
        await refuse({ verb: "cas", session: session(HUGE), token });
        await refuse({ verb: "append", data: HUGE, token: 0n });
        await refuse({ verb: "prepend", data: HUGE, token: 0n });
        expect(await get(sid)).toMatchObject({ value: Buffer.from("old"), flags: 3 });
        expect(await gets(sid)).toBe(token);
        await refuse({ verb: "set", session: session(HUGE) });
        expect(await get(sid)).toBeNull();
      });

      it("does not let an item grow beyond what fits", async () => {
        const sid = fresh();
        const half = HUGE.subarray(0, 600_000);
        await set(sid, half);
        for (const verb of ["append", "prepend"] as const) {
          expect(await perform(sid, { verb, data: half, token: 0n })).toEqual(ABSENT);
          expect((await get(sid))?.value.length).toBe(half.length);
        }
      });
    }

    describe("tokens", () => {
      it("let the holder of the last one change the item, once", async () => {
        const sid = fresh();
        expect(await perform(sid, { verb: "cas", session: session("x"), token: 1n })).toEqual(ABSENT);
        await set(sid, "a", 4);
        const token = await gets(sid);
        expect(token).not.toBe(0n);
        expect(await gets(sid)).toBe(token);
        for (const wrong of [0n, token ^ 1n]) {
          expect(await perform(sid, { verb: "cas", session: session("x"), token: wrong })).toEqual(CHANGED);
        }
        expect(await perform(sid, { verb: "cas", session: session("b", 6), token })).toMatchObject({ result: "done" });
        expect(await perform(sid, { verb: "cas", session: session("c"), token })).toEqual(CHANGED);
        expect(await get(sid)).toMatchObject({ value: Buffer.from("b"), flags: 6 });
      });

      it("are others after every change of the value, the same value too", async () => {
        const changes: ItemVerb[] = [
          { verb: "set", session: session("1") },
          { verb: "replace", session: session("1") },
          { verb: "append", data: Buffer.alloc(0), token: 0n },
          { verb: "prepend", data: Buffer.from("1"), token: 0n },
          count("incr", 0n),
          count("decr", 0n),
        ];
        const sid = fresh();
        await set(sid, "1");
        for (const change of changes) {
          const before = await gets(sid);
          expect(await perform(sid, change)).toMatchObject({ result: "done" });
          expect(await perform(sid, { verb: "cas", session: session("late"), token: before })).toEqual(CHANGED);
          expect(await gets(sid)).not.toBe(before);
        }
        const before = await gets(sid);
        await perform(sid, { verb: "delete", token: 0n });
        await set(sid, "1");
        expect(await perform(sid, { verb: "cas", session: session("late"), token: before })).toEqual(CHANGED);
      });

      it("outlive a touch", async () => {
        const sid = fresh();
        await set(sid, "a");
        const token = await gets(sid);
        await perform(sid, { verb: "touch", expiresAt: Date.now() + HOUR });
        const got = await perform(sid, { verb: "get-and-touch", expiresAt: Date.now() + HOUR }, TOKEN);
        expect(tokenOf(got)).toBe(token);
        expect(await gets(sid)).toBe(token);
        expect(await perform(sid, { verb: "cas", session: session("b"), token })).toMatchObject({ result: "done" });
      });

      it("come with writes that ask for them", async () => {
        const sid = fresh();
        let token = tokenOf(await perform(sid, { verb: "add", session: session("1") }, TOKEN));
        for (const verb of [
          { verb: "set", session: session("2") },
          { verb: "replace", session: session("3") },
          { verb: "append", data: Buffer.from("0"), token: 0n },
          count("incr", 5n),
          { verb: "touch", expiresAt: Date.now() + HOUR },
        ] satisfies ItemVerb[]) {
          const next = tokenOf(await perform(sid, verb, TOKEN));
          if (verb.verb === "touch") expect(next).toBe(token);
          else expect(next).not.toBe(token);
          token = next;
          expect(await gets(sid)).toBe(token);
        }
        expect(await perform(sid, { verb: "cas", session: session("x"), token })).toMatchObject({ result: "done" });
      });

      it("guard append, count and delete where they are given", async () => {
        const sid = fresh();
        await set(sid, "1");
        const token = await gets(sid);
        const guarded = (given: CasToken): ItemVerb[] => [
          { verb: "append", data: Buffer.from("2"), token: given },
          { ...count("incr", 1n), token: given } as ItemVerb,
          { verb: "delete", token: given },
        ];
        for (const verb of guarded(token ^ 1n)) expect(await perform(sid, verb)).toEqual(CHANGED);
        expect(await text(sid)).toBe("1");
        for (const [i] of guarded(0n).entries()) {
          const verb = guarded(await gets(sid))[i]!;
          expect(await perform(sid, verb)).toMatchObject({ result: "done" });
        }
        expect(await get(sid)).toBeNull();
      });
    });

    describe("many at once, from two nodes", () => {
      const together = <T>(work: (i: number) => Promise<T>): Promise<T[]> =>
        Promise.all(Array.from({ length: AT_ONCE }, (_, i) => work(i)));
      const winners = (results: readonly ItemResult[]) => results.filter(({ result }) => result === "done").length;

      it("adds of one key store exactly one", async () => {
        for (let round = 0; round < 5; round++) {
          const sid = fresh();
          const results = await together((i) => perform(sid, { verb: "add", session: session(`n${i}`) }));
          expect(winners(results)).toBe(1);
          expect(await text(sid)).toBe(`n${results.findIndex(({ result }) => result === "done")}`);
        }
      });

      it("counts lose nothing", async () => {
        const sid = fresh();
        await set(sid, "0");
        await together(() => perform(sid, count("incr", 3n)));
        expect(await text(sid)).toBe(String(3 * AT_ONCE));
      });

      it("appends lose nothing", async () => {
        const sid = fresh();
        await set(sid, "");
        const letter = (i: number) => String.fromCharCode(65 + i);
        await together((i) => perform(sid, { verb: "append", data: Buffer.from(letter(i)), token: 0n }));
        expect([...((await text(sid)) ?? "")].sort()).toEqual(Array.from({ length: AT_ONCE }, (_, i) => letter(i)));
      });

      it("of those with one token exactly one changes the item", async () => {
        const sid = fresh();
        await set(sid, "first");
        for (let round = 0; round < 5; round++) {
          const token = await gets(sid);
          const results = await together((i) => perform(sid, { verb: "cas", session: session(`${i}`), token }));
          expect(winners(results)).toBe(1);
          expect(await text(sid)).toBe(String(results.findIndex(({ result }) => result === "done")));
        }
      });

      it("deletes find it once", async () => {
        const sid = fresh();
        await set(sid, "x");
        expect(winners(await together(() => perform(sid, { verb: "delete", token: 0n })))).toBe(1);
      });
    });
  });
}
