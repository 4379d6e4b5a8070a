import { expect, test } from "vitest";
import { lastVoiding, voidEvidence } from "../../src/ferry/void.js";
import type { ControlStore } from "../../src/ports/control-store.js";
import { rigAt } from "../support/rig.js";

const DUAL = { phase: "dual-write", percent: 100 } as const;

test("a process that was frozen while it voided evidence takes no later word back", async () => {
  const { control, clock } = await rigAt(DUAL);
  let wake = () => {};
  const frozen = new Promise<void>((resolve) => {
    wake = resolve;
  });
  const slow = new Proxy(control as ControlStore, {
    get(_, name) {
      if (name !== "putDocument") return Reflect.get(control, name).bind(control);
      return async (...put: Parameters<ControlStore["putDocument"]>) => {
        await frozen;
        return control.putDocument(...put);
      };
    },
  });
  const first = voidEvidence(slow, "a node was lost", "first");
  await clock.sleep(5_000);
  await voidEvidence(control, "another was lost", "second");
  const second = await lastVoiding(control);
  expect(second).toMatchObject({ by: "second" });
  wake();
  await first;
  expect(await lastVoiding(control)).toEqual(second);
});

test("of many voidings the last one stands, and few are kept", async () => {
  const { control, clock } = await rigAt(DUAL);
  expect(await lastVoiding(control)).toBeNull();
  for (let n = 0; n < 50; n++) {
    await clock.sleep(10);
    await voidEvidence(control, `reason ${n}`, "test");
  }
  expect(await lastVoiding(control)).toMatchObject({ why: "reason 49" });
  expect((await control.listDocuments("evidence-void", 100)).length).toBeLessThanOrEqual(20);
});
