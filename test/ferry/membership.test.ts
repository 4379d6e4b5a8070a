import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { MemoryControlStore } from "../../src/control/memory.js";
import { Membership } from "../../src/ferry/membership.js";
import { ControlUnreachable, NotSetUp, PROTOCOL_NUMBER } from "../../src/ports/control-store.js";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test("a connection of a migration that is complete needs no control store, until then it does", async () => {
  const control = new MemoryControlStore({ clock: { now: () => 0 } });
  const position = { phase: "full-redis", percent: 100 } as const;
  await control.setup({ position, pending: null, generation: "g", interrupted: false });
  const registration = { id: "n", role: "app", protocol: PROTOCOL_NUMBER, host: "h", pid: 1, version: "0" } as const;
  const membership = await Membership.join(control, registration, { presence: 1, overdueAfter: 1 }, () => {});
  const renewal = vi.spyOn(control, "renew");
  const connect = () => membership.fence({ store: "redis", endpoint: null });
  renewal.mockRejectedValueOnce(new ControlUnreachable("away"));
  await expect(connect()).rejects.toThrow("away");
  const record = await control.read();
  await control.compareAndSet(record.revision, { ...record, position: { phase: "complete", percent: 100 } });
  await membership.renew();
  renewal.mockRejectedValue(new NotSetUp());
  await connect();
});

test("an endpoint is told while a connection from it may still be under way, and no longer", async () => {
  const control = new MemoryControlStore({ clock: { now: () => 0 } });
  const position = { phase: "dual-write", percent: 100 } as const;
  await control.setup({ position, pending: null, generation: "g", interrupted: false });
  const registration = { id: "n", role: "app", protocol: PROTOCOL_NUMBER, host: "h", pid: 1, version: "0" } as const;
  const membership = await Membership.join(control, registration, { presence: 1, overdueAfter: 1 }, () => {});
  const endpoints = async () => {
    await membership.renew();
    return (await control.nodes())[0]!.report.endpoints;
  };
  const connect = async (endpoint: string) => {
    let close = () => {};
    const closed = new Promise<void>((resolve) => {
      close = resolve;
    });
    await membership.fence({ store: "legacy", endpoint, closed });
    return close;
  };

  const first = await connect("127.0.0.1:1");
  await connect("127.0.0.1:2");
  first();
  await vi.advanceTimersByTimeAsync(59_000);
  expect(await endpoints()).toEqual(["127.0.0.1:1", "127.0.0.1:2"]);
  // The port came again before the old connection was forgotten.
  const again = await connect("127.0.0.1:1");
  await vi.advanceTimersByTimeAsync(2_000);
  expect(await endpoints()).toEqual(["127.0.0.1:1", "127.0.0.1:2"]);
  again();
  await vi.advanceTimersByTimeAsync(61_000);
  expect(await endpoints()).toEqual(["127.0.0.1:2"]);
});
