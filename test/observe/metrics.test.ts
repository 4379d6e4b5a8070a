import { describe, expect, it } from "vitest";
import { emptyCounts } from "../../src/core/check-result.js";
import { PHASE_NAMES } from "../../src/core/phase.js";
import { fanOut, Metrics } from "../../src/observe/index.js";
import type { FerryEvent, Observer } from "../../src/ports/observer.js";

const EVENTS: readonly FerryEvent[] = [
  { type: "operation", verb: "get", store: "redis", milliseconds: 0.5, result: "ok" },
  { type: "operation", verb: "get", store: "redis", milliseconds: 3.5, result: "ok" },
  { type: "operation", verb: "set", milliseconds: 20_000, result: "error" },
  { type: "mirror-failure", failedOn: "redis", verb: "open", error: new Error("sid-secret") },
  { type: "mirror-failure", failedOn: "redis", verb: "open", error: new Error("sid-secret") },
  { type: "read-through", result: "hit" },
  { type: "read-through", result: "fallback" },
  { type: "gap", size: 7 },
  { type: "drained", count: 5, refused: 2 },
  { type: "swept", count: 3 },
  { type: "redis", state: "down" },
  { type: "control", state: "up" },
  { type: "routes", revision: 12, phase: "read-through", percent: 50 },
  { type: "acknowledged", revision: 11 },
  { type: "evicted" },
  { type: "background-error", task: 'a "task"\nof \\ two', error: new Error("sid-secret") },
];

function filled(): Metrics {
  const metrics = new Metrics(() => 0);
  for (const event of EVENTS) metrics.event(event);
  return metrics;
}

/** Every line of the text, by the rules of the exposition format. */
function parse(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  const typed = new Set<string>();
  expect(text.endsWith("\n")).toBe(true);
  for (const line of text.slice(0, -1).split("\n")) {
    const comment = /^# (HELP|TYPE) (sessionferry_[a-z0-9_]+) \S/.exec(line);
    if (comment !== null) {
      if (comment[1] === "TYPE") {
        expect(typed.has(comment[2]!), `${comment[2]} is typed once`).toBe(false);
        typed.add(comment[2]!);
      }
      continue;
    }
    const match = /^((sessionferry_[a-z0-9_]+)(?:\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+\})?) (\S+)$/.exec(line);
    expect(match, line).not.toBeNull();
    const name = match![2]!;
    expect(typed.has(name) || typed.has(name.replace(/_(bucket|sum|count)$/, "")), `${name} has a type`).toBe(true);
    expect(samples.has(match![1]!), `${match![1]} is told once`).toBe(false);
    samples.set(match![1]!, Number(match![3]!.replace("Inf", "Infinity")));
  }
  return samples;
}

describe("Metrics", () => {
  it("renders what happened as Prometheus text", () => {
    const samples = parse(filled().render());
    expect(Object.fromEntries([...samples].filter(([name]) => !name.includes("_bucket")))).toEqual({
      'sessionferry_phase{phase="legacy"}': 0,
      'sessionferry_phase{phase="dual-write"}': 0,
      'sessionferry_phase{phase="read-through"}': 1,
      'sessionferry_phase{phase="redis-first"}': 0,
      'sessionferry_phase{phase="full-redis"}': 0,
      'sessionferry_phase{phase="complete"}': 0,
      sessionferry_percent: 50,
      sessionferry_revision: 12,
      sessionferry_acknowledged_revision: 11,
      'sessionferry_operations_total{verb="get",store="redis",result="ok"}': 2,
      'sessionferry_operations_total{verb="set",result="error"}': 1,
      'sessionferry_operation_duration_seconds_sum{verb="get",store="redis"}': 0.004,
      'sessionferry_operation_duration_seconds_count{verb="get",store="redis"}': 2,
      'sessionferry_operation_duration_seconds_sum{verb="set"}': 20,
      'sessionferry_operation_duration_seconds_count{verb="set"}': 1,
      'sessionferry_mirror_failures_total{failed_on="redis",verb="open"}': 2,
      'sessionferry_read_through_total{result="hit"}': 1,
      'sessionferry_read_through_total{result="fallback"}': 1,
      sessionferry_gap_entries: 7,
      sessionferry_drained_total: 5,
      sessionferry_drain_refused_total: 2,
      sessionferry_swept_intents_total: 3,
      'sessionferry_redis_state{state="up"}': 0,
      'sessionferry_redis_state{state="down"}': 1,
      'sessionferry_redis_state{state="lost"}': 0,
      sessionferry_control_up: 1,
      sessionferry_evictions_total: 1,
      'sessionferry_background_errors_total{task="a \\"task\\"\\nof \\\\ two"}': 1,
    });
  });

  it("accumulates the buckets of its histograms", () => {
    const samples = parse(filled().render());
    const bucket = (labels: string, le: string) =>
      samples.get(`sessionferry_operation_duration_seconds_bucket{${labels},le="${le}"}`);
    const get = 'verb="get",store="redis"';
    expect([bucket(get, "0.0005"), bucket(get, "0.0025"), bucket(get, "0.005"), bucket(get, "+Inf")]).toEqual([
      1, 1, 2, 2,
    ]);
    expect([bucket('verb="set"', "10"), bucket('verb="set"', "+Inf")]).toEqual([0, 1]);
  });

  it("adds what only the stores know", () => {
    const report = { gap: 0, redis: "up", operations: 0, errors: 0, p95: null, endpoints: [] } as const;
    const node = (acknowledged: number) =>
      ({ role: "app", state: "live", report: { ...report, acknowledged } }) as const;
    const samples = parse(
      new Metrics().render({
        openIntents: 4,
        dirty: { count: 9, oldestAge: 1500 },
        refused: [{ code: "VALUE_TOO_LARGE", count: 2 }],
        backfill: { done: 30, total: 100, rate: 12.5 },
        check: { counts: { ...emptyCounts(), equal: 90, missing: 1 }, endedAt: 1_763_776_123_000 },
        nodes: [node(11), node(12), node(12)],
      }),
    );
    expect(Object.fromEntries(samples)).toMatchObject({
      sessionferry_open_intents: 4,
      sessionferry_dirty_records: 9,
      sessionferry_dirty_oldest_age_seconds: 1.5,
      'sessionferry_dirty_refused_records{code="VALUE_TOO_LARGE"}': 2,
      sessionferry_backfill_sessions_done: 30,
      sessionferry_backfill_sessions_per_second: 12.5,
      sessionferry_backfill_lag_sessions: 70,
      'sessionferry_check_sessions{class="equal"}': 90,
      'sessionferry_check_sessions{class="missing"}': 1,
      'sessionferry_check_sessions{class="not-yet"}': 0,
      sessionferry_check_ended_timestamp_seconds: 1_763_776_123,
      'sessionferry_nodes{role="app",state="live",acknowledged="11"}': 1,
      'sessionferry_nodes{role="app",state="live",acknowledged="12"}': 2,
    });
  });

  it("tells nothing that it does not know", () => {
    expect([...parse(new Metrics().render()).keys()]).toEqual(["sessionferry_gap_entries"]);
  });

  it("knows every phase", () => {
    const metrics = new Metrics();
    for (const phase of PHASE_NAMES) {
      metrics.event({ type: "routes", revision: 1, phase, percent: 100 });
      expect(metrics.render()).toContain(`sessionferry_phase{phase="${phase}"} 1\n`);
    }
  });

  it("keeps the texts of errors to itself", () => {
    expect(filled().render()).not.toContain("sid-secret");
  });

  it("gives each renewal the figures since the one before, and p95 over the last minute", () => {
    const metrics = filled();
    const first = metrics.figures();
    expect(first).toMatchObject({ operations: 3, errors: 1 });
    // Three requests are no latency to judge a node by.
    expect(first.p95).toBeNull();
    expect(metrics.figures()).toEqual({ operations: 0, errors: 0, p95: null });
    for (let i = 0; i < 200; i++) metrics.event({ type: "operation", verb: "get", milliseconds: 2, result: "ok" });
    const later = metrics.figures();
    expect(later).toMatchObject({ operations: 200, errors: 0 });
    expect(later.p95).toBeGreaterThan(1.8);
    expect(later.p95).toBeLessThan(2.2);
  });
});

describe("fanOut", () => {
  it("tells every observer, and holds by the one that can", async () => {
    const seen: string[] = [];
    const plain = (name: string): Observer => ({ event: (event) => void seen.push(`${name} ${event.type}`) });
    const holding: Observer = { ...plain("b"), at: async (point) => void seen.push(point) };
    expect(fanOut(plain("a")).at).toBeUndefined();
    const both = fanOut(plain("a"), holding);
    both.event({ type: "evicted" });
    await both.at?.("write:opened", "sid");
    expect(seen).toEqual(["a evicted", "b evicted", "write:opened"]);
  });
});
