import { connectMemcached } from "../../src/presets/connect-memcached.js";
import { systemClock } from "../../src/runtime/clock.js";
import { startMemcached } from "../../src/servers/index.js";
import { MemoryItems } from "../../src/stores/items-memory.js";
import { openMemcachedLegacy } from "../../src/stores/memcached/store.js";
import { itemStoreContract } from "../contract/item-store.js";

itemStoreContract(
  "a store in memory",
  async () => {
    const items = new MemoryItems(systemClock);
    return { one: items, other: items, stop: async () => {} };
  },
  false,
);

for (const way of ["verbs", "bypass"] as const) {
  itemStoreContract(`memcached, as ${way === "verbs" ? "sessions" : "bare keys"}`, async () => {
    const server = await startMemcached();
    const open = () =>
      openMemcachedLegacy({ url: server.url, preset: connectMemcached, connections: 2, deadline: 5_000, items: true });
    const [one, other] = [open(), open()];
    return {
      one: one[way](),
      other: other[way](),
      stop: async () => {
        await Promise.all([one.close(), other.close()]);
        await server.stop();
      },
    };
  });
}
