/** The drivers against memcached itself: what they would call a difference later is none of its own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningServer, startMemcached } from "../../src/servers/index.js";
import { numberAt } from "./converse.js";
import { clientsHere, DRIVERS, Driver, isSessions, OURSELVES, type Summary } from "./drivers.js";

const PREFIX = "memc.sess.key.";
const LASTS = 2_000;

const here = await clientsHere();
const able = DRIVERS.filter(({ client }) => client === null || here.has(client));

describe("the drivers against memcached itself", () => {
  let server: RunningServer;
  let folder: string;
  const summaries = new Map<string, Summary>();

  beforeAll(async () => {
    server = await startMemcached();
    folder = mkdtempSync(join(tmpdir(), "sessionferry-clients-"));
    const running = able.map((kind, n) => {
      const client = kind.client === null ? OURSELVES : here.get(kind.client)!;
      const file = isSessions(kind) ? join(folder, `${n}.json`) : undefined;
      return Driver.start(kind, client, server, PREFIX, `driver${n}`, file);
    });
    await Promise.all(running.map(({ going }) => going));
    await delay(LASTS);
    for (const driver of running) summaries.set(driver.kind.name, await driver.stop());
  });
  afterAll(async () => {
    await server?.stop();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  for (const kind of DRIVERS) {
    test.skipIf(!able.includes(kind))(`${kind.name} sees no difference`, () => {
      const summary = summaries.get(kind.name)!;
      expect(summary).toMatchObject({ failures: 0, first: null });
      expect(summary.operations).toBeGreaterThan(10);
    });
  }

  test("nobody lost what it counted, or what the lock guards", async () => {
    const caches = able.filter((kind) => !isSessions(kind)).map(({ name }) => summaries.get(name)!);
    const sum = (name: "incremented" | "guarded") => caches.reduce((total, summary) => total + summary[name], 0);
    expect(await numberAt(server, `${PREFIX}shared.counter`)).toBe(sum("incremented"));
    expect(await numberAt(server, `${PREFIX}shared.guarded`)).toBe(sum("guarded"));
  });
});
