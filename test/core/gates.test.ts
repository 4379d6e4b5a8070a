import { describe, expect, test } from "vitest";
import type { BackfillCheckpoint } from "../../src/core/backfill-state.js";
import { NO_COUNTS } from "../../src/core/backfill-state.js";
import { NO_CHECKS, summarize } from "../../src/core/evidence.js";
import { type GateFacts, type GateName, gatesOf, judgeStep, type NodeFacts } from "../../src/core/gates.js";
import { PHASE_NAMES } from "../../src/core/phase.js";
import { aResult, LIMITS } from "../support/check-results.js";

const DAY = 86_400_000;
const NOW = 1_000 * DAY;

const node = (over: Partial<NodeFacts> = {}, report: Partial<NodeFacts["report"]> = {}): NodeFacts => ({
  id: "aaaaaaaa",
  role: "app",
  protocol: 1,
  state: "live",
  report: { gap: 0, redis: "up", operations: 1000, errors: 0, p95: 2, ...report },
  ...over,
});
const filled: BackfillCheckpoint = {
  state: "complete",
  startedAt: 0,
  updatedAt: 0,
  endedAt: 0,
  generation: "g1",
  coveredBelow: 10_000,
  cursor: null,
  counts: NO_COUNTS,
  total: 0,
  rate: 0,
};
const checked = { ...summarize(NO_CHECKS, aResult({ startedAt: NOW - 9_000, endedAt: NOW - 5_000 })), voided: null };

/** Everything as it should be for any step. */
const facts = (over: Partial<GateFacts> = {}): GateFacts => ({
  target: { phase: "read-through", percent: 10 },
  below: 1_000,
  limits: {
    ...LIMITS,
    freshness: 900_000,
    maxErrorRate: 0.001,
    maxP95: 5,
    maxRedisMemory: 0.8,
    maxDirtyAge: 10_000,
    minStay: { "full-redis": 30 * DAY },
  },
  accept: [],
  now: NOW,
  generation: "g1",
  legacyIdentity: "l1",
  standing: checked,
  backfill: filled,
  nodes: [node(), node({ id: "bbbbbbbb" })],
  redis: { runId: "r1", usedMemory: 50, maxMemory: 100, evictionPolicy: "noeviction" },
  dirty: { count: 3, oldestAge: 800 },
  refused: [],
  copiesSince: null,
  below100Since: NOW - 31 * DAY,
  ...over,
});
const refusals = (given: GateFacts) => judgeStep(given).filter(({ ok }) => !ok);
const refused = (given: GateFacts) => refusals(given).map(({ gate }) => gate);

describe("which gates a step has", () => {
  test("nothing is asked downwards but one protocol number", () => {
    for (const phase of PHASE_NAMES) expect(gatesOf(phase, "down")).toEqual(["protocol"]);
  });
  test("dual-write asks for no evidence", () => {
    expect(gatesOf("dual-write", "up")).toEqual(["protocol", "stay"]);
  });
  test("read-through asks for a backfill, the later phases for what the nodes measure", () => {
    expect(gatesOf("read-through", "up")).toContain("backfill");
    for (const phase of ["redis-first", "full-redis", "complete"] as const) {
      expect(gatesOf(phase, "up")).toEqual(expect.arrayContaining(["freshness", "errors", "latency", "redis-memory"]));
    }
    expect(gatesOf("full-redis", "up")).toContain("dirty-age");
    expect(gatesOf("complete", "up")).toEqual(expect.arrayContaining(["redis-evidence", "dirty-count", "stay"]));
  });
  test("what would only end in a pending transition, or would lose sessions, cannot be forced", () => {
    const results = PHASE_NAMES.flatMap((phase) => judgeStep(facts({ target: { phase, percent: 100 } })));
    const fixed = new Set(results.filter(({ forceable }) => !forceable).map(({ gate }) => gate));
    expect([...fixed].sort()).toEqual(["eviction", "nodes", "protocol"]);
  });
});

describe("gates", () => {
  test("all pass when all is well", () => {
    for (const phase of ["dual-write", "read-through", "redis-first", "full-redis"] as const) {
      expect(refused(facts({ target: { phase, percent: 100 }, below: 10_000 }))).toEqual([]);
    }
  });
  test.each<[GateName, Partial<GateFacts>, string]>([
    ["protocol", { nodes: [node(), node({ protocol: 2 })] }, "sessionferry nodes"],
    ["backfill", { backfill: null }, "sessionferry backfill"],
    ["backfill", { backfill: { ...filled, state: "incomplete" } }, "sessionferry backfill"],
    ["backfill", { backfill: { ...filled, generation: "g0" } }, "sessionferry backfill"],
    ["backfill", { backfill: { ...filled, coveredBelow: 999 } }, "sessionferry backfill"],
    ["backfill", { backfill: { ...filled, startedAt: 5 }, copiesSince: 6 }, "sessionferry backfill"],
    ["nodes", { nodes: [node({}, { gap: 1 })] }, "sessionferry nodes"],
    ["nodes", { nodes: [node({}, { redis: "down" })] }, "sessionferry nodes"],
    ["eviction", { redis: { runId: "r1", usedMemory: 1, maxMemory: 9, evictionPolicy: "volatile-lru" } }, "noeviction"],
    [
      "redis-memory",
      { redis: { runId: "r1", usedMemory: 81, maxMemory: 100, evictionPolicy: "noeviction" } },
      "more memory",
    ],
    ["errors", { nodes: [node({}, { errors: 2 })] }, "sessionferry status"],
    ["latency", { nodes: [node(), node({}, { p95: 5.1 })] }, "sessionferry status"],
    ["dirty-age", { dirty: { count: 1, oldestAge: 10_001 } }, "drain"],
    ["dirty-count", { dirty: { count: 1001, oldestAge: 0 } }, "drain"],
    ["dirty-refused", { refused: [{ code: "VALUE_TOO_LARGE", count: 2 }] }, "sessionferry status"],
    ["stay", { below100Since: NOW - 29 * DAY }, "another 1 d"],
    ["stay", { below100Since: null }, "gates.minStay.full-redis"],
  ])("%s refuses alone, and names what helps", (gate, over, remedy) => {
    // The step of which this is a gate, the last one where there are several.
    const phase = [...PHASE_NAMES].reverse().find((name) => gatesOf(name, "up").includes(gate))!;
    const underRedis = summarize(
      NO_CHECKS,
      aResult({ startedAt: NOW - 9_000, endedAt: NOW - 5_000, authority: { L: 0, R: 9 } }),
    );
    const given = facts({ target: { phase, percent: 100 }, standing: { ...underRedis, voided: null }, ...over });
    const found = refusals(given);
    expect(found.map((result) => result.gate)).toEqual([gate]);
    expect(found[0]?.remedy).toContain(remedy);
  });
  test("without evidence both the full check and its freshness are asked, by one command", () => {
    const found = refusals(facts({ standing: { ...NO_CHECKS, voided: null } }));
    expect(found.map(({ gate, remedy }) => [gate, remedy])).toEqual([
      ["evidence", "sessionferry check"],
      ["freshness", "sessionferry check"],
    ]);
  });
  test("old evidence needs but a sample", () => {
    const found = refusals(facts({ now: NOW + DAY }));
    expect(found.map(({ gate, remedy }) => [gate, remedy])).toEqual([
      ["freshness", "sessionferry check --sample 2000"],
    ]);
  });
  test("complete asks for a full check under Redis", () => {
    const target = { phase: "complete", percent: 100 } as const;
    expect(refused(facts({ target, below: 10_000 }))).toEqual(["redis-evidence"]);
  });
  test("what cannot be found out never passes", () => {
    const target = { phase: "full-redis", percent: 100 } as const;
    const silent = { redis: null, dirty: null, legacyIdentity: null } as const;
    expect(refused(facts({ target, below: 10_000, ...silent }))).toEqual([
      "evidence",
      "freshness",
      "eviction",
      "redis-memory",
      "dirty-age",
    ]);
  });
  test("a service that hides its limit, or has none, is not judged by it; eviction may be accepted by name", () => {
    for (const maxMemory of [0, null]) {
      const redis = { runId: "r1", usedMemory: 9, maxMemory, evictionPolicy: "allkeys-lru" };
      expect(refused(facts({ redis, accept: ["eviction"] }))).toEqual([]);
    }
  });
  test("jobs and evicted nodes are not asked, silent ones do no harm", () => {
    const nodes = [
      node({}, { operations: 0, p95: null }),
      node({ role: "job" }, { redis: "down", p95: 99 }),
      node({ state: "evicted" }, { gap: 5, errors: 999, p95: 99 }),
    ];
    expect(refused(facts({ target: { phase: "full-redis", percent: 100 }, below: 10_000, nodes }))).toEqual([]);
  });
});
