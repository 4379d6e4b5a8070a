import { expect, test } from "vitest";
import type { FerryError } from "../../src/errors.js";
import { Dispatcher } from "../../src/jobs/spread/dispatcher.js";
import type { WorkQueue } from "../../src/ports/work-queue.js";
import { startRedis } from "../../src/servers/index.js";
import { bullmqEngine } from "../../src/stores/bullmq.js";
import { rigAt } from "../support/rig.js";

const PATIENCE = 60_000;

/** A queue in which nobody ever does anything. */
const queueWith = (workers: () => Promise<number | null>): WorkQueue => ({
  async submit(_, signal) {
    signal?.throwIfAborted();
    return new Promise((_resolve, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
  },
  workers,
  async close() {},
});

async function handOut(workers: () => Promise<number | null>, signal?: AbortSignal) {
  const rig = await rigAt({ phase: "dual-write", percent: 100 });
  const told: string[] = [];
  const engine = { openQueue: async () => queueWith(workers), take: () => Promise.reject(new Error("unused")) };
  const options = {
    patience: PATIENCE,
    onAlone: (message: string) => void told.push(message),
    ...(signal && { signal }),
  };
  const began = rig.clock.elapsed();
  const dispatcher = await Dispatcher.open(engine, rig, options);
  const error = await dispatcher.copy(["sid"], false).then(
    () => null,
    (rejection: FerryError) => rejection,
  );
  await dispatcher.close();
  return { code: error?.code, told, waited: rig.clock.elapsed() - began };
}

test("a job ends when no worker comes, and when the queue's Redis does not come back", async () => {
  const alone = await handOut(async () => 0);
  expect(alone).toMatchObject({ code: "GUARD_REFUSED", told: [expect.stringContaining("sessionferry worker")] });
  const away = await handOut(() => Promise.reject(new Error("away")));
  expect(away).toMatchObject({ code: "REDIS_UNREACHABLE", told: [expect.stringContaining("does not answer")] });
  for (const { waited } of [alone, away]) expect(waited).toBeGreaterThan(PATIENCE);
});

test("a job that is broken off before it has begun ends at once", async () => {
  expect(await handOut(async () => 1, AbortSignal.abort())).toMatchObject({ code: "INTERRUPTED", told: [] });
});

test("a queue, and who works for it, take leave of a Redis that answers no more", async () => {
  const redis = await startRedis();
  try {
    const engine = bullmqEngine({ url: redis.url, migration: "shop", name: "backfill" });
    const taker = await engine.take(
      async () => ({}),
      2,
      () => {},
    );
    const queue = await engine.openQueue();
    expect(await queue.submit({ n: 1 })).toEqual({});
    redis.pause();
    const left = queue.submit({ n: 2 }).catch(() => {});
    await expect(queue.workers()).rejects.toMatchObject({ code: "REDIS_UNREACHABLE" });
    await queue.close();
    redis.resume();
    await taker.close();
    void left;
  } finally {
    await redis.stop();
  }
});
