/**
 * Applications in several languages on two proxies of one migration, while the commands walk it up, down to legacy and
 * up to complete. None may see a difference, lose what a lock guards, or be logged out.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { AvailableClient, ClientName } from "../../src/servers/index.js";
import { converse, numberAt } from "./converse.js";
import { clientsHere, Driver, type DriverKind, isSessions, OURSELVES, type Summary } from "./drivers.js";
import { DoorSite, evidence, type ProxyProcess, stepUp, UP, UP_AT_ONCE } from "./site.js";

const PREFIX = "memc.sess.key.";

/** @param drivers those who walk together */
export async function walkTests(drivers: readonly DriverKind[]): Promise<void> {
  const here = await clientsHere(drivers);
  const able = drivers.filter(({ client }) => client === null || here.has(client));
  describe.skipIf(able.length === 0)("real clients over the whole way", () => walk(drivers, able, here));
}

function walk(
  drivers: readonly DriverKind[],
  able: readonly DriverKind[],
  here: ReadonlyMap<ClientName, AvailableClient>,
): void {
  let site: DoorSite | undefined;
  let proxies: ProxyProcess[];
  const summaries = new Map<string, Summary[]>();
  const files: string[] = [];
  /** After the last command, while both proxies still serve. */
  const held: Record<string, number | null> = {};

  // A test and no hook, so that it may try again as others may.
  test("walk up, down to legacy, and up to complete", async () => {
    await site?.close();
    summaries.clear();
    files.length = 0;
    site = await DoorSite.open("php-memcached");
    const running: Driver[] = [];
    try {
      await walkWith(site, running);
    } finally {
      for (const { child } of running) child.kill("SIGKILL");
    }
  }, 900_000);
  afterAll(() => site?.close());

  async function walkWith(site: DoorSite, running: Driver[]): Promise<void> {
    await site.seed(PREFIX, 4_000);
    await site.run("setup");
    proxies = await Promise.all([site.startProxy(), site.startProxy()]);
    const started = able.flatMap((kind, n) =>
      // Both of PHP's kinds on either proxy, so that its locks are fought for across processes.
      (isSessions(kind) ? [0, 1] : [n % 2]).map((which) => {
        const client = kind.client === null ? OURSELVES : here.get(kind.client)!;
        const file = isSessions(kind) ? join(site.folder, `logged-in-${n}-${which}.json`) : undefined;
        if (file !== undefined) files.push(file);
        return Driver.start(kind, client, proxies[which]!.place, PREFIX, `driver${n}-${which}`, file);
      }),
    );
    running.push(...started);
    await Promise.all(running.map(({ going }) => going));
    for (const step of UP) await stepUp(site, step);
    await site.run("phase", "rollback", "--to", "legacy");
    for (const step of UP_AT_ONCE) await stepUp(site, step, UP_AT_ONCE);
    await evidence(site);
    await site.run("phase", "advance", "--to", "complete", "--yes");
    for (const driver of running) {
      const { name } = driver.kind;
      summaries.set(name, [...(summaries.get(name) ?? []), await driver.stop()]);
    }
    const [{ place }] = proxies as [ProxyProcess];
    for (const what of ["counter", "guarded"]) held[what] = await numberAt(place, `${PREFIX}shared.${what}`);
  }

  for (const kind of drivers) {
    test.skipIf(!able.includes(kind))(`${kind.name} saw no difference`, () => {
      const all = summaries.get(kind.name)!;
      expect(all.length).toBe(isSessions(kind) ? 2 : 1);
      for (const summary of all) {
        expect(summary).toMatchObject({ failures: 0, first: null });
        expect(summary.operations).toBeGreaterThan(20);
      }
    });
  }

  test("nobody lost what it counted, or what the lock guards", () => {
    const caches = able.filter((kind) => !isSessions(kind)).flatMap(({ name }) => summaries.get(name)!);
    for (const [what, count] of Object.entries({ counter: "incremented", guarded: "guarded" } as const)) {
      expect(held[what], what).toBe(caches.reduce((total, summary) => total + summary[count], 0));
    }
  });

  test("no request failed, by the proxies' own figures", async () => {
    for (const { http, lines } of proxies) {
      const metrics = await (await fetch(`${http}/metrics`)).text();
      expect(metrics).toMatch(/^sessionferry_door_failures_total 0$/m);
      expect(metrics).toMatch(/^sessionferry_phase\{phase="complete"\} 1$/m);
      // A drain that was under way when the fleet took leave of Redis may find it unsealed.
      expect(lines.filter(({ level, msg }) => level === "error" && msg !== "drain failed")).toEqual([]);
    }
  });

  test.skipIf(!here.has("php"))("PHP finds every session in Redis by phpredis' handler", async () => {
    const { findClient } = await import("../../src/servers/index.js");
    if ((await findClient("phpredis")) === null) throw new Error("php-memcached is here, and php-redis is not");
    await site!.memcached.stop();
    const reader = new URL("drivers/php-read-sessions.php", import.meta.url).pathname;
    const path = `tcp://${site!.redis.host}:${site!.redis.port}`;
    const { stdout } = spawnSync(here.get("php")!.program, [reader, "redis", path, ...files], { encoding: "utf8" });
    const sessions = able.filter(isSessions).flatMap(({ name }) => summaries.get(name)!);
    const loggedIn = sessions.reduce((total, summary) => total + summary.loggedIn, 0);
    const count = sessions.reduce((total, summary) => total + summary.guarded, 0);
    expect(loggedIn).toBeGreaterThan(0);
    expect(JSON.parse(stdout)).toEqual({ asked: loggedIn, found: loggedIn, count });
  });

  test("a proxy that is told to stop ends in good order, and serves sessions without memcached until then", async () => {
    const [first, second] = proxies as [ProxyProcess, ProxyProcess];
    expect(await converse(first.place, `set ${PREFIX}last 0 60 1\r\nx\r\n`)).toBe("STORED\r\n");
    expect(await first.stop()).toBe(0);
    expect(await converse(second.place, `get ${PREFIX}last\r\n`)).toContain("VALUE");
    expect((await fetch(`${second.http}/readyz`)).status).toBe(200);
    expect(await second.stop()).toBe(0);
    expect(second.lines.at(-1)).toMatchObject({ msg: "stopped" });
  });
}
