/** What `doctor --plan` foretells: memory is compared with a real Redis, the rest with what a plan must obey. */
import { afterAll, describe, expect, test } from "vitest";
import { measureMemory } from "../../bench/plan/memory.js";
import { type PlanInput, planFor } from "../../src/workflow/plan.js";
import { CONSTANTS, constantsList, OPERATION_COSTS } from "../../src/workflow/plan-constants.js";
import { allocated } from "../../src/workflow/plan-memory.js";
import { answerPlan, SIZES } from "../../src/workflow/plan-question.js";
import { Bench } from "../stores/redis-support.js";

const SESSIONS = 10_000;
const SITE: PlanInput = {
  ...{ sessions: SESSIONS, valueBytes: [1_000], keyBytes: 37, legacy: "postgres", door: "library" },
  ...{ reads: 100, writes: 20, touches: 80, companions: 0, undrained: 10, jobRate: 0, speed: 1, memoryShare: 0.8 },
};

describe("memory", () => {
  const bench = new Bench();
  afterAll(() => bench.clear());

  test.each([
    { named: "values of one size", sizes: [1_000] },
    { named: "values of many sizes, short ones among them", sizes: [20, 300, 2_500, 9_000] },
  ])("of 10,000 sessions is foretold within a tenth: $named", async ({ sizes }) => {
    const { url } = await bench.start();
    const records = await bench.open(url);
    records.generation = "plan";
    await records.arm("plan", "active");
    const sids = Array.from({ length: SESSIONS }, (_, n) => `${n}`.padStart(32, "s"));
    const expiresAt = Date.now() + 3_600_000;
    const { sessions, marks } = await measureMemory(records, url, sids, (n) => ({
      value: Buffer.alloc(sizes[n % sizes.length]!, "v"),
      flags: 0,
      expiresAt,
    }));
    // Every session changes within the time that the drain is behind.
    const { memory } = planFor({ ...SITE, valueBytes: sizes, writes: SESSIONS, undrained: 1 });
    expect(Math.abs((memory.session * SESSIONS) / sessions - 1)).toBeLessThan(0.1);
    expect(Math.abs(memory.marks / marks - 1)).toBeLessThan(0.1);
  });

  test("is what jemalloc's size classes make of it", () => {
    const classes = [1, 16, 17, 128, 129, 160, 161, 256, 257, 1_010, 1_025, 5_000];
    expect(classes.map(allocated)).toEqual([16, 16, 32, 128, 160, 160, 192, 256, 320, 1_024, 1_280, 5_120]);
  });

  test("of marks never exceeds one mark for each session", () => {
    const busy = planFor({ ...SITE, writes: 1e6 }).memory.marks;
    expect(busy).toBe(planFor({ ...SITE, writes: 1e9 }).memory.marks);
    expect(busy).toBeGreaterThan(planFor(SITE).memory.marks);
  });
});

test("takes the phase that costs most, and what the requests of that phase add up to", () => {
  const { redis } = planFor(SITE);
  const row = (operation: string) =>
    OPERATION_COSTS.find(
      (cost) => cost.door === "library" && cost.phase === redis.phase && cost.operation === operation,
    )!;
  expect(redis.scripts).toBeCloseTo(100 * row("get").scripts + 20 * row("set").scripts + 80 * row("touch").scripts);
  // Two for each change while the old store is the authority: the intent before, and its end.
  expect(redis.scripts).toBeCloseTo(200, -1);
  const other = planFor({ ...SITE, reads: 200, writes: 40, touches: 160 });
  expect(other.redis.processors).toBeCloseTo(2 * redis.processors);
  expect(other.network.received).toBeCloseTo(2 * planFor(SITE).network.received);
});

test("asks for more shards as memory or load grow, and says for which", () => {
  expect(planFor(SITE).redis).toMatchObject({ shards: 1 });
  const large = planFor({ ...SITE, sessions: 50_000_000, valueBytes: [5_000] }).redis;
  expect(large).toMatchObject({ shardsFor: "memory" });
  expect(large.shards).toBeGreaterThan(10);
  expect(planFor({ ...SITE, writes: 200_000 }).redis).toMatchObject({ shardsFor: "processor" });
});

test("durations follow sessions, the limit of the configuration, and the speed that was measured", () => {
  const { backfill } = planFor({ ...SITE, sessions: 1_000_000 });
  const start = CONSTANTS.jobStart.value;
  expect(planFor({ ...SITE, sessions: 2_000_000 }).backfill.seconds - start).toBeCloseTo(
    2 * (backfill.seconds - start),
  );
  expect(planFor({ ...SITE, sessions: 1_000_000, speed: 2 }).backfill.rate).toBeCloseTo(2 * backfill.rate);
  expect(planFor({ ...SITE, sessions: 1_000_000, jobRate: 100 }).check.seconds).toBeCloseTo(10_000 + start);
});

test("plans three sizes, and the one that is there before them; says what is given, measured and assumed", () => {
  const nothing = answerPlan({}, null, null);
  expect(nothing.plans.map(({ value }) => value)).toEqual(SIZES);
  expect(nothing.site.valueBytes.origin).toBe("assumed");
  const sampled = { sessions: 7, valueBytes: [100, 300], sidBytes: 32, otherFlags: 0, speed: 1.5 };
  const seen = answerPlan({ reads: 5 }, null, sampled);
  expect(seen.plans.map(({ value, origin }) => [value, origin])[0]).toEqual([7, "measured"]);
  expect(seen.site).toMatchObject({
    valueBytes: { value: 200, origin: "measured" },
    reads: { value: 5, origin: "given" },
    writes: { value: null, origin: "assumed" },
    speed: { value: 1.5, origin: "measured" },
  });
  const told = answerPlan({ sessions: 99, valueBytes: 5 }, null, sampled);
  expect(told.plans).toHaveLength(1);
  expect(told.site.valueBytes).toEqual({ value: 5, origin: "given" });
});

test("every constant names its source", () => {
  for (const { name, source, unit } of constantsList()) {
    expect(source, name).toMatch(/^(npm run bench -- plan|chosen: |the classic plan: )/);
    expect(unit, name).not.toBe("");
  }
});
