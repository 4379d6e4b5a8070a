/** Backfill and check spread over real worker processes, some of which are killed at work. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { run, runError, runJson, type Stage } from "../cli/support.js";
import { until } from "../support/processes.js";
import { type Worker, WorkersStage } from "./workers-stage.js";

const SESSIONS = 6_000;

let site: WorkersStage;
let stage: Stage;
let config: string;
let sids: readonly string[];

beforeAll(async () => {
  site = await WorkersStage.open(SESSIONS, 100);
  ({ stage, config, sids } = site);
}, 180_000);
afterEach(() => site.endWorkers());
afterAll(() => site?.close());

/** Kills this worker when both have batches in hand, so that it dies with some. */
async function killAtWork(queue: string, worker: Worker): Promise<void> {
  await until("both workers have batches", async () => (await site.active(queue)) >= 3, 60_000);
  await site.kill(worker);
}

/** Everything that the queue's Redis keeps of it, as text. */
async function queueText(): Promise<string> {
  const keys = await stage.keys.keys("{sf:shop:queue}*");
  const texts = await Promise.all(
    keys.map(async (key) => {
      const type = await stage.keys.type(key);
      if (type === "hash") return JSON.stringify(await stage.keys.hgetall(key));
      if (type === "stream") return JSON.stringify(await stage.keys.xrange(key, "-", "+"));
      return type === "string" ? await stage.keys.get(key) : "";
    }),
  );
  return `${keys.join(" ")} ${texts.join(" ")}`;
}

test("copies every session though a worker is killed with batches in its hands", { timeout: 180_000 }, async () => {
  const [doomed] = await Promise.all([site.start(), site.start()]);
  const running = runJson("backfill", ["backfill", "--workers", "--config", config]);
  await killAtWork("backfill", doomed!);
  const seen = await queueText();
  const { result } = await running;
  expect(result).toMatchObject({ state: "complete", done: SESSIONS });
  // What the dead one had copied is found in Redis by whoever took its batches: counted once, in either column.
  expect(result!.counts.copied + result!.counts.hit).toBe(SESSIONS);
  const held = await stage.keys.mget(...sids.map((sid) => `sess:${sid}`));
  expect(held.filter((value) => value === null)).toHaveLength(0);
  // Ids are credentials, and a queue is read by people.
  expect(seen).toContain("{sf:shop:queue}:backfill");
  for (const sid of sids.slice(0, 500)) expect(seen.includes(sid)).toBe(false);
  expect(await site.leftovers("backfill")).toEqual([]);
});

test("a check is evidence though a worker is killed: every session once, every planted fault found", {
  timeout: 180_000,
}, async () => {
  await runJson("backfill", ["backfill", "--config", config]);
  const [doomed] = await Promise.all([site.start(), site.start()]);
  const running = runJson("check", ["check", "--workers", "--config", config]);
  await killAtWork("check", doomed!);
  const result = await running;
  expect(result).toMatchObject({
    clean: true,
    evidence: true,
    whyNot: [],
    planted: { planted: 5, found: 5 },
    coverage: { counted: SESSIONS, listed: SESSIONS },
    counts: { equal: SESSIONS },
    authority: { L: SESSIONS, R: 0 },
  });
  expect(result.witness!.agreed).toBeGreaterThan(50);

  await stage.sql.query(`UPDATE session SET sess = '{"cookie":{},"other":true}' WHERE sid = $1`, [sids[7]]);
  await stage.keys.set(`sess:${sids[0]}x`, "{}", "EX", 1000);
  const found = await runJson("check", ["check", "--workers", "--config", config], { code: 4 });
  expect(found).toMatchObject({ clean: false, counts: { equal: SESSIONS - 1, mismatched: 1, resurrected: 1 } });
  expect(found.examples.mismatched).toHaveLength(1);
  await stage.sql.query("DELETE FROM session WHERE sid = $1", [sids[7]]);
  await stage.keys.del(`sess:${sids[0]}x`, `sess:${sids[7]}`);
});

test("says that no worker is there, refuses a queue that evicts, and repairs by itself alone", async () => {
  await stage.keys.config("SET", "maxmemory-policy", "allkeys-lru");
  try {
    expect(await runError(["backfill", "--workers", "--config", config])).toMatchObject({ code: "EVICTION_POLICY" });
  } finally {
    await stage.keys.config("SET", "maxmemory-policy", "noeviction");
  }
  const nobody = new AbortController();
  const alone = run(["backfill", "--workers", "--force", "--config", config], { signal: nobody.signal });
  await until("batches wait", async () => (await site.leftovers("backfill")).length > 0, 60_000);
  nobody.abort();
  const { code, stderr } = await alone;
  expect(code).toBe(130);
  expect(stderr).toContain("sessionferry worker");
  expect(await site.leftovers("backfill")).toEqual([]);
  const repair = ["check", "--workers", "--repair", "--config", config];
  expect(await runError(repair)).toMatchObject({ exit: 2, code: "USAGE" });
});
