/** What the doctor thinks of a door's listeners, and of a pool. */
import { describe, expect, it } from "vitest";
import { loadConfig } from "../../src/config.js";
import { listenerMap } from "../../src/runtime/listener-map.js";
import { DOOR_PROBES } from "../../src/workflow/doctor-door.js";
import type { Facts } from "../../src/workflow/doctor-facts.js";

const SERVER = {
  version: "1.6.18",
  items: 9,
  bytes: 900,
  maxBytes: 1e6,
  evictions: 0,
  uptime: 86_400,
  seesOurAddress: true,
  itemSizeMax: 1024 * 1024,
};

function verdict(
  name: string,
  listeners: [listen: string, server: string][],
  more: { rule?: string; old?: number; second?: Partial<typeof SERVER> } = {},
) {
  const { rule = "client", old = 0, second = {} } = more;
  const config = loadConfig({
    config: {
      migration: "door",
      legacy: { preset: "php-memcached", url: "memcached://a:1,b:2", distribution: rule },
      redis: { url: "redis://r:6379" },
      control: { url: "redis://c:6379" },
      proxy: { listeners: listeners.map(([listen, server]) => ({ listen, server })) },
    },
    env: {},
  });
  const servers = [
    { address: "a:1", ...SERVER },
    { address: "b:2", ...SERVER, ...second },
  ];
  const survey = { kind: "memcached", servers, flags: null, duplicates: rule === "client" ? old : null } as const;
  const facts = {
    config,
    listeners: listenerMap(config.proxy.listeners, config.legacy.url),
    legacy: { facts: { survey, sessions: 9, skew: 0, granularity: 1000 }, failure: null },
  } as unknown as Facts;
  return DOOR_PROBES.find((probe) => probe.name === name)!.judge(facts);
}

describe("the listeners of a door before several servers", () => {
  const ONE = ["127.0.0.1:1", "a:1"] as [string, string];
  const TWO = ["127.0.0.1:2", "b:2"] as [string, string];

  it.each([
    ["one to one", [ONE, TWO], "client", "ok"],
    ["a server without one, and no rule to find its keys by", [ONE], "client", "refused"],
    ["a server without one, whose keys a rule finds", [ONE], "ketama", "warn"],
    ["two for one server, each server served", [ONE, TWO, ["/run/door.sock", "b:2"]], "client", "warn"],
    ["one address twice", [ONE, ["127.0.0.1:1", "b:2"]], "client", "refused"],
    [
      "free ports",
      [
        ["127.0.0.1:0", "a:1"],
        ["127.0.0.1:0", "b:2"],
      ],
      "client",
      "ok",
    ],
    ["a server that nobody named", [ONE, ["127.0.0.1:2", "c:3"]], "client", "refused"],
    ["none", [], "client", "warn"],
  ] as [string, [string, string][], string, string][])("%s", (_, listeners, rule, expected) => {
    expect(verdict("proxy-listeners", listeners, { rule })?.ok).toBe(expected);
  });

  it("warns of old copies, and says nothing of them where the rule is known", () => {
    expect(verdict("legacy-duplicates", [ONE, TWO])?.ok).toBe("ok");
    const found = verdict("legacy-duplicates", [ONE, TWO], { old: 3 });
    expect(found).toMatchObject({ ok: "warn", detail: expect.stringMatching(/^3 old copies/) });
    expect(verdict("legacy-duplicates", [ONE, TWO], { rule: "ketama" })).toBeNull();
  });

  it("warns of sessions that one server lost and others may have old copies of", () => {
    const told = (second: { uptime?: number; evictions?: number }, rule = "client") =>
      verdict("legacy-pool-losses", [ONE, TWO], { rule, second });
    expect(told({})?.ok).toBe("ok");
    expect(told({ uptime: SERVER.uptime - 60 })?.ok).toBe("ok");
    expect(told({ uptime: 3_600 })).toMatchObject({ ok: "warn", detail: expect.stringContaining(": b:2 ") });
    expect(told({ evictions: 3 })).toMatchObject({ ok: "warn", detail: expect.stringContaining(": b:2 ") });
    expect(told({ evictions: 3 }, "ketama")).toBeNull();
  });
});
