import { describe, it } from "vitest";
import { assertProtocol } from "./play.js";

describe("the protocol, in every order the scheduler finds", () => {
  it("keeps both invariants, loses nothing, brings nothing back, and reads linearizably", async () => {
    await assertProtocol({});
  }, 600_000);
});
