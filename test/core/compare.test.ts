import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type CompareRules, classify, type Look, type RecordFace } from "../../src/core/compare.js";
import { NEVER, type Session } from "../../src/core/session.js";

const NOW = 1_700_000_000_000;
const rules = (over: Partial<CompareRules> = {}): CompareRules => ({
  authority: "L",
  lossy: false,
  tolerance: 1000,
  flags: false,
  destroyed: false,
  ...over,
});
const session = (value: string, expiresAt = NOW + 60_000): Session => ({
  value: Buffer.from(value),
  flags: 0,
  expiresAt,
});
const face = (of: Session | null, mark: RecordFace["mark"] = "none", state = ""): RecordFace => ({
  session: of,
  mark,
  state,
});
/** A look at a record that stood still. */
const still = (legacy: Session | null, redis: Session | null): Look => ({
  legacy,
  before: face(redis),
  after: face(redis),
  now: NOW,
});
const classOf = (look: Look, over: Partial<CompareRules> = {}) => {
  const sight = classify(look, rules(over));
  return sight.kind === "difference" ? sight.class : sight.kind;
};

describe("the table of classes", () => {
  const a = session('{"a":1}');
  const b = session('{"a":2}');
  const R = { authority: "R" } as const;
  test.each([
    ["missing", a, null, {}],
    ["resurrected", null, a, {}],
    ["extra", null, a, { lossy: true }],
    ["resurrected", null, a, { lossy: true, destroyed: true }],
    ["mismatched", a, b, {}],
    ["expiry", a, session('{"a":1}', NOW + 62_000), {}],
    ["mismatched", a, { ...a, flags: 2 }, { flags: true }],
    ["equal", a, { ...a, flags: 2 }, {}],
    ["equal", a, a, { flags: true }],
    ["equal", a, a, {}],
    ["gone", null, null, {}],
    ["behind", null, a, R],
    ["behind", null, a, { ...R, lossy: true }],
    ["leftover", a, null, R],
    ["mismatched", a, b, R],
    ["expiry", a, session('{"a":1}', NOW + 58_000), R],
  ] as const)("%s", (expected, legacy, redis, over) => {
    expect(classOf(still(legacy, redis), over)).toBe(expected);
  });
});

describe("expiries", () => {
  const sessionAt = (expiresAt: number) => session("{}", expiresAt);
  test("within the tolerance they are equal, on both sides", () => {
    for (const offset of [-1000, -1, 1, 1000]) {
      expect(classOf(still(sessionAt(NOW + 60_000), sessionAt(NOW + 60_000 + offset)))).toBe("equal");
    }
    for (const offset of [-1001, 1001]) {
      expect(classOf(still(sessionAt(NOW + 60_000), sessionAt(NOW + 60_000 + offset)))).toBe("expiry");
    }
  });
  test("the sign tells who dies first", () => {
    const sight = classify(still(sessionAt(NOW + 60_000), sessionAt(NOW + 65_000)), rules());
    expect(sight).toMatchObject({ class: "expiry", later: 5000 });
  });
  test("a session without an end is equal to itself only", () => {
    expect(classOf(still(sessionAt(NEVER), sessionAt(NEVER)))).toBe("equal");
    expect(classOf(still(sessionAt(NEVER), sessionAt(NOW + 60_000)))).toBe("expiry");
    expect(classOf(still(sessionAt(NOW + 60_000), sessionAt(NEVER)))).toBe("expiry");
  });
  test("what is about to die in the one store may be dead in the other already", () => {
    expect(classOf(still(sessionAt(NOW + 900), null))).toBe("gone");
    expect(classOf(still(null, sessionAt(NOW + 900)))).toBe("gone");
    expect(classOf(still(sessionAt(NOW + 1100), null))).toBe("missing");
  });
});

describe("no false alarms", () => {
  const a = session("a");
  const b = session("b");
  test("a difference is unproven until R was looked at again", () => {
    expect(classOf({ legacy: a, before: face(b), now: NOW })).toBe("unproven");
    expect(classOf({ legacy: a, before: face(a), now: NOW })).toBe("equal");
  });
  test.each([
    ["marked before", face(b, "intents", "I1"), face(b)],
    ["marked after", face(b), face(b, "dirty", "D1")],
    ["another value after", face(b), face(session("c"))],
    ["another expiry after", face(b), face(session("b", NOW + 99_000))],
    ["gone after", face(b), face(null)],
    ["come after", face(null), face(b)],
  ])("unsettled: %s", (_, before, after) => {
    expect(classOf({ legacy: a, before, after, now: NOW })).toBe("unsettled");
  });
  test("a lease is no mark", () => {
    const before = face(null, "lease", "Lx");
    expect(classOf({ legacy: a, before, after: face(null), now: NOW })).toBe("missing");
  });

  const sessions = fc.option(
    fc.record({
      value: fc.constantFrom("a", "b", "{}").map((text) => Buffer.from(text)),
      flags: fc.constant(0),
      expiresAt: fc.integer({ min: NOW - 2000, max: NOW + 9000 }),
    }),
  );
  const marks = fc.constantFrom("none" as const, "intents" as const, "dirty" as const, "lease" as const);
  const faces = fc.record({ session: sessions, mark: marks, state: fc.constant("") });
  const anyRules = fc.record({
    authority: fc.constantFrom("L" as const, "R" as const),
    lossy: fc.boolean(),
    tolerance: fc.constantFrom(0, 1000, 2000),
    flags: fc.boolean(),
    destroyed: fc.boolean(),
  });

  test("property: only an unmarked record that stood still is ever called different", () => {
    fc.assert(
      fc.property(sessions, faces, fc.option(faces, { nil: undefined }), anyRules, (legacy, before, after, given) => {
        const sight = classify({ legacy, before, now: NOW, ...(after ? { after } : {}) }, given);
        if (sight.kind !== "difference") return;
        const marked = (one: RecordFace) => one.mark === "intents" || one.mark === "dirty";
        expect(after).toBeDefined();
        expect(marked(before) || marked(after!)).toBe(false);
        expect(before.session?.value.toString()).toBe(after!.session?.value.toString());
      }),
    );
  });
  test("property: the classes of one authority never appear under the other, and equal never differs", () => {
    fc.assert(
      fc.property(sessions, sessions, anyRules, (legacy, redis, given) => {
        const found = classOf(still(legacy, redis), given);
        const foreign = given.authority === "L" ? ["behind", "leftover"] : ["missing", "extra", "resurrected"];
        expect(foreign).not.toContain(found);
        if (legacy !== null && redis !== null && found === "equal") {
          expect(legacy.value.equals(redis.value)).toBe(true);
          expect(Math.abs(legacy.expiresAt - redis.expiresAt)).toBeLessThanOrEqual(given.tolerance);
        }
        // A session compared with itself is never a difference.
        expect(["equal", "gone"]).toContain(classOf(still(legacy, legacy), given));
      }),
    );
  });
});
