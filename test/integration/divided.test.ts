import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { bucketOf } from "../../src/core/cohort.js";
import { type PhaseName, type Position, publishedRung } from "../../src/core/phase.js";
import type { Session, Sid } from "../../src/core/session.js";
import { loadPhases } from "../../src/phases.js";
import type { Observer } from "../../src/ports/observer.js";
import { until } from "../support/processes.js";
import { Site } from "./site.js";

const at = (phase: PhaseName, percent = 100): Position => ({ phase, percent });

const session = (text: string): Session => ({
  value: Buffer.from(JSON.stringify({ cookie: {}, text })),
  flags: 0,
  expiresAt: Date.now() + 3_600_000,
});
const textOf = (found: Session | null): string | null => found && JSON.parse(found.value.toString()).text;

/** A sid of its own in a bucket that is below 10 %, or above. */
function sidIn(place: "below" | "above", name: string): Sid {
  for (let i = 0; ; i++) {
    const sid = `${name}-${i}`;
    if (bucketOf(sid) < 1_000 === (place === "below")) return sid;
  }
}

/** A server is restarted in the midst of a request. */
const PATIENT = { timeouts: { legacy: "20s" } };

let site: Site;
let folder: string;
afterEach(async () => {
  await site?.close();
  rmSync(folder, { recursive: true, force: true });
});

/**
 * Redis restarts with what it held a while ago, while it is the authority of a tenth of the sessions. What PostgreSQL
 * acknowledged of the others since is what users see, and nobody's logout is undone; the tenth goes on with Redis.
 */
test("a Redis that comes back older is believed where it is the authority, and nowhere else", async () => {
  folder = mkdtempSync(join(tmpdir(), "sessionferry-divided-"));
  site = await Site.open({ legacy: "postgres", control: "legacy", redisFolder: folder, config: PATIENT });
  const [first, second] = [(await site.join()).ferry, (await site.join()).ferry];
  for (const position of [at("dual-write"), at("read-through"), at("redis-first", 10)]) await site.moveTo(position);
  const [changed, left, own] = [sidIn("above", "changed"), sidIn("above", "left"), sidIn("below", "own")];
  for (const sid of [changed, left, own]) await first.set(sid, session("old"));
  for (const sid of [changed, left, own]) expect(textOf(await second.get(sid))).toBe("old");
  await site.settle();

  const [kept, saved] = [join(folder, "appendonlydir"), join(folder, "saved")];
  cpSync(kept, saved, { recursive: true });
  await first.set(changed, session("new"));
  await first.destroy(left);
  const before = await site.record();
  await comeBackOlder(kept, saved);

  // Whatever is answered meanwhile is right.
  for (const ferry of [first, second]) {
    expect(textOf(await ferry.get(changed))).toBe("new");
    expect(await ferry.get(left)).toBeNull();
    expect(textOf(await ferry.get(own))).toBe("old");
  }
  await until("it is trusted again", async () => (await rearmed()) === 1);
  const after = await site.record();
  expect(after).toMatchObject({ position: at("redis-first", 10), pending: null });
  expect(after.generation).not.toBe(before.generation);

  for (const ferry of [first, second]) {
    for (const sid of [changed, left, own]) {
      await ferry.set(sid, session("newest"));
      for (const other of [first, second]) expect(textOf(await other.get(sid))).toBe("newest");
    }
  }
  await site.settle();
  expect(await site.differences([changed, left, own])).toEqual([]);
}, 60_000);

/** Redis is killed, and comes back with what it held when this copy was made. */
async function comeBackOlder(kept: string, saved: string): Promise<void> {
  await site.redis.kill();
  rmSync(kept, { recursive: true });
  cpSync(saved, kept, { recursive: true });
  await site.redis.restart();
}

async function rearmed(): Promise<number> {
  const entries = await site.look(({ control }) => control.ledger(20));
  return entries.filter(({ action }) => action === "rearm").length;
}

/** What was begun since it was put right the first time must have ended before it is trusted again. */
test("a Redis that forgets even that it was put right is doubted anew", async () => {
  folder = mkdtempSync(join(tmpdir(), "sessionferry-divided-"));
  site = await Site.open({ legacy: "postgres", control: "legacy", redisFolder: folder, config: PATIENT });
  let holding: Promise<void> | null = null;
  const { ferry } = await site.join({
    event() {},
    at: (point) => (point === "write:opened" ? (holding ?? undefined) : undefined),
  });
  for (const position of [at("dual-write"), at("read-through"), at("redis-first", 10)]) await site.moveTo(position);
  const sid = sidIn("above", "held");
  await ferry.set(sid, session("old"));
  await site.settle();
  const [kept, saved] = [join(folder, "appendonlydir"), join(folder, "saved")];
  cpSync(kept, saved, { recursive: true });
  await comeBackOlder(kept, saved);
  await until("it is trusted again", async () => (await rearmed()) === 1);

  const { generation } = await site.record();
  let release = () => {};
  holding = new Promise<void>((resolve) => {
    release = resolve;
  });
  const writing = ferry.set(sid, session("held"));
  await until(
    "its intent stands",
    async () => (await site.look(({ records }) => records.view([sid])))[0]?.mark === "intents",
  );
  await comeBackOlder(kept, saved);
  await until("it is doubted", async () => (await site.record()).generation !== generation);
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  expect(await rearmed()).toBe(1);
  release();
  await writing;
  await until("it is trusted once more", async () => (await rearmed()) === 2);
  expect(textOf(await ferry.get(sid))).toBe("held");
  await site.settle();
  expect(await site.differences([sid])).toEqual([]);
}, 60_000);

/** The logout is answered after the restart, so nothing that Redis has lost excuses a session that lives on. */
test("a logout that Redis forgets before the legacy store has heard of it is not called done", async () => {
  folder = mkdtempSync(join(tmpdir(), "sessionferry-divided-"));
  const config = { ...PATIENT, drain: { every: "1m" } };
  site = await Site.open({ legacy: "postgres", control: "legacy", redisFolder: folder, config });
  const [kept, saved] = [join(folder, "appendonlydir"), join(folder, "saved")];
  let isForgetting = false;
  const { ferry } = await site.join({
    event() {},
    at: async (point) => {
      if (point !== "drain:token" || !isForgetting) return;
      isForgetting = false;
      await comeBackOlder(kept, saved);
    },
  });
  for (const position of [at("dual-write"), at("read-through"), at("redis-first")]) await site.moveTo(position);
  await ferry.set("one", session("one"));
  await site.settle();
  cpSync(kept, saved, { recursive: true });

  isForgetting = true;
  await expect(ferry.destroy("one")).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN" });
  expect(textOf(await ferry.get("one"))).toBe("one");
  await ferry.destroy("one");
  expect(await ferry.get("one")).toBeNull();
}, 60_000);

/** The legacy store has the say of it by then: what Redis held when the session was to be drained is no change any more. */
test("what was to be drained on the way down is not drained again by a Redis that comes back older", async () => {
  folder = mkdtempSync(join(tmpdir(), "sessionferry-divided-"));
  site = await Site.open({ legacy: "postgres", control: "legacy", redisFolder: folder, config: PATIENT });
  const [kept, saved] = [join(folder, "appendonlydir"), join(folder, "saved")];
  let isSaving = false;
  const { ferry: first } = await site.join({
    event() {},
    at: async (point) => {
      if (point === "drain:token" && isSaving) cpSync(kept, saved, { recursive: true });
    },
  });
  const { ferry: second } = await site.join();
  for (const position of [at("dual-write"), at("read-through"), at("redis-first", 10)]) await site.moveTo(position);
  const sid = sidIn("below", "drained");
  const followed = async () => {
    const { revision } = await site.record();
    for (const { ctx } of [first, second]) {
      await until("it follows", async () => ctx.routing.record.revision === revision);
    }
  };
  const observer: Observer = {
    event() {},
    at: async (point) => {
      if (point !== "transition:published") return;
      const { name } = publishedRung(loadPhases(), (await site.record()).pending!);
      if (name === "no-fallback") throw new Error("the command dies");
      if (name !== "write-through") return;
      await followed();
      isSaving = true;
      await first.set(sid, session("old"));
      isSaving = false;
    },
  };
  const down = site.command((coordinator) => coordinator.moveTo(at("read-through"), "test"), observer);
  await expect(down).rejects.toThrow("the command dies");
  await followed();
  await second.set(sid, session("new"));

  await comeBackOlder(kept, saved);
  for (const ferry of [first, second]) expect(textOf(await ferry.get(sid))).toBe("new");
  await until("it is trusted again", async () => (await rearmed()) === 1);
  await site.breakLock();
  await site.command((coordinator) => coordinator.finish());
  expect(await site.record()).toMatchObject({ position: at("read-through"), pending: null });
  for (const ferry of [first, second]) expect(textOf(await ferry.get(sid))).toBe("new");
  expect(await site.differences([sid])).toEqual([]);
}, 60_000);
