import { describe, it } from "vitest";
import { assertProtocol } from "./play.js";

describe("the protocol, with everybody at one session", () => {
  it("keeps what it keeps for many, where every operation meets another", async () => {
    await assertProtocol({ sids: 1 });
  }, 600_000);
});
