import { setTimeout as delay } from "node:timers/promises";
import { located } from "../../src/core/place.js";
import { connectMemcached } from "../../src/presets/connect-memcached.js";
import { connectMemjs } from "../../src/presets/connect-memjs.js";
import { startMemcached } from "../../src/servers/index.js";
import { openMemcachedLegacy } from "../../src/stores/memcached/store.js";
import { legacyStoreContract } from "../contract/legacy-store.js";

for (const { preset, count, distribution } of [
  { preset: connectMemcached, count: 1 },
  { preset: connectMemjs, count: 3 },
  { preset: connectMemcached, count: 2, distribution: "client" as const },
]) {
  const rule = distribution ?? preset.distribution;
  legacyStoreContract(`memcached (${preset.name}, ${rule}, ${count} servers)`, async () => {
    const servers = await Promise.all(Array.from({ length: count }, () => startMemcached()));
    const url = `memcached://${servers.map(({ host, port }) => `${host}:${port}`).join(",")}`;
    let asked = 0;
    return {
      open: () =>
        openMemcachedLegacy({ url, preset, connections: 2, deadline: 5_000, ...(distribution && { distribution }) }),
      flags: preset.flags,
      binary: true,
      // A client that takes the servers in turn: its rule is its own.
      sid: (name) => (distribution === undefined ? name : located(asked++ % count, name)),
      pass: (milliseconds) => delay(milliseconds),
      stop: async () => {
        await Promise.all(servers.map((server) => server.stop()));
      },
    };
  });
}
