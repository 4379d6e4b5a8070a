import { describe, expect, it } from "vitest";
import { MemoryLegacyStore } from "../../src/stores/legacy-memory.js";
import { legacyStoreContract } from "../contract/legacy-store.js";

class ManualClock {
  #now = 1_700_000_000_000;
  now = () => this.#now;
  elapsed = this.now;
  pass(milliseconds: number): void {
    this.#now += milliseconds;
  }
  async sleep(): Promise<void> {}
}

const value = Buffer.from("{}");

for (const lossy of [false, true]) {
  legacyStoreContract(lossy ? "A cache in memory" : "A database in memory", async () => {
    const clock = new ManualClock();
    const store = new MemoryLegacyStore({ clock, lossy });
    return {
      open: () => store,
      flags: 5,
      binary: true,
      pass: async (milliseconds) => clock.pass(milliseconds),
      stop: async () => {},
    };
  });
}

describe("MemoryLegacyStore", () => {
  it("does its work before it returns its promise", () => {
    const clock = new ManualClock();
    const store = new MemoryLegacyStore({ clock });
    void store.set("a", { value, flags: 0, expiresAt: clock.now() + 10 });
    expect(store.peek("a")).not.toBeNull();
    clock.pass(10);
    expect(store.peek("a")).toBeNull();
  });

  it("ends a token by a touch in a database, and leaves it standing in a cache", async () => {
    for (const lossy of [false, true]) {
      const clock = new ManualClock();
      const store = new MemoryLegacyStore({ clock, lossy });
      await store.set("a", { value, flags: 0, expiresAt: clock.now() + 10 });
      const [token] = await store.tokens(["a"]);
      await store.touch("a", clock.now() + 20);
      expect(await store.applyIf([{ token: token!, session: null }])).toEqual([lossy ? "applied" : "changed"]);
    }
  });

  it("evicts where it may, and ends the tokens of what it evicts", async () => {
    const clock = new ManualClock();
    const store = new MemoryLegacyStore({ clock, lossy: true });
    const [token] = await store.tokens(["a"]);
    expect(store.evict("a")).toBe(true);
    expect(await store.applyIf([{ token: token!, session: null }])).toEqual(["changed"]);
    expect(() => new MemoryLegacyStore({ clock }).evict("a")).toThrow(RangeError);
  });

  it("prunes what expired hours ago, and no fresh placeholder", async () => {
    const clock = new ManualClock();
    const store = new MemoryLegacyStore({ clock });
    await store.set("a", { value, flags: 0, expiresAt: clock.now() + 10 });
    clock.pass(3_700_000);
    const [token] = await store.tokens(["b"]);
    expect(await store.prune()).toBe(1);
    expect(await store.applyIf([{ token: token!, session: null }])).toEqual(["applied"]);
  });
});
