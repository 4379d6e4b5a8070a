import fc from "fast-check";
import { expect, test } from "vitest";
import type { ParserContext } from "../../../src/doors/memcached/commands.js";
import { RelayCommands } from "../../../src/doors/memcached/relay-commands.js";
import { REPLY, type ReplyKind } from "../../../src/doors/memcached/relay-replies.js";
import { TextParser } from "../../../src/doors/memcached/text-parser.js";

const ITEM_SIZE = 400;

interface Found {
  readonly from: number;
  readonly to: number;
  /** Undefined where the command must not reach memcached as it is. */
  readonly relay: ReplyKind | undefined;
}

/** What the parser finds in this chunk, none of which is passed on before it looks; and where it comes to its end. */
function parsed(chunk: Buffer, tokens: boolean): { found: Found[]; rest: number } {
  const found: Found[] = [];
  let rest = 0;
  const context: ParserContext = {
    now: () => 0,
    itemSize: ITEM_SIZE,
    tokens,
    admit: () => true,
    accounts: false,
    authenticated: true,
    authenticate: () => true,
    full: false,
    take(command, _from, to) {
      const relay = command.kind === "read" || command.kind === "change" ? command.relay : undefined;
      // The parser tells no beginning of what it dropped; it is where the one before ended.
      found.push({ from: rest, to, relay });
      if (to >= 0) rest = to;
    },
    pass: (_chunk, from) => from,
  };
  const parser = new TextParser(context);
  parser.push(chunk, 0);
  return { found, rest };
}

/** Mostly what clients send, and now and then what they should not. */
const mostly = (good: string[], other: string[]) =>
  fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...good) }, fc.constantFrom(...other));
const key = mostly(
  ["k", "memc.sess.key.1", "ü", "noreply", "k".repeat(250)],
  ["k".repeat(251), "a\tb", "a\0b", "\x7f", ""],
);
const number = mostly(
  ["0", "5", "07", "999999999"],
  ["-1", "+3", "4294967295", "18446744073709551615", "9".repeat(30), "x", ""],
);
const ending = mostly(["\r\n", " noreply\r\n"], ["\n", " \r\n", " noreplY\r\n"]);
const blank = mostly([" "], ["  ", "\t", ""]);
const sized = fc.tuple(
  fc.constantFrom("set", "add", "replace", "append", "prepend", "cas", "SET", "sets"),
  ...[key, number, number, blank, ending],
  fc.oneof({ weight: 4, arbitrary: fc.nat(30) }, fc.constantFrom(290, 340, 400)),
  mostly(["\r\n"], ["\n", "x\r\n", ""]),
);
const command = fc.oneof(
  sized.map(([name, key, flags, time, blank, ending, length, end]) => {
    const words = [name, key, flags, time, String(length), ...(name === "cas" ? ["77"] : [])];
    return `${words.join(" ").replace(" ", blank)}${ending}${"v".repeat(length)}${end}`;
  }),
  fc
    .tuple(fc.constantFrom("get", "gets", "gat", "bget"), fc.array(key, { maxLength: 30 }), blank, ending)
    .map(([name, keys, blank, ending]) => `${name} ${keys.join(" ")}`.replace(/ (?=[^ ]*$)/, blank) + ending),
  fc
    .tuple(fc.constantFrom("incr", "decr", "touch", "delete"), key, fc.option(number), ending)
    .map(([name, key, by, ending]) => `${name} ${key}${by === null ? "" : ` ${by}`}${ending}`),
  fc.constantFrom("mn\r\n", "mg k v\r\n", "version\r\n", "\r\n", "get\r\n", "get \r\n", "gibberish\r\n"),
);

/** Commands of many forms, good and bad, cut off anywhere. */
const chunks = fc
  .tuple(fc.array(command, { minLength: 1, maxLength: 6 }), fc.nat(40))
  .map(([commands, cut]) => Buffer.from(commands.join(""), "latin1").subarray(0, -cut || undefined));

test("whatever is found is what the parser finds, and passes on", () => {
  let passed = 0;
  let left = 0;
  fc.assert(
    fc.property(chunks, fc.boolean(), (chunk, tokens) => {
      const commands = new RelayCommands(ITEM_SIZE, tokens);
      const { found, rest } = parsed(chunk, tokens);
      for (const { from, to, relay } of found) {
        const end = commands.end(chunk, from);
        if (end < 0) left++;
        else {
          passed++;
          // What a block follows goes this way or none, so the parser has no word on its reply.
          expect({ to: end, relay: commands.reply }).toEqual({ to, relay: relay ?? commands.reply });
        }
      }
      // What is not whole is nothing yet.
      if (rest < chunk.length) expect(commands.end(chunk, rest)).toBe(-1);
    }),
    { numRuns: 2_000 },
  );
  expect(passed).toBeGreaterThan(500);
  expect(left).toBeGreaterThan(500);
});

test.each([
  ["get a\r\n", REPLY.values],
  ["get a b c\r\n", REPLY.values],
  ["set a 0 1440 1\r\nx\r\n", REPLY.line],
  ["set a 0 1440 0 noreply\r\n\r\n", REPLY.none],
  ["cas a 0 0 1 12345678901234\r\nx\r\n", REPLY.line],
  ["incr a 1\r\n", REPLY.line],
  ["touch a 60\r\n", REPLY.line],
  ["delete a\r\n", REPLY.line],
  ["delete a noreply\r\n", REPLY.none],
])("%j is found", (text, reply) => {
  const commands = new RelayCommands(ITEM_SIZE, true);
  expect(commands.end(Buffer.from(`xx${text}get more\r\n`), 2)).toBe(2 + text.length);
  expect(commands.reply).toBe(reply);
  for (let cut = 0; cut < text.length; cut++) {
    expect(commands.end(Buffer.from(text.slice(0, cut)), 0)).toBe(-1);
  }
});
