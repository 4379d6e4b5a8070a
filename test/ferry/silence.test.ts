import { expect, test } from "vitest";
import { MemoryControlStore } from "../../src/control/memory.js";
import { awaitPresence, GRACE, Silence } from "../../src/ferry/silence.js";
import { PROTOCOL_NUMBER } from "../../src/ports/control-store.js";
import { VirtualClock } from "../support/virtual-clock.js";

const LOOK = GRACE / 4;
const PRESENCE = 5_000;

test("a node is silent when it stays so while looks are answered, not when the control store was away", async () => {
  const clock = new VirtualClock();
  const silence = new Silence(clock);
  const look = async (...overdue: string[]) => {
    await clock.advance(LOOK);
    return silence.proven(overdue);
  };
  expect(await look("a", "b")).toEqual([]);
  for (let i = 0; i < 3; i++) expect(await look("a", "b")).toEqual([]);
  expect(await look("a", "b")).toEqual(["a", "b"]);
  // It renewed: its silence begins anew.
  await look("b");
  expect(await look("a", "b")).toEqual(["b"]);
  // A look that failed, or a long time without any: nobody knows what was possible meanwhile.
  silence.interrupted();
  expect(await look("a", "b")).toEqual([]);
  for (let i = 0; i < 3; i++) expect(await look("a", "b")).toEqual([]);
  await clock.advance(GRACE);
  expect(await look("a", "b")).toEqual([]);
});

test("who joins after an outage waits for somebody to renew, and not where nobody is registered", async () => {
  const clock = new VirtualClock();
  const control = new MemoryControlStore({ clock, migration: "test" });
  const position = { phase: "read-through", percent: 100 } as const;
  await control.setup({ position, pending: null, generation: "g", interrupted: false });
  await awaitPresence(control, PRESENCE, clock);

  const about = { role: "app", protocol: PROTOCOL_NUMBER, host: "h", pid: 1, version: "0" } as const;
  await control.join({ id: "old", ...about }, { presence: PRESENCE });
  await clock.advance(PRESENCE + 1);
  const report = { acknowledged: 1, gap: 0, redis: "up", operations: 0, errors: 0, p95: null, endpoints: [] } as const;
  let waited = false;
  const waiting = awaitPresence(control, PRESENCE, clock).then(() => {
    waited = true;
  });
  await clock.advance(GRACE / 2);
  expect(waited).toBe(false);
  await control.renew("old", report, { overdueAfter: PRESENCE });
  await clock.advance(GRACE / 4);
  await waiting;
  expect((await control.join({ id: "new", ...about }, { presence: PRESENCE })).interrupted).toBe(false);

  // Nobody renews: the fleet was away.
  await clock.advance(PRESENCE + 1);
  const patient = awaitPresence(control, PRESENCE, clock);
  await clock.advance(GRACE + 200);
  await patient;
  expect((await control.join({ id: "next", ...about }, { presence: PRESENCE })).interrupted).toBe(true);
});
