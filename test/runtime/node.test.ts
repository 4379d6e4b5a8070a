import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { noteDirty, notedDirty } from "../../src/ferry/drainer.js";
import { Metrics } from "../../src/observe/index.js";
import { SILENT } from "../../src/ports/observer.js";
import { LiveFerry } from "../../src/runtime/live-ferry.js";
import { FerryNode } from "../../src/runtime/node.js";
import { Site } from "../integration/site.js";

describe("a node", () => {
  let site: Site;
  beforeAll(async () => {
    site = await Site.open({ legacy: "memcached", control: "redis" });
  });
  afterAll(async () => site.close());

  it("refuses a control record older than one this process has followed, and leaves it as it is", async () => {
    const node = await FerryNode.open(site.config, { role: "app" });
    try {
      const { revision } = await node.control.read();
      const again = FerryNode.open(site.config, { role: "app", notBelow: revision + 1 });
      await expect(again).rejects.toMatchObject({ code: "REVISION_WENT_BACK" });
      expect((await node.control.read()).revision).toBe(revision);
      const equal = await FerryNode.open(site.config, { role: "app", notBelow: revision });
      await equal.close();
    } finally {
      await node.close();
    }
  });

  it("tells the phase before anything has changed", async () => {
    const metrics = new Metrics();
    const node = await FerryNode.open(site.config, { role: "app", metrics });
    await node.close();
    expect(metrics.render()).toContain('sessionferry_phase{phase="legacy"} 1');
    expect(metrics.render()).toMatch(/^sessionferry_acknowledged_revision \d+$/m);
  });

  it("that was fenced off, and joins again while its process closes, leaves nothing behind", async () => {
    const live = await LiveFerry.open(site.config, SILENT);
    const watch = await FerryNode.open(site.config, { role: "job" });
    try {
      await watch.control.evict(live.node!.id);
      while (live.joined) await new Promise((resolve) => setTimeout(resolve, 1));
      await live.close();
      const left = (await watch.control.nodes()).filter(({ id, state }) => state === "live" && id !== watch.id);
      expect(left).toEqual([]);
    } finally {
      await watch.close();
      await live.close();
    }
  });

  it("leaves the count of what is dirty where it outlives Redis", async () => {
    const node = await FerryNode.open(site.config, { role: "job" });
    try {
      expect(await notedDirty(node.control)).toBeNull();
      await node.records.open("a", node.ctx.ids.next(), "R", null, node.ctx.ids.next());
      await noteDirty(node.records, node.control);
      expect(await notedDirty(node.control)).toMatchObject({ count: 1 });
    } finally {
      await node.close();
    }
  });
});
