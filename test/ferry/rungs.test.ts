/** What requests do on the rungs between read-through and redis-first, where a session may be dirty and L is read. */
import { expect, test, vi } from "vitest";
import type { Session, Sid } from "../../src/core/session.js";
import { begin, proceed } from "../../src/core/transition.js";
import { drain } from "../../src/ferry/drain.js";
import { Ferry } from "../../src/ferry/ferry.js";
import { gets } from "../../src/ferry/gets.js";
import { loadPhases } from "../../src/phases.js";
import type { ItemStore } from "../../src/ports/items.js";
import { type ConditionalChange, LegacyUnreachable } from "../../src/ports/legacy-store.js";
import { type Rig, rigAt } from "../support/rig.js";

const REDIS_FIRST = { phase: "redis-first", percent: 100 } as const;
const READ_THROUGH = { phase: "read-through", percent: 100 } as const;

/** Everybody stands on this rung, on the way down. */
async function descendTo(rung: string, { control, ferry, clock }: Rig): Promise<void> {
  const phases = loadPhases();
  const record = await control.read();
  let state = begin(record, READ_THROUGH, phases, { by: "test", reason: "", at: clock.now() });
  const { ladder } = phases["redis-first"];
  while (ladder[state.pending!.rung]!.name !== rung) state = proceed(state, phases);
  ferry.ctx.routing.follow((await control.compareAndSet(record.revision, { ...record, ...state }))!);
}

const session = ({ clock }: Rig, text: string): Session => ({
  value: Buffer.from(text),
  flags: 0,
  expiresAt: clock.now() + 1_000_000,
});

/** L takes no value that says so. */
function choosy({ legacy }: Rig) {
  const isRefused = ({ session }: ConditionalChange) => session?.value.toString().startsWith("never") ?? false;
  const applyIf = legacy.applyIf.bind(legacy);
  return vi.spyOn(legacy, "applyIf").mockImplementation(async (changes) => {
    const applied = await applyIf(changes.filter((change) => !isRefused(change)));
    return changes.map((change) => (isRefused(change) ? "refused" : applied.shift()!));
  });
}

test("where Redis is written no more a session that is written during each drain of it is drained all the same", async () => {
  const rig = await rigAt(REDIS_FIRST);
  const { ferry, records, legacy, clock } = rig;
  const sids: Sid[] = ["hot", "touched", "gone"];
  for (const sid of sids) await ferry.set(sid, session(rig, "ahead"));
  await descendTo("no-fallback", rig);
  const farther = clock.now() + 5_000_000;
  const verbs = [
    (to: Ferry) => to.set("hot", session(rig, "written")),
    (to: Ferry) => to.touch("touched", farther),
    (to: Ferry) => to.destroy("gone"),
  ];
  let drains = 0;
  const writes: Promise<unknown>[] = [];
  const writing = new Proxy(legacy, {
    get(_, name) {
      const member = Reflect.get(legacy, name);
      if (name !== "applyIf") return typeof member === "function" ? member.bind(legacy) : member;
      return async (changes: readonly ConditionalChange[]) => {
        if (++drains < 100) writes.push(...verbs.map((verb) => verb(site)));
        await clock.sleep(1);
        return legacy.applyIf(changes);
      };
    },
  });
  const site = new Ferry({ ...ferry.ctx, legacy: writing });
  await drain(site.ctx, sids);
  expect(await records.dirtyState()).toEqual({ count: 0, oldestAge: 0 });
  expect(drains).toBeLessThan(10);
  for (let ended = 0; ended < writes.length; ended++) await writes[ended];
  expect(legacy.peek("hot")?.value.toString()).toBe("written");
  expect(legacy.peek("touched")?.expiresAt).toBe(farther);
  expect(legacy.peek("gone")).toBeNull();
  for (const sid of sids) expect(await ferry.get(sid)).toEqual(legacy.peek(sid));
});

test("a write that finds Redis ahead and the legacy store away changes nothing, and says so", async () => {
  const rig = await rigAt(REDIS_FIRST);
  const { ferry, records, legacy } = rig;
  await ferry.set("one", session(rig, "ahead"));
  await descendTo("no-fallback", rig);
  const before = records.snapshot("one");
  vi.spyOn(legacy, "tokens").mockRejectedValue(new LegacyUnreachable("away"));
  await expect(ferry.set("one", session(rig, "later"))).rejects.toMatchObject({ code: "LEGACY_UNREACHABLE" });
  await expect(ferry.destroy("one")).rejects.toMatchObject({ code: "LEGACY_UNREACHABLE" });
  expect(records.snapshot("one")).toEqual(before);
});

test.each(["no-fallback", "write-through"])(
  "on %s what the legacy store never takes is still read, and a write that it refuses is told at once",
  async (rung) => {
    const rig = await rigAt(REDIS_FIRST);
    const { ferry, records, legacy, clock } = rig;
    await ferry.set("one", session(rig, "never"));
    await descendTo(rung, rig);
    const asked = choosy(rig);
    const began = clock.elapsed();
    expect((await ferry.get("one"))?.value.toString()).toBe("never");
    const items = { read: async (sids: readonly Sid[]) => sids.map(() => null) } as Partial<ItemStore> as ItemStore;
    expect((await gets(ferry.ctx, items, "one"))?.value.toString()).toBe("never");
    await expect(ferry.set("one", session(rig, "never again"))).rejects.toMatchObject({
      code: "OUTCOME_UNKNOWN",
      cause: { message: "The legacy store does not take it." },
    });
    expect(clock.elapsed() - began).toBeLessThan(100);
    expect(asked.mock.calls.length).toBeLessThan(8);
    // What it takes gets through, and what was refused is gone with it.
    await ferry.set("one", session(rig, "small"));
    expect(legacy.peek("one")?.value.toString()).toBe("small");
    expect((await records.dirtyState()).count).toBe(0);
  },
);

test("a session that stays dirty however often it is drained, as for another server of a pool, is changed all the same", async () => {
  const rig = await rigAt(REDIS_FIRST);
  const { ferry, records, clock } = rig;
  await ferry.set("one", session(rig, "ahead"));
  await descendTo("no-fallback", rig);
  vi.spyOn(ferry.ctx.drains, "join").mockResolvedValue("carried");
  const began = clock.elapsed();
  await ferry.set("one", session(rig, "later"));
  expect(clock.elapsed() - began).toBeLessThan(100);
  expect(records.snapshot("one").v?.value.toString()).toBe("later");
});

// Whoever was told that it was not answered in time may have logged out meanwhile.
test("a write that was not answered in time is not begun once its drain is over", async () => {
  const rig = await rigAt(REDIS_FIRST);
  const { ferry, legacy, clock } = rig;
  await ferry.set("one", session(rig, "ahead"));
  await descendTo("no-fallback", rig);
  const late = 0.7 * ferry.ctx.limits.request;
  const slow = new Proxy(legacy, {
    get(_, name) {
      const member = Reflect.get(legacy, name);
      if (typeof member !== "function") return member;
      if (name !== "tokens" && name !== "applyIf") return member.bind(legacy);
      return async (...asked: unknown[]) => {
        await clock.sleep(late);
        return member.apply(legacy, asked);
      };
    },
  });
  const site = new Ferry({ ...ferry.ctx, legacy: slow });
  const writing = site.set("one", session(rig, "of the past"));
  await expect(writing).rejects.toMatchObject({ code: "DEADLINE" });
  await ferry.destroy("one");
  // What went on behind the answer has come to an end.
  await clock.sleep(10 * late);
  expect(ferry.ctx.routing.inFlight).toBe(0);
  expect(legacy.peek("one")).toBeNull();
  expect(await ferry.get("one")).toBeNull();
});
