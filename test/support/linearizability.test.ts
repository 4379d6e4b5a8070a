import { describe, expect, it } from "vitest";
import { type Call, isLinearizable, type Recorded, type State } from "./linearizability.js";

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
    expect(isLinearizable(reads(state("new"), null), null, true)).toBe(true);
    expect(isLinearizable(reads(null, state("new")), null, true)).toBe(false);
    expect(isLinearizable(reads(state("old")), null, true)).toBe(false);
  });
});
