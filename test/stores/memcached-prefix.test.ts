/** A memcached that holds more than one format's sessions. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { legacyPreset } from "../../src/presets/index.js";
import { type RunningServer, startMemcached } from "../../src/servers/index.js";
import { openMemcachedLegacy } from "../../src/stores/memcached/store.js";
import { converse } from "../clients/converse.js";

let server: RunningServer;
beforeAll(async () => {
  server = await startMemcached();
  const keys = ["memc.sess.key.a1", "memc.sess.key.b2", "memc.sess.key.lock.a1", "fragment:7", "fragment:8", "other"];
  const sets = keys.map((key) => `set ${key} 0 3600 1\r\nx\r\n`);
  await converse(server, sets.join(""), new RegExp(`(STORED\r\n){${keys.length}}$`));
});
afterAll(() => server?.stop());

test("only keys with the preset's prefix are listed and counted, and its locks are not", async () => {
  const preset = legacyPreset("php-memcached");
  const store = openMemcachedLegacy({ url: server.url, preset, connections: 2, deadline: 5_000, items: true });
  try {
    const sids: string[] = [];
    for await (const page of store.list({ pageSize: 10 })) sids.push(...page);
    expect(sids).toEqual(["a1", "b2"]);
    expect(await store.count()).toBe(2);
  } finally {
    await store.close();
  }
});
