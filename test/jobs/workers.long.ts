/** Worker processes that are killed at any moment, again and again: no job waits for ever, none counts a session twice. */
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { runJson } from "../cli/support.js";
import { seeded } from "../support/history-traffic.js";
import { WorkersStage } from "./workers-stage.js";

const SESSIONS = 16_000;
const ROUNDS = Number(process.env.ROUNDS ?? 10);
const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);
/** Milliseconds: a batch of a dead worker goes to another within ten seconds, and each round has three of them. */
const LONGEST = 120_000;

let site: WorkersStage;
beforeAll(async () => {
  site = await WorkersStage.open(SESSIONS, 40);
  await runJson("backfill", ["backfill", "--config", site.config]);
}, 180_000);
afterEach(() => site.endWorkers());
afterAll(() => site?.close());

test.each(Array.from({ length: ROUNDS }, (_, i) => SEED + i))(
  "three kills at random moments, seed %i",
  async (seed) => {
    const random = seeded(seed);
    await Promise.all([site.start(), site.start(), site.start()]);
    const began = Date.now();
    const kind = seed % 2 === 0 ? "backfill" : "check";
    const running =
      kind === "backfill"
        ? runJson("backfill", ["backfill", "--workers", "--force", "--config", site.config])
        : runJson("check", ["check", "--workers", "--config", site.config]);
    let ended = false;
    const settled = running.finally(() => {
      ended = true;
    });
    settled.catch(() => {});
    let killed = 0;
    for (; killed < 3 && !ended; killed++) {
      await delay(random() * 1_500);
      await site.kill(site.workers[Math.floor(random() * site.workers.length)]!);
      // Now and then the last one dies before another is there.
      if (random() < 0.7 || site.workers.length === 0) await site.start();
    }
    if (site.workers.length === 0) await site.start();
    const answer = await Promise.race([settled, delay(LONGEST, null)]);
    if (answer === null) {
      const { keys } = site.stage;
      const lists = await Promise.all(
        ["wait", "active", "stalled", "delayed", "prioritized", "marker"].map(async (name) => {
          const key = `{sf:shop:queue}:${kind}:${name}`;
          const type = await keys.type(key);
          const held =
            type === "list"
              ? await keys.lrange(key, 0, -1)
              : type === "set"
                ? await keys.smembers(key)
                : type === "zset"
                  ? await keys.zrange(key, "0", "-1")
                  : [];
          return `${name}: ${held.length} ${held.slice(0, 4)}`;
        }),
      );
      throw new Error(
        `not ended after ${LONGEST} ms: ${lists.join("; ")}\n${site.workers.map(({ lines }) => lines()).join("\n")}`,
      );
    }
    if (kind === "backfill") {
      const { result } = answer as Awaited<ReturnType<typeof runJson<"backfill">>>;
      expect(result).toMatchObject({ state: "complete", done: SESSIONS });
    } else {
      expect(answer).toMatchObject({ clean: true, evidence: true, counts: { equal: SESSIONS } });
    }
    console.log(`seed ${seed}: ${kind}, ${killed} killed, ${Math.round((Date.now() - began) / 1000)} s`);
  },
  300_000,
);
