import { expect, test, vi } from "vitest";
import { Refused, shownRefusals } from "../../src/ferry/refused.js";
import { LegacyRefused, LegacyUnreachable, OutcomeUnknown } from "../../src/ports/legacy-store.js";
import { rigAt, sessionOf } from "../support/rig.js";
import { VirtualClock } from "../support/virtual-clock.js";

test("what the legacy store never takes is told by cause, without a session id, until it is heard of no more", () => {
  const clock = new VirtualClock();
  const refused = new Refused(clock);
  const digest = (sid: string) => `d${sid.length}`;
  refused.note("one", "VALUE_TOO_LARGE");
  clock.advance(5_000);
  refused.note("three", "VALUE_TOO_LARGE");
  refused.note("one", "VALUE_TOO_LARGE");
  refused.note("eleven", "LEGACY_REFUSED");
  const now = 1_000_000;
  const told = refused.told(now, digest);
  expect(told).toEqual([
    { code: "VALUE_TOO_LARGE", count: 2, since: now - 5_000, sessions: ["d3", "d5"] },
    { code: "LEGACY_REFUSED", count: 1, since: now, sessions: ["d6"] },
  ]);
  expect(shownRefusals(told)).toBe(
    "2 with VALUE_TOO_LARGE since 1970-01-01T00:16:35.000Z (d3, d5); 1 with LEGACY_REFUSED since 1970-01-01T00:16:40.000Z (d6)",
  );
  clock.advance(10_000);
  refused.note("eleven", "LEGACY_REFUSED");
  clock.advance(6_000);
  expect(refused.told(now, digest).map(({ code }) => code)).toEqual(["LEGACY_REFUSED"]);
});

test("a change that the legacy store refuses leaves Redis what it had: nothing was changed", async () => {
  const { ferry, legacy, records, clock } = await rigAt({ phase: "read-through", percent: 100 });
  const session = sessionOf(1, clock.now() + 60_000);
  await ferry.set("one", session);
  const refusal = new LegacyRefused("no", "23514");
  for (const verb of ["set", "touch", "destroy"] as const) vi.spyOn(legacy, verb).mockRejectedValueOnce(refusal);
  await expect(ferry.set("one", sessionOf(2, clock.now() + 60_000))).rejects.toMatchObject({ code: "LEGACY_REFUSED" });
  await expect(ferry.touch("one", clock.now() + 90_000)).rejects.toMatchObject({ code: "LEGACY_REFUSED" });
  await expect(ferry.destroy("one")).rejects.toMatchObject({ code: "LEGACY_REFUSED" });
  expect(records.snapshot("one")).toMatchObject({ v: session, intents: [] });
  // An error of another kind says nothing of what the legacy store holds.
  vi.spyOn(legacy, "set").mockRejectedValueOnce(new OutcomeUnknown("no answer", Promise.resolve()));
  await expect(ferry.set("one", session)).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN" });
  await vi.waitFor(() => expect(records.snapshot("one")).toMatchObject({ v: null, intents: [] }));
});

// Those who clicked while it was down were logged out, and those who did not were not.
test("a memcached that comes back empty has logged out nobody, whatever was asked while it was down", async () => {
  const { ferry, legacy, records, clock } = await rigAt({ phase: "read-through", percent: 100 }, { lossy: true });
  const session = sessionOf(1, clock.now() + 60_000);
  const verbs = {
    set: (sid: string) => ferry.set(sid, sessionOf(2, clock.now() + 60_000)),
    touch: (sid: string) => ferry.touch(sid, clock.now() + 90_000),
    destroy: (sid: string) => ferry.destroy(sid),
  };
  for (const [sid, perform] of Object.entries(verbs)) {
    await ferry.set(sid, session);
    vi.spyOn(legacy, sid as keyof typeof verbs).mockRejectedValueOnce(new LegacyUnreachable("down"));
    await expect(perform(sid)).rejects.toMatchObject({ code: "LEGACY_UNREACHABLE" });
    await legacy.destroy(sid);
    expect(records.snapshot(sid).intents).toEqual([]);
    expect(await ferry.get(sid)).toEqual(session);
  }
});
