import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { at, BusySite, DEADLINE } from "./busy-site.js";
import { processPackage } from "./processes.js";

const own = { folder: "", remove: () => {} };
beforeAll(() => Object.assign(own, processPackage()));
afterAll(() => own.remove());

let busy: BusySite;
afterEach(() => busy?.close());

/** Longer than a node may be silent before the others take it for dead. */
const OUTAGE = DEADLINE + 6_500;

describe("the control store", () => {
  test("away for longer than a node may be silent: nobody takes anybody for dead when it is back", async () => {
    busy = await BusySite.open(own.folder, at("dual-write"), { control: "postgres", members: 3 });
    const before = await busy.nodes();
    await busy.suffer(
      async () => {
        await busy.site.control.kill();
        return () => busy.site.control.restart();
      },
      OUTAGE,
      {},
    );
    await delay(2_000);
    expect((await busy.ledger()).filter(({ action }) => action === "evict" || action === "void")).toEqual([]);
    expect(await busy.nodes()).toEqual(before);
    await busy.rest();
    busy.expectOnly([]);
  });
});
