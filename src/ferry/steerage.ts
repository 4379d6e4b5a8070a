import type { Phases } from "../core/phase.js";
import type { ControlStore } from "../ports/control-store.js";
import type { RedisRecords } from "../ports/redis-records.js";
import type { EvictionStores } from "./eviction.js";
import type { RedisLock } from "./holders.js";
import { release, succeed } from "./succession.js";

/** What a node needs that does something for the whole fleet. */
export interface Steerage {
  readonly control: ControlStore;
  readonly records: RedisRecords;
  readonly phases: Phases;
  /** Who does it: the node's id. */
  readonly by: string;
}

/** Milliseconds that the lock outlives its holder; a holder that is at work renews it long before. */
const LOCK_TTL = 15_000;

/**
 * Does what only one node at a time may do to R as a whole; false where another is at it. The lock is renewed while the
 * work lasts: dropping millions of records takes its time, and a second one must not drop what is in use again already.
 * Who held it before, and did not give it back, is fenced off first (succession.ts).
 */
export async function alone(
  { control, by }: Steerage,
  eviction: EvictionStores,
  lock: RedisLock,
  perform: () => Promise<boolean>,
): Promise<boolean> {
  const successor = { control, eviction, lock, holder: by, node: by, ttl: LOCK_TTL };
  if ((await succeed(successor)) !== "held") return false;
  let renewal: Promise<unknown> = Promise.resolve();
  const renewing = setInterval(() => {
    renewal = control.lock(lock, by, LOCK_TTL).catch(() => {});
  }, LOCK_TTL / 4);
  try {
    return await perform();
  } finally {
    clearInterval(renewing);
    // A renewal that lands after the lock was given back would hold it for nobody.
    await renewal;
    await release(successor);
  }
}
