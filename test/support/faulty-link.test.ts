import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startMemcached } from "../../src/servers/index.js";
import { parseServers } from "../../src/stores/memcached/server.js";
import { look } from "../../src/stores/memcached/settle.js";
import { ClientPorts, FaultyLink } from "./faulty-link.js";
import { until } from "./processes.js";

/** Answers every piece with itself, and remembers what it was sent. */
let server: Server;
let link: FaultyLink;
let heard = "";
let ended = 0;
const sockets: Socket[] = [];

beforeEach(async () => {
  [heard, ended] = ["", 0];
  server = createServer((socket) => {
    socket.on("data", (bytes) => {
      heard += bytes;
      socket.write(bytes);
    });
    socket.on("error", () => {});
    socket.on("close", () => ended++);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  link = await FaultyLink.open({ host: "127.0.0.1", port: (server.address() as { port: number }).port });
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await link.close();
  server.close();
});

async function client(): Promise<{ socket: Socket; got: () => string; error: () => string }> {
  const socket = connect({ host: "127.0.0.1", port: link.port });
  sockets.push(socket);
  let [text, code] = ["", ""];
  socket.on("data", (bytes) => {
    text += bytes;
  });
  socket.on("error", (error: NodeJS.ErrnoException) => {
    code = error.code ?? "";
  });
  // A reset may come before anybody was told of the connection.
  await new Promise<void>((resolve) => {
    socket.once("connect", () => resolve());
    socket.once("close", () => resolve());
  });
  return { socket, got: () => text, error: () => code };
}

test("passes everything on", async () => {
  const { socket, got } = await client();
  socket.write("hello");
  await until("it is answered", () => got() === "hello");
  socket.end();
  await until("the end arrives", () => ended === 1 && link.connections === 0);
});

test("holds back what is sent over a cut, and delivers it when its sender has gone", async () => {
  const { socket, got } = await client();
  socket.write("one ");
  await until("it is answered", () => got() === "one ");
  link.cut("there");
  socket.write("two ");
  socket.destroy();
  await delay(100);
  expect([heard, ended]).toEqual(["one ", 0]);
  link.heal();
  await until("it arrives, and the end behind it", () => heard === "one two " && ended === 1);
});

test("cut on the way back, hears and does not tell", async () => {
  const { socket, got } = await client();
  link.cut("back");
  socket.write("x");
  await until("it arrives", () => heard === "x");
  await delay(50);
  expect(got()).toBe("");
  link.heal();
  await until("it is told", () => got() === "x");
});

test("resets in the middle of a reply", async () => {
  const { socket, got, error } = await client();
  link.resetInReply();
  socket.write("12345678");
  await until("it is reset", () => error() === "ECONNRESET");
  expect([heard, got()]).toEqual(["12345678", "1234"]);
  const second = await client();
  second.socket.write("9");
  await until("the next one lives", () => second.got() === "9");
});

test("delays, throttles, and refuses", async () => {
  const { socket, got, error } = await client();
  link.delay(150);
  let began = performance.now();
  socket.write("late");
  await until("it is answered", () => got() === "late");
  expect(performance.now() - began).toBeGreaterThan(290);
  link.heal();
  link.throttle(10_000);
  began = performance.now();
  socket.write("s".repeat(2_000));
  await until("all of it is there", () => got().length === 2_004);
  expect(performance.now() - began).toBeGreaterThan(190);
  link.refuse();
  await until("it is reset", () => error() === "ECONNRESET");
  const refused = await client();
  await until("it is refused", () => refused.socket.destroyed);
});

test("all links before one memcached show each other's clients as they are", async () => {
  const memcached = await startMemcached();
  const clients = new ClientPorts();
  const links = [await FaultyLink.open(memcached, { clients }), await FaultyLink.open(memcached, { clients })];
  try {
    const ends = [...links.map(({ port }) => port), memcached.port].map((port) => {
      const socket = connect({ host: "127.0.0.1", port }).on("error", () => {});
      sockets.push(socket);
      return socket;
    });
    // Each has had an answer before the list is asked for, so that memcached knows of it.
    for (const socket of ends) {
      socket.write("version\r\n");
      await once(socket, "data");
    }
    const own = ends.map(({ localPort }) => `127.0.0.1:${localPort}`).sort();
    for (const { port } of links) {
      const [server] = parseServers(`memcached://127.0.0.1:${port}`);
      const { endpoints } = await look(server!, 2_000);
      expect([...endpoints].filter((endpoint) => own.includes(endpoint)).sort()).toEqual(own);
    }
  } finally {
    await Promise.all(links.map((each) => each.close()));
    await memcached.stop();
  }
});
