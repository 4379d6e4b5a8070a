import { describe, expect, it } from "vitest";
import { type MemoryControlDatabase, MemoryControlStore } from "../../src/control/memory.js";
import { controlStoreContract, DUAL_WRITE, LEGACY } from "../contract/control-store.js";

controlStoreContract("memory", async () => {
  let now = Date.now();
  const database: MemoryControlDatabase = new Map();
  const stores: MemoryControlStore[] = [];
  return {
    deadline: 0,
    open: async (migration) => {
      const store = new MemoryControlStore({ clock: { now: () => now }, migration, database });
      stores.push(store);
      return store;
    },
    pass: async (milliseconds) => {
      now += milliseconds;
    },
    outage: async () => {
      for (const store of stores) store.unreachable = true;
      return {
        end: async () => {
          for (const store of stores) store.unreachable = false;
        },
      };
    },
    end: async () => {},
  };
});

describe("memory", () => {
  it("does its work in the call itself", async () => {
    const store = new MemoryControlStore({ clock: { now: () => 5 } });
    const made = store.setup(LEGACY);
    const changed = store.compareAndSet(1, DUAL_WRITE);
    const read = store.read();
    expect(await made).toBe(true);
    expect((await read).revision).toBe(2);
    expect(await changed).toBe(await read);
  });
});
