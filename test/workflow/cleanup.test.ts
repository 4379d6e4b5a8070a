import { describe, expect, it, vi } from "vitest";
import { newToken } from "../../src/core/ids.js";
import { type ControlRecord, type NodeInfo, PROTOCOL_NUMBER } from "../../src/ports/control-store.js";
import { startRedis } from "../../src/servers/index.js";
import { type CleanupState, cleanupState, planCleanup, runCleanup } from "../../src/workflow/cleanup.js";
import { later } from "../contract/redis-records.js";
import { openRecords, plainClient } from "../stores/redis-support.js";
import { type Rig, rigAt } from "../support/rig.js";

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
      const control = { destroy: async () => {}, lock: async () => true, unlock: async () => {} };
      await runCleanup(async () => ["remove-items"], control as never, records);
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

describe("a cleanup in legacy", () => {
  const planned = async ({ control, records }: Rig) => planCleanup(await cleanupState(control, records, 10_000), false);

  it("waits for no other command, and lets none begin", async () => {
    const rig = await rigAt({ phase: "legacy", percent: 100 });
    const cleanup = () => runCleanup(() => planned(rig), rig.control, rig.records);
    await rig.control.lock("phase", "somebody", 60_000);
    await expect(cleanup()).rejects.toMatchObject({ code: "HELD" });
    await rig.control.unlock("phase", "somebody");
    const drop = vi.spyOn(rig.records, "drop").mockImplementationOnce(async () => {
      expect(await rig.control.lock("phase", "somebody", 60_000)).toBe(false);
      return 0;
    });
    await cleanup();
    expect(drop).toHaveBeenCalledOnce();
    expect((await cleanupState(rig.control, rig.records, 10_000)).record).toBeNull();
  });

  it("takes the record from under no application that has started meanwhile", async () => {
    const rig = await rigAt({ phase: "legacy", percent: 100 });
    vi.spyOn(rig.records, "drop").mockImplementationOnce(async () => {
      const registration = { role: "app", protocol: PROTOCOL_NUMBER, host: "h", pid: 1, version: "0" } as const;
      await rig.control.join({ ...registration, id: "started0" }, { presence: 10_000 });
      return 0;
    });
    await expect(runCleanup(() => planned(rig), rig.control, rig.records)).rejects.toMatchObject({
      code: "GUARD_REFUSED",
    });
    expect(await rig.records.seal()).not.toBeNull();
    expect(await rig.control.lock("phase", "somebody", 60_000)).toBe(true);
  });
});
