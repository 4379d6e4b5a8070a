import { isSynthetic } from "../core/synthetic.js";
import type { Clock } from "../ports/clock.js";
import type { LegacyStore } from "../ports/legacy-store.js";

/** What `--measure` asks at most: so many sessions, for so many milliseconds, as one backfill would read them. */
const MOST = { sessions: 20_000, milliseconds: 3_000 };
const PAGE = 4_000;
const BATCH = 500;
const AT_ONCE = 4;

export interface Probe {
  /** Sessions that were read. */
  readonly read: number;
  /** Sessions a second; 0 where there were too few to tell. */
  readonly rate: number;
}

/** Below so many sessions a rate says more about the first answer than about the store. */
const TOO_FEW = 2_000;

/**
 * How fast this machine gets sessions out of that legacy store: a backfill's own way of reading, nothing kept and
 * nothing written. It is as much of a load as a backfill, for three seconds at most. The figure is of worth beside the
 * same one of the machine where the constants were measured: by their ratio durations are corrected.
 */
export async function probeListing(legacy: LegacyStore, clock: Clock): Promise<Probe> {
  const began = clock.elapsed();
  const over = () => clock.elapsed() - began >= MOST.milliseconds;
  let read = 0;
  // memcached is listed as a whole before the first page comes, which says nothing of the few sessions that are read here.
  let reading: number | null = null;
  for await (const page of legacy.list({ pageSize: PAGE })) {
    reading ??= clock.elapsed();
    const sids = page.filter((sid) => !isSynthetic(sid));
    const batches: string[][] = [];
    for (let from = 0; from < sids.length; from += BATCH) batches.push(sids.slice(from, from + BATCH));
    const lane = async () => {
      for (let batch = batches.shift(); batch !== undefined && !over(); batch = batches.shift()) {
        await legacy.getMany(batch);
        read += batch.length;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    if (read >= MOST.sessions || over()) break;
  }
  const seconds = (clock.elapsed() - (reading ?? began)) / 1000;
  return { read, rate: read < TOO_FEW ? 0 : read / seconds };
}
