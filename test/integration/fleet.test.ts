import { afterEach, describe, expect, test } from "vitest";
import type { PhaseName, Position } from "../../src/core/phase.js";
import { History } from "../support/history.js";
import { seeded, Traffic } from "../support/history-traffic.js";
import { Site, type SiteOptions, verdict } from "./site.js";

/** No request may take longer while the fleet moves; a loaded machine of two cores is allowed for. */
const SLOWEST = 2_000;

const at = (phase: PhaseName, percent = 100): Position => ({ phase, percent });
const UP = [
  at("dual-write", 10),
  at("dual-write"),
  at("read-through", 10),
  at("read-through"),
  at("redis-first", 50),
  at("redis-first"),
  at("full-redis"),
];
const WALK = [
  ...UP,
  at("redis-first"),
  at("read-through"),
  at("dual-write"),
  at("legacy"),
  at("dual-write"),
  at("read-through"),
  at("redis-first"),
  at("full-redis"),
  at("complete"),
];

const SITES: [string, SiteOptions][] = [
  ["PostgreSQL", { legacy: "postgres", control: "legacy" }],
  ["memcached, steered from a Redis of its own", { legacy: "memcached", control: "redis" }],
];

describe.each(SITES)("three nodes over %s", (_, options) => {
  let site: Site;
  afterEach(() => site?.close());

  test("serve the whole way up, down, and up to the end, and no session is ever wrong", async () => {
    site = await Site.open(options);
    const nodes = [await site.join(), await site.join(), await site.join()];
    const members = nodes.map(({ ferry }) => ferry);
    const history = new History();
    const traffic = new Traffic(history, () => members, { users: 8, hot: 24, pause: 12, random: seeded(1) });
    await traffic.plant(40);
    traffic.start();
    const slow: string[] = [];
    for (const position of WALK) {
      history.slowest = 0;
      expect(await site.moveTo(position)).toMatchObject({ position, pending: null });
      await new Promise((resolve) => setTimeout(resolve, 150));
      if (history.slowest > SLOWEST) slow.push(`${position.phase} ${position.percent}: ${history.slowest} ms`);
      // At rest once where both stores hold everything, before the way down.
      if (position.phase === "redis-first" && position.percent === 100) {
        await traffic.stop();
        await site.settle();
        expect(await site.differences(history.sids)).toEqual([]);
        traffic.start();
      }
    }
    await traffic.stop();
    expect(await verdict(site, history, members)).toEqual([]);
    expect([...history.errors]).toEqual([]);
    expect(slow).toEqual([]);
    expect(history.operations).toBeGreaterThan(1_000);
  });
});
