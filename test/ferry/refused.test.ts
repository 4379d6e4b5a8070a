import { expect, test } from "vitest";
import { Refused, shownRefusals } from "../../src/ferry/refused.js";
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
