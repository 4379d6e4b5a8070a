import { expect, test } from "vitest";
import { newToken } from "../../src/core/ids.js";
import { TOKEN_OF_REDIS } from "../../src/ports/items.js";

test("Redis' tokens are none of memcached's, and fit a signed number and 19 digits", () => {
  const tokens = Array.from({ length: 2_000 }, newToken);
  expect(new Set(tokens).size).toBe(tokens.length);
  for (const token of tokens) {
    expect(token >= TOKEN_OF_REDIS).toBe(true);
    expect(BigInt.asIntN(64, token)).toBe(token);
    expect(String(token)).toHaveLength(19);
  }
});
