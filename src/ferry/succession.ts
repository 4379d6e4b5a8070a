import type { ControlStore } from "../ports/control-store.js";
import { type EvictionStores, fenceOffRedis } from "./eviction.js";
import { holdersOf, type RedisLock } from "./holders.js";

/**
 * A lock that ran out says nothing about who held it. Frozen in the middle of dropping R's records, that process would go
 * on when it wakes, with what others have put there since. No clock and no look at the lock can keep it from that; what
 * fences a process is its connections (rule 11). So whoever takes such a lock
 *
 * 1. puts its name down, and then makes sure that it holds the lock still: nobody works whose name is not there;
 * 2. fences off from R everybody else whose name it finds. They held the lock once and did not give it back.
 *
 * Who gives the lock back takes its name away; so does an eviction that has ended its connections to R.
 */
export interface Successor {
  readonly control: ControlStore;
  readonly eviction: EvictionStores;
  readonly lock: RedisLock;
  /** Whom the lock is held by, as the control store knows it. */
  readonly holder: string;
  /** The node whose connections the work goes over. */
  readonly node: string;
  /** Milliseconds. */
  readonly ttl: number;
}

/** More processes than ever die holding one lock before somebody succeeds them. */
const MOST = 1_000;

/** By the lock: what could not be given back while the control store was away. */
const owed = new WeakMap<ControlStore, Map<string, Successor>>();

/**
 * Takes the lock, or finds out why not.
 *
 * @param withoutRedis R is gone for good: it is no hindrance that nobody can be fenced off from it.
 * @returns `held`; `taken`: another holds it; `haunted`: it was held by somebody who could not be fenced off yet.
 */
export async function succeed(successor: Successor, withoutRedis = false): Promise<"held" | "taken" | "haunted"> {
  const { control, lock, holder, node, ttl } = successor;
  if (!(await control.lock(lock, holder, ttl))) return "taken";
  owed.get(control)?.delete(lock);
  let outcome: "held" | "taken" | "haunted" = "taken";
  try {
    await control.putDocument(holdersOf(lock), node, { holder });
    if (await control.lock(lock, holder, ttl)) {
      outcome = (await fenceOffOthers(successor, withoutRedis)) ? "held" : "haunted";
    }
  } finally {
    if (outcome !== "held") await release(successor).catch(() => {});
  }
  return outcome;
}

async function fenceOffOthers(
  { control, eviction, lock, holder, node }: Successor,
  withoutRedis: boolean,
): Promise<boolean> {
  for (const { id } of await control.listDocuments(holdersOf(lock), MOST)) {
    if (id === node) continue;
    if (!(await fenceOffRedis(eviction, id, holder, withoutRedis))) return false;
    await control.deleteDocument(holdersOf(lock), id);
  }
  return true;
}

/** Takes the name away, and gives the lock back. */
export async function release(successor: Successor): Promise<void> {
  const { control, lock, holder, node } = successor;
  const left = owed.get(control) ?? new Map<string, Successor>();
  owed.set(control, left.set(lock, successor));
  await control.deleteDocument(holdersOf(lock), node);
  await control.unlock(lock, holder);
  left.delete(lock);
}

/**
 * What was left because the control store was away for a moment: a process that works no more, and lives, must not be
 * fenced off some day for a name that it could not take away. For whoever takes locks, when it holds none of them.
 */
export async function releaseOwed(control: ControlStore): Promise<void> {
  for (const successor of [...(owed.get(control)?.values() ?? [])]) await release(successor);
}
