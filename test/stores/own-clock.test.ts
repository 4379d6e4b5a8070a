import { afterEach, describe, expect, it, vi } from "vitest";
import { NEVER } from "../../src/core/session.js";
import { MemoryLegacyStore } from "../../src/stores/legacy-memory.js";
import { ClockLead, onOwnClock } from "../../src/stores/own-clock.js";
import { aSession, HOUR } from "./support.js";

const MINUTES = 60_000;

const AWAY = { patience: 50, error: () => new Error("its clock is not known") };

/** A store whose clock is so far ahead of ours. */
function storeAhead(by: number) {
  const store = new MemoryLegacyStore({
    clock: { now: () => Date.now() + by, elapsed: () => performance.now(), sleep: async () => {} },
  });
  const lead = new ClockLead(async () => Date.now() + by);
  return { store, lead, ours: onOwnClock(store, lead, AWAY) };
}

afterEach(() => void vi.useRealTimers());

describe.each([5, -7])("a store whose clock is %i minutes ahead", (minutes) => {
  const by = minutes * MINUTES;

  it("is told the life that is left, and tells it", async () => {
    const { store, ours } = storeAhead(by);
    const session = aSession({}, HOUR);
    await ours.set("a", session);
    expect((await store.get("a"))!.expiresAt - (session.expiresAt + by)).toBeCloseTo(0, -2);
    expect((await ours.get("a"))!.expiresAt).toBe(session.expiresAt);
    expect(await ours.touch("a", session.expiresAt + HOUR)).toBe(true);
    expect((await ours.getMany(["b", "a"])).map((found) => found?.expiresAt)).toEqual([
      undefined,
      session.expiresAt + HOUR,
    ]);
  });

  it("keeps tokens, values and sessions without an end as they are", async () => {
    const { ours, store } = storeAhead(by);
    const [token] = await ours.tokens(["a"]);
    const session = { ...aSession(), expiresAt: NEVER };
    expect(await ours.applyIf([{ token: token!, session }])).toEqual(["applied"]);
    expect(await store.get("a")).toEqual(session);
    expect(await ours.get("a")).toEqual(session);
  });
});

describe("clocks that are as good as equal", () => {
  it("change nothing, so that copies hold the same number", async () => {
    const { store, ours, lead } = storeAhead(300);
    const session = aSession();
    await ours.set("a", session);
    expect(lead.known).toBe(true);
    expect(await store.get("a")).toEqual(session);
  });
});

describe("a clock that cannot be asked", () => {
  it("is never guessed: the call fails soon, and nothing was sent", async () => {
    const store = new MemoryLegacyStore({
      clock: { now: () => Date.now(), elapsed: () => performance.now(), sleep: async () => {} },
    });
    const ours = onOwnClock(store, new ClockLead(() => new Promise(() => {})), AWAY);
    await expect(ours.set("a", aSession())).rejects.toThrow("its clock is not known");
    expect(await store.get("a")).toBeNull();
  });

  it("is asked again by the next call, and by the store's own error it is told", async () => {
    const answers = [() => Promise.reject(new Error("away")), async () => Date.now() + 5 * MINUTES];
    const lead = new ClockLead(() => answers.shift()!());
    const store = new MemoryLegacyStore({
      clock: { now: () => Date.now(), elapsed: () => performance.now(), sleep: async () => {} },
    });
    const ours = onOwnClock(store, lead, AWAY);
    await expect(ours.get("a")).rejects.toThrow("away");
    expect(lead.milliseconds).toBe(0);
    await ours.get("a");
    expect(lead.milliseconds / MINUTES).toBeCloseTo(5, 1);
  });
});

describe("a clock that is seen vaguely", () => {
  it("is looked at again at once, and until then by nobody", async () => {
    // A store that was away for a while tells its time when it is back: the middle between question and answer is wrong.
    const waits = [1_400, 0];
    const lead = new ClockLead(async () => {
      await new Promise((resolve) => setTimeout(resolve, waits.shift()));
      expect(lead.known).toBe(false);
      return Date.now() + 5 * MINUTES;
    });
    await lead.look();
    expect(waits).toEqual([]);
    expect(Math.abs(lead.milliseconds - 5 * MINUTES)).toBeLessThan(600);
    expect(lead.sharp).toBe(true);
  });
});

describe("this process' own clock", () => {
  it("that was set is no longer compared until the next look", async () => {
    const lead = new ClockLead(async () => Date.now() + 5 * MINUTES);
    await lead.look();
    expect(lead.known).toBe(true);
    vi.useFakeTimers({ now: Date.now() + 5 * MINUTES, toFake: ["Date"] });
    expect(lead.known).toBe(false);
    expect(lead.milliseconds).toBe(0);
  });
});
