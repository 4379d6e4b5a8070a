/** What a relay passes on as it came is counted all the same. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { DoorEvent } from "../../../src/doors/memcached/options.js";
import { Metrics } from "../../../src/observe/metrics.js";
import { type RunningServer, startMemcached } from "../../../src/servers/index.js";
import { type DoorOver, eventually, openDoorOver, type Talk, Talks, TestRelay } from "./support.js";

let server: RunningServer;
let over: DoorOver;
let relay: TestRelay;
const events: DoorEvent[] = [];
const talks = new Talks();

beforeAll(async () => {
  // So little memory that a value of its own item size finds no room.
  server = await startMemcached({ args: ["-m", "8", "-M", "-I", "1m"] });
});
afterAll(() => server.stop());
afterEach(async () => {
  talks.close();
  await over.close();
});

async function relayed(): Promise<Talk> {
  relay = new TestRelay(server);
  events.length = 0;
  over = await openDoorOver(server, { relay, hooks: { event: (event) => events.push(event) } });
  const talk = await talks.to({ port: over.port });
  for (let tries = 0; relay.begun === 0; tries++) {
    talk.send(`get warm${tries}\r\nmn\r\n`);
    await talk.until((tries + 1) * "END\r\nMN\r\n".length);
  }
  await eventually(() => relay.counted.length > 0);
  relay.counted.length = 0;
  return talk;
}

const sum = (what: "commands" | "errors") => relay.counted.reduce((total, each) => total + each[what], 0);

test("commands by the packet, with how long they took", async () => {
  const talk = await relayed();
  const before = over.door.counters.commands;
  talk.send("set s.a 0 0 1\r\n1\r\nget s.a\r\nset s.a 0 0 1 noreply\r\n2\r\n");
  await talk.until("VALUE s.a 0 1\r\n1\r\nEND\r\n");
  talk.send("get s.a\r\n");
  await talk.until("VALUE s.a 0 1\r\n2\r\nEND\r\n");
  await eventually(() => sum("commands") === 4);
  expect(sum("errors")).toBe(0);
  for (const { milliseconds } of relay.counted) expect(milliseconds).toBeGreaterThan(0);
  expect(over.door.counters.commands - before).toBe(4);
  expect(over.door.counters.failures).toBe(0);
});

test("what memcached fails to do, as a failure", async () => {
  const talk = await relayed();
  const value = "v".repeat(30_000);
  let sent = 0;
  for (; !talk.text.includes("SERVER_ERROR out of memory") && sent < 2_000; sent++) {
    const before = talk.bytes.length;
    talk.send(`set s.${sent} 0 0 ${value.length}\r\n${value}\r\n`);
    await talk.until(before + 8);
  }
  await eventually(() => sum("errors") === 1);
  expect(sum("commands")).toBeGreaterThan(sent / 2);
  expect(over.door.counters.failures).toBe(1);
  const failures = events.filter(({ type }) => type === "door-failure");
  expect(failures).toMatchObject([{ verb: "relayed", error: { code: "SERVER_ERROR" } }]);
});

test("what is left when the connection breaks off, as failures without a duration", async () => {
  const talk = await relayed();
  await server.pause();
  try {
    talk.send("get s.a\r\nset s.a 0 0 1\r\n1\r\n");
    await eventually(() => relay.underWay === 1);
    for (const socket of relay.sockets) socket.destroy();
    await eventually(() => relay.counted.length > 0);
    expect(relay.counted).toEqual([{ commands: 2, errors: 2, milliseconds: null }]);
    expect(over.door.counters.failures).toBe(2);
  } finally {
    await server.resume();
  }
});

test("what a client did not take in time tells nothing of memcached", async () => {
  const talk = await relayed();
  const value = "v".repeat(60_000);
  const before = talk.bytes.length;
  talk.send(`set s.big 0 0 ${value.length}\r\n${value}\r\n`);
  await talk.until(before + "STORED\r\n".length);
  talk.socket.pause();
  talk.send("get s.big\r\n".repeat(500));
  await eventually(() => relay.underWay > 0);
  await new Promise((resolve) => setTimeout(resolve, 300));
  talk.socket.resume();
  await eventually(() => relay.underWay === 0 && sum("commands") >= 500);
  expect(relay.counted.at(-1)?.milliseconds).toBeNull();
  expect(sum("errors")).toBe(0);
});

test("the figures of a node and its metrics have them", () => {
  const metrics = new Metrics(() => 0);
  metrics.event({ type: "relayed", commands: 99, errors: 0, milliseconds: 2 });
  metrics.event({ type: "relayed", commands: 1, errors: 1, milliseconds: null });
  const text = metrics.render();
  expect(text).toContain('sessionferry_operations_total{verb="relayed",store="legacy",result="ok"} 99\n');
  expect(text).toContain('sessionferry_operations_total{verb="relayed",store="legacy",result="error"} 1\n');
  expect(text).toContain('sessionferry_operation_duration_seconds_count{verb="relayed",store="legacy"} 99\n');
  const { operations, errors, p95 } = metrics.figures();
  expect({ operations, errors }).toEqual({ operations: 100, errors: 1 });
  expect(p95).toBeGreaterThan(1.8);
  expect(p95).toBeLessThan(2.2);
});
