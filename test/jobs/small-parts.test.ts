import { describe, expect, test } from "vitest";
import { FerryError } from "../../src/errors.js";
import { newCheckId } from "../../src/jobs/check-archive.js";
import { Patience } from "../../src/jobs/patience.js";
import { type Progress, Pulse, progressDisplay } from "../../src/jobs/progress.js";
import { Reservoir } from "../../src/jobs/reservoir.js";
import { loadSecrets, Secrets } from "../../src/jobs/secrets.js";
import { Throttle } from "../../src/jobs/throttle.js";
import { LegacyUnreachable } from "../../src/ports/legacy-store.js";
import { RedisRefused } from "../../src/ports/redis-records.js";
import { rigAt } from "../support/rig.js";
import { VirtualClock } from "../support/virtual-clock.js";

describe("throttle", () => {
  test("no limit never waits", async () => {
    const clock = new VirtualClock(0);
    const throttle = new Throttle(0, clock);
    for (let i = 0; i < 100; i++) await throttle.take(1_000);
    expect(clock.now()).toBe(0);
    expect(throttle.batchSize(500)).toBe(500);
  });
  test("an idle time saves nothing up", async () => {
    const clock = new VirtualClock(0);
    const throttle = new Throttle(100, clock);
    await clock.sleep(60_000);
    const started = clock.now();
    for (let i = 0; i < 20; i++) await throttle.take(25);
    expect(clock.now() - started).toBeGreaterThanOrEqual(4_700);
  });
  test("a new rate takes hold for who waits already", async () => {
    const clock = new VirtualClock(0);
    const throttle = new Throttle(1, clock);
    await throttle.take(100);
    const waiting = throttle.take(1);
    void clock.sleep(1_000).then(() => throttle.setRate(1_000));
    await waiting;
    expect(clock.now()).toBeLessThan(1_500);
  });
  test("an abort ends the waiting", async () => {
    const clock = new VirtualClock(0);
    const throttle = new Throttle(1, clock);
    const abort = new AbortController();
    await throttle.take(100);
    const waiting = throttle.take(1, abort.signal);
    void clock.sleep(1_000).then(() => abort.abort());
    await waiting;
    expect(clock.now()).toBeLessThan(1_500);
  });
});

describe("secrets", () => {
  test("every process of a migration has the same ones, also when they come at once", async () => {
    const rig = await rigAt({ phase: "dual-write", percent: 100 });
    const all = await Promise.all([1, 2, 3, 4].map(() => loadSecrets(rig.control, rig.clock)));
    expect(new Set(all.map((secrets) => secrets.digest("a"))).size).toBe(1);
    expect(all[1]!.unseal(all[0]!.seal("a session id"))).toBe("a session id");
  });
  test("a digest tells nothing of the id and nothing across migrations", () => {
    const [one, other] = [new Secrets(Buffer.alloc(32, 1)), new Secrets(Buffer.alloc(32, 2))];
    expect(one.digest("a")).not.toBe(other.digest("a"));
    expect(one.digest("a")).not.toBe(one.digest("b"));
  });
  test("what was sealed with another key, cut off or altered is not opened", () => {
    const [one, other] = [new Secrets(Buffer.alloc(32, 1)), new Secrets(Buffer.alloc(32, 2))];
    const sealed = one.seal("a session id");
    expect(sealed).not.toContain("session");
    expect(one.seal("a session id")).not.toBe(sealed);
    expect(other.unseal(sealed)).toBeNull();
    expect(one.unseal(sealed.slice(0, 20))).toBeNull();
    const bytes = Buffer.from(sealed, "base64");
    bytes[bytes.length - 1]! ^= 1;
    expect(one.unseal(bytes.toString("base64"))).toBeNull();
  });
});

describe("patience", () => {
  test("waits with growing pauses, then tells with an error of the catalogue", async () => {
    const clock = new VirtualClock(0);
    const tries: number[] = [];
    const failing = () => {
      tries.push(clock.now());
      return Promise.reject(new LegacyUnreachable("away"));
    };
    const outcome = new Patience(clock, 30_000).attempt(failing);
    await expect(outcome).rejects.toMatchObject({ code: "LEGACY_UNREACHABLE" });
    expect(clock.now()).toBeGreaterThanOrEqual(30_000);
    expect(clock.now()).toBeLessThan(36_000);
    expect(tries.length).toBeGreaterThan(8);
    expect(tries.length).toBeLessThan(20);
  });
  test.each([
    [new RedisRefused("OOM"), "REDIS_REFUSED"],
    [new FerryError("TABLE_UNSUITABLE", "no table"), "TABLE_UNSUITABLE"],
  ])("what will not pass is told at once: %s", async (error, code) => {
    const clock = new VirtualClock(0);
    await expect(new Patience(clock, 30_000).attempt(() => Promise.reject(error))).rejects.toMatchObject({ code });
    expect(clock.now()).toBe(0);
  });
  test("an error that is not ours stays what it is", async () => {
    const own = new TypeError("no");
    await expect(new Patience(new VirtualClock(), 9).attempt(() => Promise.reject(own))).rejects.toBe(own);
  });
});

describe("progress", () => {
  const progress: Progress = { done: 500, total: 2_000, rate: 123.4, etaSeconds: 75 };
  const written = (isTTY: boolean) => {
    const clock = new VirtualClock(0);
    const texts: string[] = [];
    const display = progressDisplay({ isTTY, columns: 60, write: (text) => texts.push(text) }, clock, "backfill");
    return { clock, texts, display };
  };
  test("a terminal gets a bar that redraws itself and never breaks its line", () => {
    const { clock, texts, display } = written(true);
    display.show(progress, "copied 480");
    display.show(progress, "not so soon");
    clock.advance(250);
    display.show({ ...progress, done: 2_000 }, "x".repeat(99));
    display.end({ ...progress, done: 2_000 }, "");
    expect(texts).toHaveLength(3);
    expect(texts[0]).toMatch(/^\r\S+backfill \[={6} {18}\] 500 of 2000 \(25 %\), 123/);
    for (const text of texts) expect(text.replace(/^\r\S{4}/, "").trimEnd().length).toBeLessThan(60);
    expect(texts.at(-1)).toMatch(/\n$/);
  });
  test("a log gets a line every few seconds", () => {
    const { clock, texts, display } = written(false);
    for (let i = 0; i < 60; i++) {
      display.show(progress, "");
      clock.advance(250);
    }
    display.end({ ...progress, done: 2_000 }, "done");
    expect(texts.slice(0, 2)).toEqual([
      "backfill: 500 of 2000 (25 %), 123/s, 01:15 left\n",
      "backfill: 500 of 2000 (25 %), 123/s, 01:15 left\n",
    ]);
    expect(texts).toHaveLength(4);
    expect(texts.at(-1)).toBe("backfill: 2000 of 2000 (100 %), 123/s  done\n");
  });
  test("the rate is that of the last ten seconds", () => {
    const clock = new VirtualClock(0);
    const pulse = new Pulse(clock);
    for (let second = 0; second < 60; second++) {
      pulse.measure(second < 30 ? second * 1_000 : 30_000 + (second - 30) * 100, 100_000);
      clock.advance(1_000);
    }
    const last = pulse.measure(33_000, 100_000);
    expect(Math.round(last.rate)).toBe(100);
    expect(last.etaSeconds).toBe(670);
    expect(new Pulse(clock).measure(0, 10)).toEqual({ done: 0, total: 10, rate: 0, etaSeconds: null });
    expect(pulse.measure(11, 10).total).toBe(11);
  });
});

test("a reservoir is uniform", () => {
  const drawn = new Map<number, number>();
  for (let run = 0; run < 4_000; run++) {
    const reservoir = new Reservoir<number>(5);
    for (let i = 0; i < 50; i++) reservoir.add(i);
    expect(reservoir.items).toHaveLength(5);
    for (const item of reservoir.items) drawn.set(item, (drawn.get(item) ?? 0) + 1);
  }
  // 400 each are expected, with a deviation of 19: six of them either way.
  for (let i = 0; i < 50; i++) {
    expect(drawn.get(i)).toBeGreaterThan(285);
    expect(drawn.get(i)).toBeLessThan(515);
  }
});

test("names of checks sort by time", () => {
  const at = Date.UTC(2025, 0, 31, 8, 15, 2, 123);
  expect(newCheckId(at)).toMatch(/^20250131-081502-123-[0-9a-z]{4}$/);
  const ids = [0, 1, 999, 1_000, 60_000, 86_400_000].map((later) => newCheckId(at + later));
  expect([...ids].sort()).toEqual(ids);
});
