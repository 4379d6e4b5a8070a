import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FerryError } from "../../src/errors.js";
import { EventLog, errorFields, Log } from "../../src/observe/index.js";
import { RedisUnreachable } from "../../src/ports/redis-records.js";

const SECRET = "sid-secret";

let lines: string[];
let log: Log;

beforeEach(() => {
  vi.useFakeTimers({ now: Date.UTC(2025, 10, 22) });
  lines = [];
  log = new Log({ write: (line) => lines.push(line), every: 10_000, fields: { node: "node0001" } });
});
afterEach(() => {
  log.close();
  vi.useRealTimers();
});

describe("Log", () => {
  it("writes one line of pairs, quoted where needed", () => {
    log.info("took new routes", { phase: "dual-write", text: 'two\n"words"', none: null, p95: 1.5, empty: "" });
    expect(lines).toEqual([
      'time=2025-11-22T00:00:00.000Z level=info msg="took new routes" phase=dual-write text="two\\n\\"words\\"" none=null p95=1.5 empty="" node=node0001\n',
    ]);
  });

  it("does not flood in an outage, and tells how often it was silent", () => {
    let asked = 0;
    const fields = (n: number) => () => {
      asked++;
      return { n };
    };
    for (let n = 0; n < 1000; n++) log.limited("warn", "Redis failed", fields(n));
    log.limited("warn", "something else", fields(-1));
    expect(lines).toHaveLength(2);
    expect(lines[0]).toContain("n=0 ");
    vi.advanceTimersByTime(10_000);
    expect(lines).toHaveLength(3);
    expect(lines[2]).toContain('msg="Redis failed" n=999 repeated=999 ');
    expect(asked).toBe(3);
    log.limited("warn", "Redis failed", fields(1000));
    expect(lines).toHaveLength(3);
    vi.advanceTimersByTime(10_000);
    expect(lines[3]).toContain("n=1000 repeated=1 ");
    vi.advanceTimersByTime(20_000);
    expect(lines).toHaveLength(4);
    log.limited("warn", "Redis failed", fields(1001));
    expect(lines[4]).toContain("n=1001 node");
    expect(vi.getTimerCount()).toBe(1);
  });

  it("writes what it held back when it is closed", () => {
    for (let n = 0; n < 3; n++) log.limited("warn", "Redis failed", () => ({ n }));
    log.close();
    expect(lines).toHaveLength(2);
    expect(lines[1]).toContain("n=2 repeated=2 ");
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("errorFields", () => {
  it("tells the text of our own errors", () => {
    expect(errorFields(new FerryError("DEADLINE", "Redis did not answer"))).toEqual({
      error: "FerryError",
      code: "DEADLINE",
      reason: "Redis did not answer",
    });
    expect(errorFields(new RedisUnreachable("Redis is away", false))).toEqual({
      error: "RedisUnreachable",
      reason: "Redis is away",
    });
  });

  it("tells only name, code and place of any other", () => {
    const parse = () => JSON.parse(`${SECRET} is no JSON`);
    let failure: unknown;
    try {
      parse();
    } catch (error) {
      failure = error;
    }
    const foreign = Object.assign(new Error(`ERR ${SECRET}`), { code: "EPIPE", command: { args: [SECRET] } });
    for (const [error, expected] of [
      [failure, { error: "SyntaxError" }],
      [foreign, { error: "Error", code: "EPIPE" }],
      [SECRET, { error: "string" }],
      [Object.assign(new Error(SECRET), { stack: undefined }), { error: "Error" }],
    ] as const) {
      const fields = errorFields(error);
      expect(fields).toMatchObject(expected);
      expect(JSON.stringify(fields)).not.toContain(SECRET);
    }
    expect(errorFields(foreign).at).toMatch(/^log\.test\.ts:\d+:\d+$/);
  });

  it("is not fooled by a text that looks like a place", () => {
    const odd = new Error(`first\n    at ${SECRET} (file:///x/${SECRET}.js:1:2)`);
    expect(JSON.stringify(errorFields(odd))).not.toContain(SECRET);
    odd.message = "another text than that on the stack";
    expect(errorFields(odd)).toEqual({ error: "Error" });
  });
});

describe("EventLog", () => {
  it("tells what people should know of, and nothing of single requests", () => {
    const events = new EventLog(log);
    events.event({ type: "operation", verb: "get", milliseconds: 1, result: "error" });
    events.event({ type: "read-through", result: "hit" });
    events.event({ type: "drained", count: 1, refused: 0 });
    events.event({ type: "acknowledged", revision: 3 });
    events.event({ type: "swept", count: 0 });
    events.event({ type: "gap", size: 0 });
    expect(lines).toEqual([]);
    events.event({ type: "redis", state: "lost" });
    events.event({ type: "redis", state: "up" });
    events.event({ type: "control", state: "down" });
    events.event({ type: "routes", revision: 4, phase: "dual-write", percent: 10 });
    events.event({ type: "gap", size: 3 });
    events.event({ type: "swept", count: 2 });
    events.event({ type: "evicted" });
    for (let i = 0; i < 50; i++) {
      events.event({ type: "mirror-failure", failedOn: "redis", verb: "close", error: new Error(SECRET) });
      events.event({ type: "background-error", task: "drain", error: new Error(SECRET) });
    }
    expect(lines.map((line) => /level=(\w+) msg=("[^"]*"|\S+)/.exec(line)?.slice(1).join(" "))).toEqual([
      'warn "Redis is lost"',
      'info "Redis is up"',
      'warn "the control store is down"',
      'info "took new routes"',
      'warn "writes go to the legacy store alone"',
      'info "closed intents of nodes that are gone"',
      'error "this process was taken for dead and fenced off"',
      'warn "mirroring failed on redis"',
      'error "drain failed"',
    ]);
    log.close();
    expect(lines.join("")).not.toContain(SECRET);
  });
});
