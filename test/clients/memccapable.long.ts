/** memccapable, whose tests empty the server that they are run against, in every phase: it passes where it passes against memcached. */
import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findClient } from "../../src/servers/index.js";
import type { Place } from "./drivers.js";
import { DoorSite, type ProxyProcess, UP } from "./site.js";

const memccapable = await findClient("memccapable");
if (memccapable === null) process.stderr.write("SKIPPED: memccapable is not on this machine\n");

/** The names of its tests by their outcome. */
function outcomes({ host, port }: Place): Record<string, string> {
  const args = ["-h", host, "-p", String(port), "-t", "20"];
  const { stdout } = spawnSync(memccapable!.program, args, { encoding: "utf8", timeout: 300_000 });
  return Object.fromEntries(
    [...stdout.matchAll(/^((?:ascii|binary) .*?)\s+\[(\w+)\]$/gm)].map((found) => found.slice(1)),
  );
}

describe.skipIf(memccapable === null)("memccapable through the proxy", () => {
  let site: DoorSite;
  let proxy: ProxyProcess;
  let expected: Record<string, string>;
  const forced = ["--force", "--reason", "memccapable empties both stores, which voids every check"];

  beforeAll(async () => {
    site = await DoorSite.open("memcached", { proxy: { allowFlush: true } });
    await site.run("setup");
    proxy = await site.startProxy();
    expected = outcomes(site.memcached);
  });
  afterAll(() => site?.close());

  test("passes against memcached itself", () => {
    expect(Object.keys(expected)).toHaveLength(54);
    expect(Object.values(expected).filter((word) => word === "pass").length).toBeGreaterThan(50);
  });

  test("says the same in legacy", () => expect(outcomes(proxy.place)).toEqual(expected));

  for (const [phase, percent] of UP) {
    test(`says the same in ${phase} ${percent} %`, async () => {
      if (phase === "full-redis") await site.run("backfill", "--force");
      await site.run("phase", "advance", "--to", phase, "--percent", String(percent), ...forced);
      expect(outcomes(proxy.place)).toEqual(expected);
    });
  }

  test("says the same on the way down and in legacy again", async () => {
    await site.run("phase", "rollback", "--to", "dual-write");
    expect(outcomes(proxy.place)).toEqual(expected);
    await site.run("phase", "rollback", "--to", "legacy");
    expect(outcomes(proxy.place)).toEqual(expected);
  });
});
