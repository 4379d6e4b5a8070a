import pLimit from "p-limit";
import type { Sid } from "../core/session.js";
import { isSynthetic } from "../core/synthetic.js";
import type { Patience } from "./patience.js";
import type { Throttle } from "./throttle.js";

/** Pages under way at once: while one ends, the next keeps the stores busy. More would only cost memory. */
const PAGES_UNDER_WAY = 2;

export interface Pace {
  /** Sids in one batch. */
  readonly batch: number;
  /** Batches under way at once. */
  readonly concurrency: number;
  readonly throttle: Throttle;
}

export interface BatchWork {
  /** Looks at or copies one batch. False: it was broken off, and its page is not done. */
  run(sids: Sid[]): Promise<boolean>;
  /** Asked before each batch; may wait. False: begin nothing more. */
  goOn(): Promise<boolean>;
  /** Every batch of a page, and of all pages before it, is done; `last` is the last sid of the page. */
  pageDone?(last: Sid): void;
}

/** A page holds this many sids. */
export function pageSizeOf(pace: Pace): number {
  return Math.max(1000, pace.batch * pace.concurrency * 2);
}

/**
 * Works through pages of sids in batches, several at once, never holding more than a few pages. Batches that have
 * begun are always finished, whatever happens; the first failure is thrown after that.
 *
 * @returns false when `goOn` ended it, or a batch was broken off.
 */
export async function inBatches(pages: AsyncIterable<Sid[]>, pace: Pace, work: BatchWork): Promise<boolean> {
  const limit = pLimit(pace.concurrency);
  const underWay: { last: Sid; done: Promise<boolean> }[] = [];
  let failure: { error: unknown } | null = null;
  let ended = false;

  const runBatch = async (sids: Sid[]): Promise<boolean> => {
    if (failure !== null || ended) return false;
    try {
      await pace.throttle.take(sids.length);
      if (!(await work.goOn())) ended = true;
      if (ended || failure !== null) return false;
      return await work.run(sids);
    } catch (error) {
      failure ??= { error };
      return false;
    }
  };
  let unbroken = true;
  const settleOldest = async () => {
    const { last, done } = underWay.shift()!;
    unbroken = (await done) && unbroken;
    if (unbroken) work.pageDone?.(last);
  };

  try {
    for await (const page of pages) {
      if (failure !== null || ended) break;
      const last = page.at(-1);
      if (last === undefined) continue;
      const batches = [...cut(page, () => pace.throttle.batchSize(pace.batch))];
      const done = Promise.all(batches.map((sids) => limit(() => runBatch(sids))));
      underWay.push({ last, done: done.then((all) => all.every(Boolean)) });
      if (underWay.length > PAGES_UNDER_WAY - 1) await settleOldest();
    }
  } catch (error) {
    failure ??= { error };
  }
  while (underWay.length > 0) await settleOldest();
  if (failure !== null) throw (failure as { error: unknown }).error;
  return !ended && unbroken;
}

/** L's listing from just after `after`, going on where it stood when L goes away and comes back. */
export async function* patiently(
  list: (after: Sid | undefined) => AsyncIterable<Sid[]>,
  after: Sid | undefined,
  patience: Patience,
): AsyncIterable<Sid[]> {
  const strain = patience.strain();
  let reached = after;
  for (;;) {
    try {
      for await (const page of list(reached)) {
        strain.relieve();
        if (page.length === 0) continue;
        yield page;
        reached = page.at(-1);
      }
      return;
    } catch (error) {
      await strain.endure(error);
    }
  }
}

export function* cut<T>(items: readonly T[], size: () => number): Iterable<T[]> {
  for (let at = 0; at < items.length; ) {
    const next = at + size();
    yield items.slice(at, next);
    at = next;
  }
}

/** Leaves out what checks have planted. */
export function real(sids: readonly Sid[]): Sid[] {
  return sids.filter((sid) => !isSynthetic(sid));
}
