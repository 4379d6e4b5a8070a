import { expect, test } from "vitest";
import { MemoryControlStore } from "../../src/control/memory.js";
import type { Position } from "../../src/core/phase.js";
import { tellArrival } from "../../src/workflow/ledger.js";

test("a position that was settled by somebody who could not tell so any more is told by the next one, once", async () => {
  const control = new MemoryControlStore({ clock: { now: () => 0 } });
  const at = async (position: Position) => {
    const record = { pending: null, generation: "g", interrupted: false, position };
    await control.setup(record);
    const { revision } = await control.read();
    return (await control.compareAndSet(revision, record))!;
  };
  const told = async () => (await control.ledger(10)).map(({ action, detail }) => [action, detail.position]);
  const legacy = { phase: "legacy", percent: 100 } as const;
  const dual = { phase: "dual-write", percent: 100 } as const;
  await tellArrival(control, await at(legacy), "one");
  expect(await told()).toEqual([]);
  for (const by of ["one", "another"]) await tellArrival(control, await at(dual), by);
  expect(await told()).toEqual([["settled", dual]]);
  await control.append({ by: "node", action: "demote", detail: {} });
  for (const by of ["one", "another"]) await tellArrival(control, await at(dual), by);
  expect(await told()).toEqual([
    ["settled", dual],
    ["demote", undefined],
    ["settled", dual],
  ]);
});
