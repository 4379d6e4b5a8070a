/** The bench runs from one end to the other, and its judge can say no. Its figures at this scale mean nothing. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { GOALS, type Goal, judge, type Measure } from "../../bench/goals.js";
import { type MeasuredSection, mergedSections, type Results } from "../../bench/report.js";
import { quantile, sampleOf } from "../../bench/statistics.js";

const root = fileURLToPath(new URL("../../", import.meta.url));

test("measures a section, judges it, and writes the results and a chart", { timeout: 240_000 }, () => {
  const out = mkdtempSync(join(tmpdir(), "sessionferry-bench-test-"));
  try {
    const args = [join(root, "tools/bench.mjs"), "operations", "--tiny", "--out", out];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    expect(stderr).not.toContain("could not be measured");
    expect(status).toBe(0);
    const results = JSON.parse(readFileSync(join(out, "results.json"), "utf8")) as Results;
    expect(results.sections).toMatchObject([
      { section: "operations", scale: "tiny", machine: { node: process.version } },
    ]);
    const [table] = results.sections[0]!.tables;
    const stores = ["connect-pg-simple", "dual-write", "full-redis", "connect-redis"];
    expect(table!.rows.map(([store]) => store)).toEqual(stores);
    expect(table!.title).toContain("0 errors");
    const judged = results.goals.map(({ measure }) => measure);
    expect(judged).toContain("operations/latency/postgres/dual-write/set");
    expect(judged).toContain("operations/drain/postgres/full-redis");
    expect(stdout).toContain(`${results.goals.filter(({ held }) => held).length} goals held`);
    expect(readFileSync(join(out, "results.svg"), "utf8")).toContain("dual-write/set");
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
});

test("keeps what other sections measured before, and what is newer of the same", () => {
  const section = (name: string, seconds: number, ...ids: string[]) =>
    ({ section: name, seconds, measures: ids.map((id) => measured(id, 1)) }) as unknown as MeasuredSection;
  const before = [section("load", 1), section("growth", 1), section("gone", 1)];
  const merged = mergedSections(
    before,
    [section("operations", 2), section("load", 2)],
    ["operations", "load", "growth"],
  );
  expect(merged.map(({ section: name, seconds }) => [name, seconds])).toEqual([
    ["operations", 2],
    ["load", 2],
    ["growth", 1],
  ]);
  const [postgres, memcached] = [section("load", 1, "load/p95/postgres"), section("load", 2, "load/p95/memcached")];
  expect(mergedSections([postgres], [memcached], ["load"])).toEqual([postgres, memcached]);
  const both = section("load", 3, "load/p95/memcached", "load/p95/postgres");
  expect(mergedSections([postgres, memcached], [both], ["load"])).toEqual([both]);
});

test("refuses a section that there is none of", () => {
  const args = [join(root, "tools/bench.mjs"), "speed", "--tiny"];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  expect(status).toBe(2);
  expect(stderr).toContain("operations");
});

const measured = (id: string, ...values: number[]): Measure => ({ id, unit: "", sample: sampleOf(values) });

test("calls a goal missed by its median, on the wrong side of its bound only, and says why", () => {
  const goals: Goal[] = [
    { of: "a/latency", text: "fast", most: 1.15, cost: "it costs" },
    { of: "a/throughput", text: "much", least: 0.85, cost: "it costs" },
  ];
  const [slow, fast] = judge(goals, [measured("a/latency/x", 1.1, 1.2, 9), measured("a/latency/y", 1, 1.15, 9)]);
  expect(slow).toMatchObject({ measure: "a/latency/x", held: false, why: "it costs", bound: "at most 1.15" });
  expect(fast).toMatchObject({ measure: "a/latency/y", held: true, why: "" });
  const [little, much] = judge(goals, [measured("a/throughput", 0.84), measured("a/throughput/x", 0.85)]);
  expect([little!.held, much!.held]).toEqual([false, true]);
  // What was not measured is not judged, and a name that merely begins alike is another.
  expect(judge(goals, [measured("a/latencies", 9)])).toEqual([]);
});

test("states what each goal of the bench costs where it is missed", () => {
  for (const goal of GOALS) {
    expect(goal.cost.length, goal.of).toBeGreaterThan(10);
    expect(
      [goal.most, goal.least].filter((bound) => bound !== undefined),
      goal.of,
    ).toHaveLength(1);
  }
});

test("takes what a session operation costs from profiles and counts", () => {
  const own = GOALS.filter(
    ({ of }) => of.startsWith("operations/") && of.includes("postgres") && !of.includes("drain"),
  );
  expect(own.length).toBeGreaterThan(5);
  for (const { of, cost } of own) expect(cost, of).toMatch(/profile|commandstats|[Cc]ounted/);
});

test("takes medians and quartiles", () => {
  expect(quantile([1, 2, 3, 4], 0.5)).toBe(2.5);
  expect(sampleOf([5, 1, 3])).toEqual({ median: 3, low: 1, high: 5, rounds: 3 });
  expect(sampleOf([100, 1, 2, 3, 4])).toMatchObject({ median: 3, low: 2, high: 4, rounds: 5 });
});
