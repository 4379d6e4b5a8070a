import { expect, it } from "vitest";
import { MemoryControlStore } from "../../src/control/memory.js";
import { newGeneration, newNodeId } from "../../src/core/ids.js";
import { DrainRate } from "../../src/ferry/drain-rate.js";
import { type ControlStore, PROTOCOL_NUMBER } from "../../src/ports/control-store.js";
import { systemClock } from "../../src/runtime/clock.js";

async function fleet(size: number): Promise<ControlStore> {
  const control = new MemoryControlStore({ clock: systemClock });
  const position = { phase: "redis-first", percent: 100 } as const;
  await control.setup({ position, pending: null, generation: newGeneration(), interrupted: false });
  for (let i = 0; i < size; i++) {
    const about = { id: newNodeId(), role: "app", protocol: PROTOCOL_NUMBER, host: "h", pid: i, version: "0" } as const;
    await control.join(about, { presence: 60_000 });
  }
  return control;
}

async function drained(rates: readonly DrainRate[], drains: number): Promise<number> {
  let sum = 0;
  for (let i = 0; i < drains; i++) for (const rate of rates) sum += await rate.next();
  return sum;
}

it.each([
  { processes: 1, rate: 50, every: 1_000, seconds: 10 },
  { processes: 3, rate: 50, every: 1_000, seconds: 10 },
  { processes: 40, rate: 3, every: 100, seconds: 20 },
])("$processes processes drain $rate changes a second together", async ({ processes, rate, every, seconds }) => {
  const control = await fleet(processes);
  const rates = Array.from({ length: processes }, () => new DrainRate(control, systemClock, { every, rate }));
  const total = await drained(rates, (seconds * 1_000) / every);
  expect(total).toBeLessThanOrEqual(rate * seconds);
  // Each may still hold back less than one whole change.
  expect(total).toBeGreaterThanOrEqual(rate * seconds - processes);
});

it("knows no limit at 0, and goes on with the last count while the control store is away", async () => {
  const control = await fleet(2);
  expect(await new DrainRate(control, systemClock, { every: 1_000, rate: 0 }).next()).toBe(Number.POSITIVE_INFINITY);
  let now = 0;
  let away = false;
  const clock = { ...systemClock, elapsed: () => now };
  const nodes = () => (away ? Promise.reject(new Error("away")) : control.nodes());
  const rate = new DrainRate({ nodes }, clock, { every: 1_000, rate: 10 });
  expect(await rate.next()).toBe(5);
  away = true;
  now += 60_000;
  expect(await rate.next()).toBe(5);
});
