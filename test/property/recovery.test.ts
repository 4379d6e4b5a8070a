import fc from "fast-check";
import { describe, it } from "vitest";
import { type Action, assertProtocol, type Bounds, outage, polling, RUNS, redisOutage, redisRestart } from "./play.js";

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

  // A session was dirty, and drained; on the way down L acknowledged another write, and R came back dirty as it was: as it
  // was before that way, or saved it in the midst of it.
  it.each([0, 1, 2, 3])(
    "does not drain what a Redis that restarted on the way down held %i changes before",
    (after) => {
      const actions: Action[] = [
        { do: "set", node: 0, sid: 0, after },
        { do: "save", after },
        { do: "drain", node: 0 },
        { do: "set", node: 0, sid: 0, after: 3 },
        { do: "restart", after: 3 },
        { do: "get", node: 1, sid: 0, after: 5 },
      ];
      return assertProtocol(
        { starts: [{ phase: "redis-first", percent: 10 }], moves: ["down"], actions, linger: 0, lag: 0 },
        Math.ceil(RUNS / 2),
      );
    },
    600_000,
  );

  // What a node has written to R and not to L yet, or has died over, nobody was told when R comes back without it.
  it("tells nobody what goes with a Redis that restarts in write-through", async () => {
    const actions: Action[] = [
      { do: "save", after: 3 },
      { do: "set", node: 0, sid: 0, after: 3 },
      { do: "get", node: 1, sid: 0, after: 3 },
      { do: "crash", node: 0 },
      { do: "restart", after: 3 },
      { do: "get", node: 2, sid: 0, after: 3, jitter: 10 },
    ];
    const bounds: Bounds = { actions, linger: 0, lag: 0 };
    const up: Bounds = { ...bounds, starts: [{ phase: "read-through", percent: 100 }], moves: ["up"] };
    await assertProtocol(up, Math.ceil(RUNS / 2));
    const down: Bounds = { ...bounds, starts: [{ phase: "redis-first", percent: 10 }], moves: ["down"] };
    await assertProtocol(down, Math.ceil(RUNS / 10));
  }, 600_000);
});
