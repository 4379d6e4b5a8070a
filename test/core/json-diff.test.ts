import { randomBytes, randomUUID } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareValues, looksLikeData } from "../../src/core/json-diff.js";

const compare = (left: string, right: string) => compareValues(Buffer.from(left), Buffer.from(right));
const paths = (left: unknown, right: unknown) => {
  const answer = compare(JSON.stringify(left), JSON.stringify(right));
  return answer.equal ? null : answer.paths;
};

describe("equal values", () => {
  test.each([
    ["the same bytes, JSON or not", "\u0001a", "\u0001a"],
    ["another order of keys", '{"a":1,"b":[1,2]}', '{"b":[1,2],"a":1}'],
    ["other white space", '{"a": 1}', '{"a":1}'],
    ["another spelling of a string", '"\\u0061"', '"a"'],
    ["another spelling of a number", "[1.0,1e2,1E+21,-0]", "[1,100,1000000000000000000000,0]"],
  ])("%s", (_, left, right) => {
    expect(compare(left, right)).toEqual({ equal: true });
  });
  test.each([
    ["digits beyond a double", "9007199254740993", "9007199254740992"],
    ["text that is no JSON", "a", "b"],
    ["a byte order mark", "\ufeff1", "1"],
    ["a list and an object", "[]", "{}"],
    ["null and nothing", '{"a":null}', "{}"],
  ])("not equal: %s", (_, left, right) => {
    expect(compare(left, right).equal).toBe(false);
  });
  test("bytes that are no text are not replaced by others", () => {
    expect(compareValues(Buffer.from([0x22, 0xff, 0x22]), Buffer.from([0x22, 0xfe, 0x22]))).toEqual({
      equal: false,
      paths: [],
    });
  });
  test("a key named after the prototype is a key", () => {
    expect(compare('{"__proto__":{"a":1}}', '{"__proto__":{"a":2}}').equal).toBe(false);
    expect(compare('{"__proto__":{}}', "{}").equal).toBe(false);
  });
  test("deep nesting does not end the process", () => {
    const deep = (inner: string) => "[".repeat(50_000) + inner + "]".repeat(50_000);
    expect(compare(deep("1"), deep("2")).equal).toBe(false);
  });
  test("property: JSON equals itself with its keys in any order", () => {
    const shuffled = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(shuffled);
      if (typeof value !== "object" || value === null) return value;
      return Object.fromEntries(
        Object.entries(value)
          .reverse()
          .map(([key, inner]) => [key, shuffled(inner)]),
      );
    };
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(compare(JSON.stringify(value), JSON.stringify(shuffled(value))).equal).toBe(true);
      }),
    );
  });
  test("property: values of different meaning are never equal", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (left, right) => {
        const same = canonical(left) === canonical(right);
        expect(compare(JSON.stringify(left), JSON.stringify(right)).equal).toBe(same);
      }),
    );
  });
});

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

describe("paths", () => {
  test("tell where, with indexes and data replaced", () => {
    expect(paths({ cart: [{ count: 1 }], user: 1 }, { cart: [{ count: 2 }], user: 1 })).toEqual(["cart.*.count"]);
    expect(paths({ a: 1 }, { b: 1 })).toEqual(["a", "b"]);
    expect(paths(1, 2)).toEqual(["*"]);
    expect(paths({ carts: { "max@example.org": 1 } }, { carts: {} })).toEqual(["carts.*"]);
  });
  test("the keys of a table with many rows are data, however they look", () => {
    const rows = Object.fromEntries(Array.from({ length: 70 }, (_, i) => [`name${"abcdefghij"[i % 10]}${i}`, i]));
    expect(paths({ rows }, { rows: { ...rows, nameanna: 1 } })).toEqual(["rows.*"]);
  });
  test("are few", () => {
    const many = Object.fromEntries([..."abcdefghijklmnopqrstuvwxyz"].map((letter) => [`field_${letter}`, 1]));
    expect(paths(many, {})!.length).toBeLessThanOrEqual(12);
  });
});

describe("what looks like data", () => {
  test.each(["cookie", "originalMaxAge", "passport", "user_id", "csrfToken", "address2", "isHTTPOnly", "returnTo"])(
    "no: %s",
    (key) => expect(looksLikeData(key)).toBe(false),
  );
  test.each(["", "42", "max@example.org", "+49 30 1234", "deadbeef", "Anna Example", "a/b", "über", "x".repeat(20)])(
    "yes: %s",
    (key) => expect(looksLikeData(key)).toBe(true),
  );
  test("uuids, numbers, hashes and tokens always do", () => {
    for (let i = 0; i < 500; i++) {
      expect(looksLikeData(randomUUID())).toBe(true);
      expect(looksLikeData(String(Math.floor(Math.random() * 1e9)))).toBe(true);
      expect(looksLikeData(randomBytes(10).toString("hex"))).toBe(true);
      expect(looksLikeData(randomBytes(24).toString("base64url"))).toBe(true);
    }
  });
});
