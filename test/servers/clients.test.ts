import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { type AvailableClient, type ClientMachine, ensureClients } from "../../src/servers/clients.js";
import { CLIENT_NAMES, type ClientName, findClient } from "../../src/servers/index.js";

/** A machine that has `there`, and on which the packages of `impossible` do not exist. */
function machine(there: readonly ClientName[], impossible: readonly string[] = []) {
  const has = new Set<string>(there);
  const asked: string[][] = [];
  const self: ClientMachine = {
    find: async (name): Promise<AvailableClient | null> =>
      has.has(name) ? { name, version: "1.0", program: process.execPath } : null,
    install: async (packages) => {
      asked.push([...packages]);
      if (packages.some((name) => impossible.includes(name))) return false;
      for (const name of CLIENT_NAMES) if (packages.some((each) => each.includes(name))) has.add(name);
      return true;
    },
  };
  return { self, asked };
}

test("clients that are there are told, and nothing is installed for them", async () => {
  const { self, asked } = machine(CLIENT_NAMES);
  const lines: string[] = [];
  const found = await ensureClients({ install: true, log: (line) => lines.push(line) }, self);
  expect(found.map(({ name }) => name)).toEqual(CLIENT_NAMES);
  expect(asked).toEqual([]);
  expect(lines).toHaveLength(CLIENT_NAMES.length);
});

test("what is away is installed in one go, and only when asked", async () => {
  const { self, asked } = machine(["php", "phpredis", "nutcracker", "memccapable"]);
  expect(await ensureClients({ install: false, log: () => {} }, self)).toHaveLength(4);
  expect(asked).toEqual([]);
  const found = await ensureClients({ install: true, log: () => {} }, self);
  expect(asked).toEqual([["python3", "python3-pymemcache", "python3-pylibmc", "ruby", "ruby-dalli"]]);
  expect(found).toHaveLength(CLIENT_NAMES.length);
});

test("a distribution without one of the packages still gives the others, and what is away is named", async () => {
  const { self } = machine(["php", "phpredis", "nutcracker", "memccapable"], ["python3-pylibmc"]);
  const lines: string[] = [];
  const found = await ensureClients({ install: true, log: (line) => lines.push(line) }, self);
  expect(found.map(({ name }) => name)).toEqual(CLIENT_NAMES.filter((name) => name !== "pylibmc"));
  expect(lines).toContain("pylibmc is not here; its tests are skipped");
});

test("a client is found with its version and program, or not at all", async () => {
  for (const client of await Promise.all(CLIENT_NAMES.map(findClient))) {
    if (client === null) continue;
    expect(existsSync(client.program)).toBe(true);
    // memccapable tells none.
    if (client.name !== "memccapable") expect(client.version).toMatch(/^\d+(\.\d+)+$/);
  }
});
