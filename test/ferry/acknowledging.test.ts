import { expect, test } from "vitest";
import { IdSource } from "../../src/core/ids.js";
import type { Position, Transition } from "../../src/core/phase.js";
import { Arrears } from "../../src/ferry/arrears.js";
import type { FerryContext } from "../../src/ferry/context.js";
import { Follower } from "../../src/ferry/follower.js";
import { Membership } from "../../src/ferry/membership.js";
import { RedisHealth } from "../../src/ferry/redis-health.js";
import { Routing } from "../../src/ferry/routing.js";
import { SharedDrains } from "../../src/ferry/shared-drains.js";
import { loadPhases } from "../../src/phases.js";
import { PROTOCOL_NUMBER } from "../../src/ports/control-store.js";
import { SILENT } from "../../src/ports/observer.js";
import { rigAt } from "../support/rig.js";

const DUAL: Position = { phase: "dual-write", percent: 100 };
const UPPER: Position = { phase: "read-through", percent: 100 };

/** A node that took a gap in dual-write, and then sees this transition's rung without the gap liberty. */
async function nodeWithAGap(
  change: Pick<Transition, "direction" | "oneWay">,
  ladder: "dual-write" | "read-through" = "read-through",
  rung = 1,
): Promise<Follower> {
  const { control, clock, legacy, records } = await rigAt(DUAL);
  const registration = {
    id: "node0001",
    role: "app",
    protocol: PROTOCOL_NUMBER,
    host: "",
    pid: 1,
    version: "",
  } as const;
  const times = { presence: 1_000, overdueAfter: 1_000 };
  const membership = await Membership.join(control, registration, times, () => {});
  const ctx: FerryContext = {
    legacy,
    records,
    routing: new Routing(loadPhases(), membership.joined),
    arrears: new Arrears(),
    drains: new SharedDrains(),
    health: new RedisHealth(clock, SILENT),
    ids: new IdSource("node0001"),
    clock,
    observer: SILENT,
    limits: { redis: 50, request: 1_000 },
  };
  const intent = ctx.ids.next();
  ctx.arrears.openGap("s1", intent, false);
  ctx.arrears.settleGap("s1", intent);
  const record = await control.read();
  await control.compareAndSet(record.revision, {
    ...record,
    pending: {
      lower: ladder === "read-through" ? DUAL : { phase: "legacy", percent: 100 },
      upper: ladder === "read-through" ? UPPER : DUAL,
      ladder,
      buckets: [0, 10_000],
      rung,
      by: "test",
      reason: "",
      startedAt: 0,
      ...change,
    },
  });
  const follower = new Follower(ctx, membership, () => ({ operations: 0, errors: 0, p95: null }));
  await follower.poll();
  return follower;
}

test("on the way up the rung without the gap liberty is acknowledged only without a gap", async () => {
  const follower = await nodeWithAGap({ direction: "up", oneWay: false });
  expect(follower.acknowledged()).toBeLessThan(follower.ctx.routing.record.revision);
});

test.each([false, true])(
  "a fleet that leaves a Redis that is away need not tell it of its gaps (one way: %s)",
  async (oneWay) => {
    const follower = await nodeWithAGap({ direction: "down", oneWay });
    expect(follower.acknowledged()).toBe(follower.ctx.routing.record.revision);
  },
);

test("nothing is owed to Redis any more where the legacy store alone is written", async () => {
  const follower = await nodeWithAGap({ direction: "down", oneWay: false }, "dual-write", 0);
  expect(follower.acknowledged()).toBe(follower.ctx.routing.record.revision);
  expect(follower.ctx.arrears.size).toBe(0);
});

test("a rung that this release does not have is refused before a request meets it; the node keeps its routes", async () => {
  const follower = await nodeWithAGap({ direction: "up", oneWay: false });
  const { routing } = follower.ctx;
  const { control } = follower.membership;
  const [followed, placement] = [routing.record, routing.placement("s1")];
  const record = await control.read();
  const beyond = { ...record.pending!, rung: 99 };
  await control.compareAndSet(record.revision, { ...record, pending: beyond });
  await expect(follower.poll()).rejects.toMatchObject({ code: "PROTOCOL_MISMATCH" });
  expect(routing.record).toBe(followed);
  expect(routing.placement("s1")).toEqual(placement);
  expect(() => new Routing(routing.phases, { ...record, pending: beyond })).toThrow("which this release does not have");
});

test("what was forgiven while it was being told to Redis is not counted twice", async () => {
  const { ctx } = await nodeWithAGap({ direction: "down", oneWay: false });
  const { arrears, records, routing } = ctx;
  const intent = ctx.ids.next();
  arrears.openGap("s2", intent, true);
  arrears.settleGap("s2", intent);
  const routesOf = (sid: string) => routing.placement(sid).routes;
  const telling = arrears.flush(records, routesOf);
  arrears.forgive(() => ({ write: "legacy", close: "none", read: "L", liberty: "none" }));
  await telling;
  expect([arrears.gapSize, arrears.size]).toEqual([0, 0]);
});
