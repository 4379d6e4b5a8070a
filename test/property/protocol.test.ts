import fc from "fast-check";
import { describe, it } from "vitest";
import { play, script } from "./play.js";

const RUNS = Number(process.env.PROPERTY_RUNS ?? 2_000);

describe("the protocol, in every order the scheduler finds", () => {
  it("keeps both invariants, loses nothing, brings nothing back, and reads linearizably", async () => {
    await fc.assert(
      fc.asyncProperty(script(), fc.scheduler(), async (scenario, scheduler) => {
        await play(scenario, scheduler);
      }),
      { numRuns: RUNS },
    );
  }, 600_000);
});
