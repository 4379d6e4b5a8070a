import { setTimeout as delay } from "node:timers/promises";
import { connectMemcached } from "../../src/presets/connect-memcached.js";
import { connectMemjs } from "../../src/presets/connect-memjs.js";
import { startMemcached } from "../../src/servers/index.js";
import { openMemcachedLegacy } from "../../src/stores/memcached/store.js";
import { legacyStoreContract } from "../contract/legacy-store.js";

for (const { preset, count } of [
  { preset: connectMemcached, count: 1 },
  { preset: connectMemjs, count: 3 },
]) {
  legacyStoreContract(`memcached (${preset.name}, ${count} servers)`, async () => {
    const servers = await Promise.all(Array.from({ length: count }, () => startMemcached()));
    const url = `memcached://${servers.map(({ host, port }) => `${host}:${port}`).join(",")}`;
    return {
      open: () => openMemcachedLegacy({ url, preset, connections: 2, deadline: 5_000 }),
      flags: preset.flags,
      binary: true,
      pass: (milliseconds) => delay(milliseconds),
      stop: async () => {
        await Promise.all(servers.map((server) => server.stop()));
      },
    };
  });
}
