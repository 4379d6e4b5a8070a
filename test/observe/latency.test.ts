import { describe, expect, it } from "vitest";
import { RecentLatencies } from "../../src/observe/latency.js";

describe("RecentLatencies", () => {
  it("knows nothing without requests", () => {
    expect(new RecentLatencies(() => 0).quantile(0.95)).toBeNull();
  });

  it("estimates quantiles within ten percent, whatever the distribution", () => {
    const distributions: Record<string, (share: number) => number> = {
      even: (share) => share * 20,
      exponential: (share) => -Math.log(1 - share) * 3,
      "two humps": (share) => (share < 0.9 ? 0.4 : 80),
      long: (share) => 10 ** (share * 4.5),
    };
    for (const [name, latency] of Object.entries(distributions)) {
      const recent = new RecentLatencies(() => 0);
      const values = Array.from({ length: 5000 }, (_, i) => latency((i + 0.5) / 5000));
      for (const value of values) recent.add(value);
      for (const rank of [0.5, 0.95, 0.99]) {
        const exact = values[Math.ceil(rank * 5000) - 1]!;
        const estimate = recent.quantile(rank)!;
        expect(Math.abs(estimate / exact - 1), `${name} ${rank}: ${estimate} for ${exact}`).toBeLessThan(0.1);
      }
    }
  });

  it("takes odd figures without losing count", () => {
    const recent = new RecentLatencies(() => 0);
    for (const value of [0, -1, Number.NaN]) recent.add(value);
    expect(recent.quantile(1)).toBeLessThanOrEqual(0.05);
    recent.add(Number.POSITIVE_INFINITY);
    expect(recent.quantile(1)).toBeGreaterThan(60_000);
  });

  it("forgets what is older than a minute, also after a long silence", () => {
    let now = 1_000_000;
    const recent = new RecentLatencies(() => now);
    for (let i = 0; i < 100; i++) recent.add(100);
    now += 54_000;
    recent.add(1);
    expect(recent.quantile(0.95)).toBeGreaterThan(90);
    now += 7_000;
    expect(recent.quantile(0.95)).toBeLessThan(1.1);
    now += 60_000;
    expect(recent.quantile(0.95)).toBeNull();
    now += 3_600_000;
    recent.add(5);
    expect(recent.quantile(0.95)).toBeGreaterThan(4.5);
    expect(recent.quantile(0.95)).toBeLessThan(5.5);
  });
});
