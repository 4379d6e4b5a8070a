import { describe, expect, it } from "vitest";
import { newToken } from "../../src/core/ids.js";
import type { ControlRecord, NodeInfo } from "../../src/ports/control-store.js";
import { startRedis } from "../../src/servers/index.js";
import { type CleanupState, planCleanup, runCleanup } from "../../src/workflow/cleanup.js";
import { later } from "../contract/redis-records.js";
import { openRecords, plainClient } from "../stores/redis-support.js";

const COMPLETE: CleanupState = {
  record: { position: { phase: "complete", percent: 100 }, pending: null } as ControlRecord,
  seal: { state: "complete" },
  serving: [],
};

describe("flags and tokens after complete", () => {
  it("stay while a proxy serves clients that know them", () => {
    const running = (role: NodeInfo["role"]): CleanupState => ({ ...COMPLETE, serving: [{ role } as NodeInfo] });
    expect(planCleanup(running("proxy"), true)).not.toContain("remove-items");
    expect(planCleanup(running("app"), true)).toContain("remove-items");
    expect(planCleanup(COMPLETE, true)).toContain("remove-items");
    expect(planCleanup(COMPLETE, false)).not.toContain("remove-items");
  });

  it("go without the values, and without those of other migrations", async () => {
    const server = await startRedis();
    const plain = plainClient(server.url);
    const records = await openRecords(server.url, { items: { flags: 0 } });
    try {
      records.generation = "g";
      await records.arm("g", "complete");
      await plain.set("sf:other:i:sess:a", "x");
      const sids = ["a", "b", "c"];
      const token = newToken();
      for (const [flags, sid] of sids.entries()) {
        const session = { ...later(`value of ${sid}`), flags };
        expect(await records.performAlone(sid, { verb: "set", session, newToken: token })).toMatchObject({ token });
      }
      expect((await plain.keys("sf:shop:i:*")).length).toBe(3);
      await runCleanup(["remove-items"], { destroy: async () => {} } as never, records);
      expect((await plain.keys("sf:*")).sort()).toEqual(["sf:other:i:sess:a", "sf:shop:seal"]);
      for (const sid of sids) {
        expect(await records.readAlone(sid)).toMatchObject({ value: Buffer.from(`value of ${sid}`), flags: 0 });
        const late = await records.performAlone(sid, { verb: "cas", session: later("late"), token });
        expect(late).toEqual({ result: "changed" });
      }
    } finally {
      await records.end();
      plain.disconnect();
      await server.stop();
    }
  });
});
