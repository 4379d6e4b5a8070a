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
});
