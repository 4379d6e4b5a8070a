import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { runJson } from "../cli/support.js";
import { until } from "../support/processes.js";
import { ALL, AWAY, at, BusySite } from "./busy-site.js";
import { processPackage } from "./processes.js";

const own = { folder: "", remove: () => {} };
beforeAll(() => Object.assign(own, processPackage()));
afterAll(() => own.remove());

let busy: BusySite;
afterEach(() => busy?.close());

/** `phase rollback --redis-lost`, as an operator types it; what was not drained is given up with it. */
async function leaveRedisBehind(): Promise<void> {
  const options = ["--config", busy.configFile({ timeouts: { ...busy.site.config.timeouts, acknowledge: "30s" } })];
  const args = ["phase", "rollback", "--to", "dual-write", "--redis-lost", "--reason", "test"];
  await runJson("phase-move", [...args, ...options]);
  expect(await busy.site.record()).toMatchObject({ position: at("dual-write"), pending: null });
}

const PHASES = ALL ? (["redis-first", "full-redis"] as const) : (["redis-first"] as const);

describe("phase rollback --redis-lost", () => {
  test.each(PHASES)(
    "in %s, Redis gone, one process dead and one frozen: it works, and the sleeper joins anew",
    async (phase) => {
      busy = await BusySite.open(own.folder, at(phase), { members: 4 });
      const { site, history, traffic } = busy;
      const [dead, frozen] = busy.processes;
      await traffic.stop();
      await site.settle();
      await site.redis.kill();
      await dead!.kill();
      frozen!.freeze();
      await leaveRedisBehind();
      traffic.start();
      await busy.recovered();
      const failed = history.failures.length;
      await delay(500);
      frozen!.wake();
      await until("the sleeper has joined anew", async () => (await busy.nodes()).length === 3, 40_000);
      await delay(500);
      // With the sleeper asked as well, until it knows what happened to it.
      expect(history.failures.slice(failed).filter(({ code }) => code !== "NODE_EVICTED")).toEqual([]);
      await site.emptyRedis();
      await until("Redis is armed anew", () =>
        site.look(({ records }) =>
          records.ping().then(
            () => true,
            () => false,
          ),
        ),
      );
      await busy.climb(at("redis-first"));
      await busy.rest();
      busy.expectOnly([...AWAY, "NODE_EVICTED", "cut-off"]);
    },
  );

  test.each(PHASES)(
    "in %s, though Redis answers: a frozen process finds its connections to it cut when it wakes",
    async (phase) => {
      busy = await BusySite.open(own.folder, at(phase), { members: 3 });
      const { site, traffic } = busy;
      const frozen = busy.processes[0]!;
      await traffic.stop();
      await site.settle();
      frozen.freeze();
      await leaveRedisBehind();
      // Every session is written past Redis before the sleeper hears of anything.
      traffic.start();
      await delay(300);
      frozen.wake();
      await until("the sleeper has joined anew", async () => (await busy.nodes()).length === 3, 40_000);
      await busy.recovered();
      await busy.climb(at("redis-first"));
      await busy.rest();
      busy.expectOnly([...AWAY, "NODE_EVICTED"]);
    },
  );
});
