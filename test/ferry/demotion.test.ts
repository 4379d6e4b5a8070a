import { expect, test } from "vitest";
import { demote } from "../../src/ferry/recovery.js";
import { loadPhases } from "../../src/phases.js";
import { type NodeReport, PROTOCOL_NUMBER } from "../../src/ports/control-store.js";
import { rigAt } from "../support/rig.js";

/** A fleet in read-through whose processes say this of Redis. */
async function fleetOf(...redis: NodeReport["redis"][]) {
  const { control, records } = await rigAt({ phase: "read-through", percent: 100 });
  const { revision } = await control.read();
  const report = { acknowledged: revision, drained: revision, gap: 0, operations: 0, errors: 0, p95: null };
  for (const [i, said] of redis.entries()) {
    const registration = { role: "app", protocol: PROTOCOL_NUMBER, host: "h", pid: i, version: "0" } as const;
    await control.join({ ...registration, id: `process${i}` }, { presence: 5_000 });
    await control.renew(`process${i}`, { ...report, redis: said, endpoints: [] }, { overdueAfter: 5_000 });
  }
  return { control, steerage: { control, records, phases: loadPhases(), by: "process0" } };
}

test.each([
  [["down", "unused", "unused"], true],
  [["up", "unused", "unused"], false],
  [["unused", "unused"], false],
  [["down", "up", "unused"], false],
  [["down", "up", "up"], false],
  [["down", "down", "up", "unused"], true],
  [["down", "lost", "up"], true],
  [["down", "down", "unused"], true],
] as const)("of processes to which Redis is %j, the fleet leaves it behind: %s", async (said, left) => {
  const { control, steerage } = await fleetOf(...said);
  expect(await demote(steerage)).toBe(left);
  const record = await control.read();
  expect(record.pending?.oneWay ?? false).toBe(left);
});
