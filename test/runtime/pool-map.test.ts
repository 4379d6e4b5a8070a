/** The map of a pool's servers stands as long as Redis holds anything that names them. */
import { beforeEach, expect, it } from "vitest";
import { loadConfig } from "../../src/config.js";
import { MemoryControlStore } from "../../src/control/memory.js";
import { newGeneration, newNodeId } from "../../src/core/ids.js";
import { located, restOf, serverOf } from "../../src/core/place.js";
import { PROTOCOL_NUMBER } from "../../src/ports/control-store.js";
import { systemClock } from "../../src/runtime/clock.js";
import { keyspaceOf } from "../../src/runtime/keyspace.js";
import { poolOf, serverNumber } from "../../src/runtime/listener-map.js";
import { keepPoolMap } from "../../src/runtime/pool-map.js";

const config = (servers: string, distribution?: string) =>
  loadConfig({
    config: {
      migration: "map",
      legacy: { preset: "php-memcached", url: `memcached://${servers}`, ...(distribution && { distribution }) },
      redis: { url: "redis://r:6379" },
      control: { url: "redis://c:6379" },
      proxy: { listeners: [{ listen: "127.0.0.1:0", server: "a:1" }] },
    },
    env: {},
  });
const PAIR = config("a:1,b:2", "client");
const OTHER = config("a:1,c:3", "client");

let control: MemoryControlStore;
beforeEach(async () => {
  control = new MemoryControlStore({ clock: systemClock });
  await control.setup({
    position: { phase: "legacy", percent: 100 },
    pending: null,
    generation: newGeneration(),
    interrupted: false,
  });
});

const join = async (role: "proxy" | "app" | "job" = "proxy") => {
  const id = newNodeId();
  const about = { id, role, protocol: PROTOCOL_NUMBER, host: "h", pid: 1, version: "0" };
  await control.join(about, { presence: 1_000 });
  return { id, role };
};
const goTo = async (phase: "legacy" | "dual-write") => {
  const record = await control.read();
  await control.compareAndSet(record.revision, { ...record, position: { phase, percent: 100 } });
};

it("counts servers by their addresses, and listeners by their servers", () => {
  expect(poolOf(config("b:2,A:1", "client"))).toEqual(["a:1", "b:2"]);
  expect(poolOf(config("a:1", "client"))).toBeNull();
  expect(poolOf(config("b:2,a:1", "ketama"))).toBeNull();
  expect(serverNumber(PAIR, "b:2")).toBe(1);
  expect(serverNumber(config("a:1,b:2", "modulo"), "b:2")).toBeUndefined();
});

it("locates a listener's keys at its server, and takes nothing for a sid that looks located already", () => {
  const keyspace = keyspaceOf({ legacy: "p.", redis: "q:", server: 3 });
  expect(keyspace("p.one")).toBe(located(3, "one"));
  expect([serverOf(located(3, "one")), restOf(located(3, "one"))]).toEqual([3, "one"]);
  expect(keyspace(`p.${located(1, "one")}`)).toBeNull();
  expect(keyspace("other")).toBeNull();
});

it("stands from the first process on: who counts the servers otherwise is refused, above the ground always", async () => {
  const first = await join();
  await keepPoolMap(PAIR, control, first);
  await keepPoolMap(config("b:2,a:1", "client"), control, await join());
  await expect(keepPoolMap(OTHER, control, await join())).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining("a:1, b:2"),
  });
  await goTo("dual-write");
  for (const { id } of await control.nodes()) await control.leave(id);
  await expect(keepPoolMap(OTHER, control, await join())).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  await expect(keepPoolMap(config("a:1,b:2", "ketama"), control, await join("job"))).rejects.toMatchObject({
    code: "CONFIG_INVALID",
  });
});

it("may change on the ground, by who is alone", async () => {
  await keepPoolMap(PAIR, control, await join());
  for (const { id } of await control.nodes()) await control.leave(id);
  await keepPoolMap(OTHER, control, await join());
  await goTo("dual-write");
  await keepPoolMap(OTHER, control, await join());
  await expect(keepPoolMap(PAIR, control, await join())).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

it("is refused to a migration that went up without one, and to the library's door", async () => {
  await goTo("dual-write");
  await expect(keepPoolMap(PAIR, control, await join())).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  await goTo("legacy");
  await expect(keepPoolMap(PAIR, control, await join("app"))).rejects.toMatchObject({ code: "USAGE" });
});
