import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Call, isLinearizable, type Recorded, type Register, type State } from "./linearizability.js";

const state = (value: string, expiresAt = 1): State => ({ value, expiresAt });
const op = (begun: number, ended: number, call: Call): Recorded => ({ begun, ended, call });
const get = (result: State): Call => ({ kind: "get", result });
const set = (to: State): Call => ({ kind: "set", state: to });

describe("the history checker", () => {
  it("accepts a read of either value while a write is under way", () => {
    const write = op(1, 4, set(state("new")));
    expect(isLinearizable([write, op(2, 3, get(state("new")))], state("old"))).toBe(true);
    expect(isLinearizable([write, op(2, 3, get(state("old")))], state("old"))).toBe(true);
  });

  it("refuses a stale read, a value nobody wrote, and a session that comes back", () => {
    expect(isLinearizable([op(1, 2, set(state("new"))), op(3, 4, get(state("old")))], state("old"))).toBe(false);
    expect(isLinearizable([op(1, 2, get(state("ghost")))], null)).toBe(false);
    expect(isLinearizable([op(1, 2, set(null)), op(3, 4, get(state("old")))], state("old"))).toBe(false);
  });

  it("refuses two reads that see two writes in opposite orders", () => {
    const writes = [op(1, 9, set(state("a"))), op(1, 9, set(state("b")))];
    const seen = (first: string, second: string, third: string) =>
      isLinearizable(
        [...writes, op(2, 3, get(state(first))), op(4, 5, get(state(second))), op(6, 7, get(state(third)))],
        null,
      );
    expect(seen("a", "b", "b")).toBe(true);
    expect(seen("a", "b", "a")).toBe(false);
  });

  it("lets a write of unknown outcome take effect late, or never, but not twice", () => {
    const lost = op(1, Number.POSITIVE_INFINITY, set(state("lost")));
    const old = op(2, 3, get(state("old")));
    expect(isLinearizable([lost, old, op(4, 5, get(state("lost")))], state("old"))).toBe(true);
    expect(isLinearizable([lost, old], state("old"))).toBe(true);
    expect(
      isLinearizable(
        [lost, op(2, 3, get(state("lost"))), op(4, 5, set(state("x"))), op(6, 7, get(state("lost")))],
        state("old"),
      ),
    ).toBe(false);
  });

  it("checks what a touch says and does", () => {
    const touch = (result: boolean): Call => ({ kind: "touch", expiresAt: 9, result });
    expect(isLinearizable([op(1, 2, touch(true)), op(3, 4, get(state("v", 9)))], state("v"))).toBe(true);
    expect(isLinearizable([op(1, 2, touch(true)), op(3, 4, get(state("v", 1)))], state("v"))).toBe(false);
    expect(isLinearizable([op(1, 2, touch(true))], null)).toBe(false);
    expect(isLinearizable([op(1, 2, touch(false))], state("v"))).toBe(false);
  });

  it("lets a forgetful register lose a session, and neither go back nor find it again", () => {
    const [old, fresh] = [op(1, 2, set(state("old"))), op(3, 4, set(state("new")))];
    const reads = (...seen: State[]) => [old, fresh, ...seen.map((result, i) => op(5 + 2 * i, 6 + 2 * i, get(result)))];
    expect(isLinearizable(reads(state("new"), null), null)).toBe(false);
    expect(isLinearizable(reads(state("new"), null), null, { forgetful: true })).toBe(true);
    expect(isLinearizable(reads(null, state("new")), null, { forgetful: true })).toBe(false);
    expect(isLinearizable(reads(state("old")), null, { forgetful: true })).toBe(false);
  });

  it("does not judge the expiry of a call that was never answered where the register counts it from its arrival", () => {
    const [lost, reads] = [
      [
        op(1, Number.POSITIVE_INFINITY, set(state("v", 4))),
        op(1, Number.POSITIVE_INFINITY, { kind: "touch", expiresAt: 4 }),
      ],
      (...expiries: number[]) => expiries.map((expiry, i) => op(5 + 2 * i, 6 + 2 * i, get(state("v", expiry)))),
    ] as const;
    for (const call of lost) {
      const history = [call, ...reads(5, 4)];
      expect(isLinearizable(history, state("v", 1))).toBe(false);
      expect(isLinearizable(history, state("v", 1), { counting: true })).toBe(true);
      expect(isLinearizable([...history, op(11, 12, get(state("ghost", 4)))], state("v", 1), { counting: true })).toBe(
        false,
      );
    }
    const told = op(1, 2, set(state("v", 4)));
    expect(isLinearizable([told, ...reads(5)], null, { counting: true })).toBe(false);
  });

  it("decides a history full of requests that were never answered within a moment", () => {
    const unknown = (i: number): Call =>
      i % 3 === 0 ? { kind: "touch", expiresAt: i } : set(i % 7 === 0 ? null : state(`v${i}`, i));
    const writes = Array.from({ length: 24 }, (_, i) => op(i, Number.POSITIVE_INFINITY, unknown(i)));
    // Each of the values was seen, and then one that nobody wrote.
    const reads = [1, 2, 4, 5, 8].map((i, n) =>
      op(30 + 2 * n, 31 + 2 * n, get(state(`v${i}`, n % 2 === 0 ? i : 3 * i))),
    );
    const began = performance.now();
    expect(isLinearizable([...writes, ...reads.slice(0, 1)], null)).toBe(true);
    expect(isLinearizable([...writes, ...reads, op(50, 51, get(state("ghost")))], null)).toBe(false);
    expect(performance.now() - began).toBeLessThan(5_000);
  });

  it("says what trying every order says", () => {
    const someState = fc.option(
      fc.record({ value: fc.constantFrom("a", "b", "c"), expiresAt: fc.integer({ min: 1, max: 3 }) }),
    );
    const call: fc.Arbitrary<Call> = fc.oneof(
      fc.record({ kind: fc.constant("get" as const), result: someState }),
      fc.record({ kind: fc.constant("set" as const), state: someState }),
      fc.record({
        kind: fc.constant("touch" as const),
        expiresAt: fc.integer({ min: 1, max: 3 }),
        result: fc.boolean(),
      }),
    );
    const recorded = fc
      .record({ call, begun: fc.nat(12), lasts: fc.nat(6), open: fc.boolean() })
      .map(
        ({ call, begun, lasts, open }): Recorded =>
          op(begun, open ? Number.POSITIVE_INFINITY : begun + lasts + 0.5, call),
      );
    const register = fc.record({ forgetful: fc.boolean(), counting: fc.boolean() });
    const answers = { true: 0, false: 0 };
    fc.assert(
      fc.property(fc.array(recorded, { maxLength: 6 }), someState, register, (history, initial, kind) => {
        const expected = byTryingAll(history, initial, kind);
        answers[`${expected}`]++;
        return isLinearizable(history, initial, kind) === expected;
      }),
      { numRuns: 20_000 },
    );
    // Neither answer is a rare one.
    expect(Math.min(answers.true, answers.false)).toBeGreaterThan(2_000);
  });
});

/** The definition itself: some order of the calls that were answered and of any of the others. */
function byTryingAll(left: readonly Recorded[], state: State, register: Register): boolean {
  if (left.every(({ ended }) => ended === Number.POSITIVE_INFINITY)) return true;
  if (register.forgetful && state !== null && byTryingAll(left, null, register)) return true;
  const earliestEnd = Math.min(...left.map(({ ended }) => ended));
  return left.some((next) => {
    if (next.begun > earliestEnd) return false;
    const then = answered(state, next, register.counting === true);
    return (
      then !== undefined &&
      byTryingAll(
        left.filter((other) => other !== next),
        then,
        register,
      )
    );
  });
}

/** The register after a call, or undefined where it would have answered otherwise. */
function answered(state: State, { call, ended }: Recorded, counting: boolean): State | undefined {
  const told = ended !== Number.POSITIVE_INFINITY;
  const until = (expiresAt: number) => (told || !counting ? expiresAt : Number.NaN);
  if (call.kind === "set") return call.state && { ...call.state, expiresAt: until(call.state.expiresAt) };
  if (call.kind === "touch") {
    if (told && call.result !== (state !== null)) return undefined;
    return state && { ...state, expiresAt: until(call.expiresAt) };
  }
  const { result = null } = call;
  const isVague = state !== null && result !== null && Number.isNaN(state.expiresAt);
  const seen = isVague ? { ...state, expiresAt: result.expiresAt } : state;
  return !told || JSON.stringify(seen) === JSON.stringify(result) ? state : undefined;
}
