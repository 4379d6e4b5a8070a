import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import type { PhaseName, Position } from "../../src/core/phase.js";
import { begin } from "../../src/core/transition.js";
import { loadPhases } from "../../src/phases.js";
import type { Point } from "../../src/ports/observer.js";
import { Signal, until } from "../support/processes.js";
import { Site } from "./site.js";

const at = (phase: PhaseName, percent = 100): Position => ({ phase, percent });

let site: Site;
afterEach(() => site?.close());

/**
 * The soak hung here: Redis came back empty while the first rung on the way to redis-first was pending, and every node
 * owed it the word on a write whose answer was lost. Nobody could acknowledge the next rung, nor turn the walk round.
 */
test("a Redis lost at the foot of the way to redis-first is left behind by the fleet itself", async () => {
  site = await Site.open({ legacy: "postgres", control: "legacy", config: { timeouts: { legacy: "1s" } } });
  const nodes = [await site.join(), await site.join()];
  for (const phase of ["dual-write", "read-through"] as const) await site.moveTo(at(phase));

  const published = new Signal();
  const goOn = new Signal();
  const held = {
    event() {},
    at: async (point: Point) => {
      if (point !== "transition:published") return;
      published.tell();
      await goOn.told();
    },
  };
  const begun = published.told();
  const walk = site.command((coordinator) => coordinator.moveTo(at("redis-first", 10), "test"), held).catch(() => {});
  await begun;
  expect(await site.record()).toMatchObject({
    position: at("read-through"),
    pending: { rung: 0, ladder: "redis-first" },
  });

  const session = { value: Buffer.from("{}"), flags: 0, expiresAt: Date.now() + 3_600_000 };
  site.redis.pause();
  const writes = nodes.map(({ ferry }, i) => ferry.set(`sid-${i}`, session).catch(() => {}));
  await delay(100);
  await site.redis.kill();
  await Promise.all(writes);
  expect(nodes.map(({ ctx }) => ctx.arrears.size)).toEqual([1, 1]);
  await site.redis.restart();

  await until("the fleet stands in dual-write", async () => {
    const { position, pending } = await site.record();
    return position.phase === "dual-write" && pending === null;
  });
  await until("nothing is owed any more", () => nodes.every(({ ctx }) => ctx.arrears.size === 0));
  for (const { ferry } of nodes) await ferry.set("sid-0", session);
  goOn.tell();
  await walk;
  await site.moveTo(at("read-through"));
}, 120_000);

test("--redis-lost on the way to dual-write, where nobody reads Redis, is refused, and what is pending goes back", async () => {
  site = await Site.open({ legacy: "postgres", control: "legacy" });
  await site.join();
  const author = { by: "test", reason: "", at: 0 };
  await site.look(async ({ control }) => {
    const record = await control.read();
    await control.compareAndSet(record.revision, begin(record, at("dual-write"), loadPhases(), author));
  });
  const lost = site.command((coordinator) => coordinator.abandon("test", null));
  await expect(lost).rejects.toMatchObject({
    code: "GUARD_REFUSED",
    message: expect.stringContaining("Nobody reads Redis"),
  });
  await site.command((coordinator) => coordinator.reverse("test"));
  expect(await site.record()).toMatchObject({ position: at("legacy"), pending: null });
});
