import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import type { Machine } from "../../src/servers/ensure.js";
import { ensureServers, type ServerName } from "../../src/servers/index.js";
import { install } from "../../src/servers/install.js";

/** A machine that has `there`; installing adds what is asked for unless it `refuses`. */
function machine(there: ServerName[], options: { docker?: boolean; refuses?: boolean } = {}) {
  const has = new Set(there);
  const installed: ServerName[][] = [];
  const self: Machine = {
    find: async (name) => (has.has(name) ? process.execPath : null),
    hasDocker: async () => options.docker ?? false,
    install: async (names, log) => {
      log("Installing");
      installed.push([...names]);
      if (options.refuses) return false;
      for (const name of names) has.add(name);
      return true;
    },
  };
  return { self, installed };
}

test("what is on the machine is taken, told with its version, and nothing is installed", async () => {
  const lines: string[] = [];
  const found = await ensureServers({ install: false, log: (line) => lines.push(line) });
  expect(found.map(({ name }) => name)).toEqual(["redis", "memcached", "postgres"]);
  expect(lines).toHaveLength(3);
  for (const line of lines) expect(line).toMatch(/^(redis|memcached|postgres) \d+(\.\d+)* \(\S+\)$/);
});

test("what is away comes from Docker where an engine answers, though installing was allowed", async () => {
  const { self, installed } = machine(["redis"], { docker: true });
  const found = await ensureServers({ install: true, log: () => {} }, self);
  expect(found.map(({ from }) => from)).toEqual([process.execPath, "docker", "docker"]);
  expect(installed).toEqual([]);
});

test("what is away is installed, and only that, and only when asked", async () => {
  const asked = machine(["redis"]);
  await ensureServers({ install: true, log: () => {} }, asked.self);
  expect(asked.installed).toEqual([["memcached", "postgres"]]);

  const notAsked = machine(["redis"]);
  await expect(ensureServers({ install: false, log: () => {} }, notAsked.self)).rejects.toMatchObject({
    code: "SERVER_MISSING",
    exit: 2,
    message: "memcached and postgresql are not on this machine, and no Docker engine answers.",
    remedy: expect.stringContaining("apt-get install memcached postgresql"),
  });
  expect(notAsked.installed).toEqual([]);
});

test("an installation that cannot be done ends with the name of what to install", async () => {
  const { self } = machine(["redis", "memcached"], { refuses: true });
  await expect(ensureServers({ install: true, log: () => {} }, self)).rejects.toMatchObject({
    code: "SERVER_MISSING",
    message: expect.stringContaining("postgresql"),
  });
});

const folders: string[] = [];
afterEach(() => {
  vi.unstubAllEnvs();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** Puts programs before all others on the PATH; each appends what it was called with to `calls`. */
function programs(scripts: Record<string, string>) {
  const folder = mkdtempSync(join(tmpdir(), "sessionferry-programs-"));
  folders.push(folder);
  const calls = join(folder, "calls");
  writeFileSync(calls, "");
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(join(folder, name), `#!/bin/sh\necho "${name} $*" >> ${calls}\n${script}\n`);
    chmodSync(join(folder, name), 0o755);
  }
  vi.stubEnv("PATH", `${folder}:${process.env.PATH}`);
  return () => readFileSync(calls, "utf8");
}

test("apt-get is called without questions, with root's rights, after it was told", async () => {
  const calls = programs({ "apt-get": "", sudo: 'shift; exec "$@"' });
  const lines: string[] = [];
  const done = await install(["redis", "postgres"], (line) => lines.push(`${line}|${calls().includes("install")}`));
  expect(done).toBe(true);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/^Installing redis-server, postgresql with apt-get.*\|false$/);
  expect(calls()).toMatch(/^apt-get -q update$/m);
  expect(calls()).toMatch(/^apt-get install -q -y --no-install-recommends .*redis-server postgresql$/m);
});

test("an apt-get that fails is a no, and failing lists alone are not", async () => {
  programs({ "apt-get": '[ "$1" = -q ] && exit 0; exit 100', sudo: 'shift; exec "$@"' });
  expect(await install(["redis"], () => {})).toBe(false);
  programs({ "apt-get": '[ "$1" = -q ] && exit 100; exit 0', sudo: 'shift; exec "$@"' });
  expect(await install(["redis"], () => {})).toBe(true);
});
