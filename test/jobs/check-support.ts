import type { CheckCounts } from "../../src/core/check-result.js";
import type { Position } from "../../src/core/phase.js";
import type { Sid } from "../../src/core/session.js";
import { isSynthetic } from "../../src/core/synthetic.js";
import { runBackfill } from "../../src/jobs/backfill.js";
import type { CheckOptions } from "../../src/jobs/check.js";
import { LIMITS } from "../support/check-results.js";
import { type Rig, rigAt } from "../support/rig.js";

export const DUAL: Position = { phase: "dual-write", percent: 100 };
export const FIRST: Position = { phase: "redis-first", percent: 100 };
export const FULL: Position = { phase: "full-redis", percent: 100 };

export const options = (over: Partial<CheckOptions> = {}): CheckOptions => ({
  sample: null,
  batch: 50,
  concurrency: 4,
  limits: LIMITS,
  by: "test",
  ...over,
});
/** The counts that are not 0. */
export const found = ({ counts }: { counts: CheckCounts }) =>
  Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));

/** A migration whose sessions lie in both stores. */
export async function filledRig(position: Position, sessions: number, how: { lossy?: boolean } = {}) {
  const rig = await rigAt(position, how);
  const sids = await rig.seedLegacy(sessions);
  await runBackfill(rig, { batch: 100, concurrency: 4, rate: 0, by: "test" });
  return { rig, sids };
}

/** A store of which some methods behave otherwise. */
export function withChanges<T extends object>(store: T, changes: Partial<T>): T {
  return new Proxy(store, {
    get(target, name) {
      const changed = changes[name as keyof T];
      if (changed !== undefined) return changed;
      const own = Reflect.get(target, name, target) as unknown;
      return typeof own === "function" ? own.bind(target) : own;
    },
  });
}

async function listed(pages: AsyncIterable<Sid[]>): Promise<Sid[]> {
  const sids: Sid[] = [];
  for await (const page of pages) sids.push(...page);
  return sids;
}
export const plantsInLegacy = async (rig: Rig) =>
  (await listed(rig.legacy.list({ pageSize: 1_000 }))).filter(isSynthetic).length;
export const leftOfPlants = async (rig: Rig) =>
  (await plantsInLegacy(rig)) + (await listed(rig.records.listRecords({ pageSize: 1_000 }))).filter(isSynthetic).length;
