import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parse, wantsJson } from "../../src/cli/parse.js";
import { VERBS } from "../../src/cli/verbs.js";
import { FerryError } from "../../src/errors.js";
import { assertNoSecret, SECRETS } from "./judge.js";
import { PATIENCE, runs } from "./runs.js";

const verbs = VERBS.flatMap(({ name, verbs: inner = [] }) => [[name], ...inner.map((verb) => [name, verb.name])]);
const OPTIONS = [
  "--config",
  "--json",
  "--verbose",
  "--legacy-url",
  "--redis-url",
  "--yes",
  "--to",
  "--percent",
  "--timeout",
  "--force",
  "--reason",
  "--dry-run",
  "--rate",
  "--sample",
  "--watch",
  "--ids-from",
  "--report",
  "--help",
  "--version",
  "--no-json",
  "--no-yes",
  "-h",
  "--",
  "-",
];
/** As express-session makes them: they may begin with a hyphen, and with two. */
const sid = fc.constantFrom(
  SECRETS.sid,
  `-${SECRETS.sid}`,
  `--${SECRETS.sid}`,
  `s%3A${SECRETS.sid}.x=`,
  `--${SECRETS.sid}=1`,
  `-x${SECRETS.sid}`,
);
const value = fc.oneof(
  fc.constantFrom(
    "legacy",
    "dual-write",
    "100",
    "0",
    "-1",
    "5s",
    "1e99",
    "NaN",
    "",
    "=",
    "true",
    "x".repeat(5_000),
    "\0",
    "\n",
    "constructor",
    "__proto__",
  ),
  fc.string({ maxLength: 10 }),
);
const option = fc.oneof(
  fc.constantFrom(...OPTIONS),
  fc.tuple(fc.constantFrom(...OPTIONS), value).map(([name, given]) => `${name}=${given}`),
  fc
    .tuple(fc.constantFrom(...OPTIONS), fc.constantFrom("x", "__proto__", "constructor", "toString", "0"))
    .map(([name, key]) => `${name}.${key}`),
  fc.constantFrom(
    "--__proto__",
    "--__proto__.polluted=1",
    "--constructor.prototype.polluted=1",
    "--toString",
    "--_",
    "--$0",
    "--hasOwnProperty=1",
  ),
);
const line = fc
  .tuple(
    fc.oneof(fc.constantFrom(...verbs), fc.array(value, { maxLength: 2 })),
    fc.array(fc.oneof(option, value, { weight: 1, arbitrary: sid }), { maxLength: 5 }),
  )
  .map(([verb, rest]) => [...verb, ...rest]);

async function read(argv: readonly string[]): Promise<void> {
  wantsJson(argv);
  try {
    await parse(argv, "1.2.3");
  } catch (error) {
    if (!(error instanceof FerryError) || error.code !== "USAGE") throw error;
    assertNoSecret(`${error.message} ${JSON.stringify(error)}`);
    expect(error.message.length).toBeLessThan(2_000);
  }
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
}

describe("command lines, any", () => {
  it("are taken apart, or refused without a word that may be a session id", { timeout: PATIENCE }, async () => {
    await fc.assert(fc.asyncProperty(line, read), { ...runs(150), examples: [[["phase", "show", SECRETS.sid]]] });
  });
});
