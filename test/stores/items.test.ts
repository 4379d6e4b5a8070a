import type { ItemStore } from "../../src/ports/items.js";
import { connectMemcached } from "../../src/presets/connect-memcached.js";
import { systemClock } from "../../src/runtime/clock.js";
import { startMemcached } from "../../src/servers/index.js";
import { MemoryItems } from "../../src/stores/items-memory.js";
import type { MemcachedItems } from "../../src/stores/memcached/item-verbs.js";
import { type MemcachedLegacyStore, openMemcachedLegacy } from "../../src/stores/memcached/store.js";
import { itemStoreContract } from "../contract/item-store.js";

itemStoreContract(
  "a store in memory",
  async () => {
    const items = new MemoryItems(systemClock);
    return { one: items, other: items, stop: async () => {} };
  },
  false,
);

/** As whoever knows that nothing is drained into it. */
const undrained = (items: MemcachedItems): ItemStore => ({
  read: (sids, wishes) => items.read(sids, wishes),
  perform: (sid, verb, wishes) => items.perform(sid, verb, wishes, true),
});
const WAYS = {
  sessions: (store: MemcachedLegacyStore) => store.verbs(),
  "sessions that nobody drains": (store: MemcachedLegacyStore) => undrained(store.verbs()),
  "bare keys": (store: MemcachedLegacyStore) => store.bypass(),
};

for (const [name, way] of Object.entries(WAYS)) {
  itemStoreContract(`memcached, as ${name}`, async () => {
    const server = await startMemcached();
    const open = () =>
      openMemcachedLegacy({ url: server.url, preset: connectMemcached, connections: 2, deadline: 5_000, items: true });
    const [one, other] = [open(), open()];
    return {
      one: way(one),
      other: way(other),
      stop: async () => {
        await Promise.all([one.close(), other.close()]);
        await server.stop();
      },
    };
  });
}
