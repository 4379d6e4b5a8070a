import fc from "fast-check";
import { describe, it } from "vitest";
import { assertProtocol, outage, polling, RUNS, redisOutage, redisRestart } from "./play.js";

describe("the protocol, with a Redis that restarts with older data and a fleet that stands still", () => {
  it("keeps what it keeps without, and trusts Redis again in the end", async () => {
    const starts = [
      { phase: "redis-first", percent: 10 },
      { phase: "redis-first", percent: 50 },
      { phase: "redis-first", percent: 100 },
      { phase: "read-through", percent: 100 },
    ] as const;
    const trouble = fc.oneof(redisRestart, redisRestart, outage, polling, redisOutage);
    await assertProtocol({ starts, trouble }, Math.ceil(RUNS / 5));
  }, 600_000);

  // A climb into redis-first had begun, L had acknowledged a write, and R came back with what it held before that.
  it("never believes a Redis that restarted before it was written first", async () => {
    await assertProtocol(
      {
        starts: [{ phase: "redis-first", percent: 10 }],
        moves: ["down", "up"],
        actions: [
          { do: "save" },
          { do: "set", node: 0, sid: 0 },
          { do: "restart", after: 5 },
          { do: "get", node: 1, sid: 0, after: 7 },
        ],
        linger: 0,
        lag: 0,
      },
      Math.ceil(RUNS / 20),
    );
  }, 600_000);

  // A session was dirty, and drained; on the way down L acknowledged another write, and R came back dirty as it was.
  it("does not drain what a Redis that restarted on the way down held before it", async () => {
    await assertProtocol(
      {
        starts: [{ phase: "redis-first", percent: 10 }],
        moves: ["down"],
        actions: [
          { do: "set", node: 0, sid: 0 },
          { do: "save" },
          { do: "drain", node: 0 },
          { do: "set", node: 0, sid: 0, after: 2 },
          { do: "restart", after: 2 },
          { do: "get", node: 1, sid: 0, after: 4 },
        ],
        linger: 0,
        lag: 0,
      },
      RUNS,
    );
  }, 600_000);
});
