import { PassThrough, Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { scrub, toFailure, traceOf } from "../../src/cli/failure.js";
import { Output } from "../../src/cli/output.js";
import { confirm } from "../../src/cli/run.js";
import { PLAIN, paintFor, span, table } from "../../src/cli/terminal.js";
import { loadConfig } from "../../src/config.js";
import { CATALOGUE, FerryError } from "../../src/errors.js";
import { ControlUnreachable, NotSetUp } from "../../src/ports/control-store.js";
import { LegacyRefused, LegacyUnreachable } from "../../src/ports/legacy-store.js";
import { RedisLost, RedisUnreachable } from "../../src/ports/redis-records.js";

const config = loadConfig({
  env: {},
  config: {
    migration: "shop",
    legacy: { preset: "connect-pg-simple", url: "postgres://app:geheim%21pg@db/shop" },
    redis: { url: "redis://:geheim-redis@cache:6379" },
  },
});

describe("failures", () => {
  it.each([
    [new LegacyUnreachable("x"), "LEGACY_UNREACHABLE", 5],
    [new RedisUnreachable("x", false), "REDIS_UNREACHABLE", 5],
    [new RedisUnreachable("x", true), "REDIS_UNREACHABLE", 5],
    [new RedisLost("x"), "REDIS_LOST", 3],
    [new ControlUnreachable("x"), "CONTROL_UNREACHABLE", 5],
    [new FerryError("CONTROL_REFUSED", "x"), "CONTROL_REFUSED", 5],
    [new NotSetUp("x"), "NOT_SET_UP", 3],
    [new LegacyRefused("42501: permission denied for table session", "42501"), "LEGACY_REFUSED", 5],
    [new DOMException("stop", "AbortError"), "INTERRUPTED", 130],
    [new TypeError("x is not a function"), "UNEXPECTED", 1],
    ["a text that was thrown", "UNEXPECTED", 1],
  ])("%s is %s", (error, code, exit) => {
    const failure = toFailure(error, config);
    expect({ code: failure.code, exit: failure.exit }).toEqual({ code, exit });
  });

  it("names the store, without its password", () => {
    expect(toFailure(new LegacyUnreachable("x"), config).message).toContain("postgres://app:***@db/shop");
  });

  it("keeps passwords and what looks like an id out of texts and traces", () => {
    const sid = "kNAd4fWJJdLkBz1HhE9vKtBqMYbTY7Pa";
    const cause = new Error(`ERR unknown command, with args beginning with: 'sess:${sid}'\nsecond line ${sid}`);
    const error = new TypeError(`no ${sid} for geheim!pg or geheim%21pg or geheim-redis`, { cause });
    const failure = toFailure(error, config);
    for (const text of [failure.message, traceOf(failure, config)]) {
      for (const secret of [sid, "geheim"]) expect(text).not.toContain(secret);
    }
    expect(failure.message.split("\n")).toHaveLength(1);
    expect(traceOf(failure, config)).toContain("failure.test");
    expect(scrub("a geheim-redis b", ["geheim-redis"])).toBe("a *** b");
  });

  it("keeps an error of the catalogue as it is", () => {
    const known = new FerryError("GATE_REFUSED", "no", { changed: "something", next: "sessionferry check" });
    expect(toFailure(known, config).toJSON()).toEqual(known.toJSON());
  });

  it("has an exit code within the contract for every error", () => {
    for (const { exit, remedy } of Object.values(CATALOGUE)) {
      expect([1, 2, 3, 4, 5, 6, 7, 130]).toContain(exit);
      expect(remedy).not.toBe("");
    }
  });
});

describe("output", () => {
  const collect = (stream: PassThrough) => {
    const chunks: string[] = [];
    stream.on("data", (chunk) => chunks.push(String(chunk)));
    return () => chunks.join("");
  };

  it("prints an error as people and as scripts want it", async () => {
    for (const json of [false, true]) {
      const [stdout, stderr] = [new PassThrough(), new PassThrough()];
      const [out, err] = [collect(stdout), collect(stderr)];
      const output = new Output({ stdout, stderr }, json, { noColor: false, dumb: false });
      output.failure(new FerryError("HELD", "somebody else", { next: "sessionferry status" }));
      await output.flush();
      if (json) expect(JSON.parse(out())).toMatchObject({ error: { code: "HELD", next: "sessionferry status" } });
      else expect(err()).toContain("error HELD: somebody else\n  What to do: ");
      expect(json ? err() : out()).toBe("");
    }
  });

  it("colours a terminal alone, and not where NO_COLOR is set", () => {
    const terminal = Object.assign(new PassThrough(), { isTTY: true });
    const coloured = paintFor(terminal, { noColor: false, dumb: false });
    expect(coloured("red", "x")).toBe("\u001b[31mx\u001b[39m");
    expect(paintFor(terminal, { noColor: true, dumb: false })).toBe(PLAIN);
    expect(paintFor(terminal, { noColor: false, dumb: true })).toBe(PLAIN);
    expect(paintFor(new PassThrough(), { noColor: false, dumb: false })).toBe(PLAIN);
    // Columns stay aligned whatever their colours are.
    expect(
      table([
        [coloured("red", "ab"), "c"],
        ["abc", "d"],
      ]),
    ).toBe(`${coloured("red", "ab")}   c\nabc  d`);
  });

  it.each([
    [0, "0 ms"],
    [999, "999 ms"],
    [60_000, "1 min"],
    [250_000, "4 min 10 s"],
    [90_061_000, "1 d 1 h"],
  ])("tells %i milliseconds as %s", (milliseconds, text) => expect(span(milliseconds)).toBe(text));

  it("goes on when its reader is gone", async () => {
    const stdout = new PassThrough();
    const stderr = new PassThrough();
    const output = new Output({ stdout, stderr }, false, { noColor: true, dumb: false });
    let gone = 0;
    output.onGone = () => gone++;
    stdout.destroy(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
    await new Promise((resolve) => setTimeout(resolve, 20));
    output.line({}, "nobody reads this");
    await output.flush();
    expect(gone).toBe(1);
  });
});

it("asks on a terminal, and takes y for an answer", async () => {
  const ask = async (answer: string) => {
    const stdin = Object.assign(new Readable({ read() {} }), { isTTY: true });
    const stderr = Object.assign(new PassThrough(), { isTTY: true, columns: 80 });
    const stdout = new PassThrough();
    stderr.on("data", (chunk) => {
      if (String(chunk).includes("[y/N]")) stdin.push(`${answer}\n`);
    });
    const signal = new AbortController().signal;
    return confirm(
      { text: "Go on?", yes: false },
      { argv: [], stdin, stdout, stderr, signal, stop() {}, version: "0" },
    ).then(
      () => "yes",
      (error: FerryError) => error.code,
    );
  };
  expect(await ask("y")).toBe("yes");
  expect(await ask("Yes")).toBe("yes");
  expect(await ask("")).toBe("QUESTION_UNANSWERED");
  expect(await ask("no")).toBe("QUESTION_UNANSWERED");
});
