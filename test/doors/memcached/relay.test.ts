import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { REPLY, RelayReplies, type ReplyKind } from "../../../src/doors/memcached/relay-replies.js";
import { type RunningServer, startMemcached } from "../../../src/servers/index.js";
import { type DoorOver, eventually, openDoorOver, type Talk, Talks, TestRelay } from "./support.js";

let server: RunningServer;
let over: DoorOver;
let relay: TestRelay;
const talks = new Talks();

beforeAll(async () => {
  server = await startMemcached();
});
afterAll(() => server.stop());
beforeEach(async () => {
  relay = new TestRelay(server);
  over = await openDoorOver(server, { relay });
});
afterEach(async () => {
  talks.close();
  await over.close();
});

function client(): Promise<Talk> {
  return talks.to({ port: over.port });
}

/** A client whose commands are relayed: the first takes the usual way while the connection is made. */
async function relayed(): Promise<Talk> {
  const talk = await client();
  for (let tries = 0; relay.begun === 0; tries++) {
    talk.send(`get warm${tries}\r\nmn\r\n`);
    await talk.until((tries + 1) * "END\r\nMN\r\n".length);
  }
  await eventually(() => relay.underWay === 0);
  return talk;
}

describe("a relay", () => {
  test("keeps the order with what the door answers itself", async () => {
    const talk = await relayed();
    talk.send(
      "set s.a 0 0 1\r\n1\r\nversion\r\nget s.a\r\nmn\r\nset s.a 0 0 1 noreply\r\n2\r\nget s.a\r\nnonsense\r\nget s.a x\r\nme x\r\n",
    );
    const text = await talk.until("available through sessionferry\r\n");
    expect(text.slice(text.indexOf("STORED"))).toMatch(
      /^STORED\r\nVERSION \S+\r\nVALUE s.a 0 1\r\n1\r\nEND\r\nMN\r\nVALUE s.a 0 1\r\n2\r\nEND\r\nERROR\r\nVALUE s.a 0 1\r\n2\r\nEND\r\n/,
    );
    await eventually(() => relay.underWay === 0);
  });

  // Another release of memcached may read such a length otherwise, and take what follows for commands.
  test("does not carry a block whose length is written in an unusual way", async () => {
    const talk = await relayed();
    const begun = relay.begun;
    for (const [n, length] of ["+1", "0000000001", "\t1"].entries()) {
      talk.send(`set s.odd 0 0 ${length}\r\n${n}\r\n`);
      await eventually(() => talk.text.split("STORED").length === n + 2);
    }
    expect(relay.begun).toBe(begun);
    talk.send("get s.odd\r\n");
    expect(await talk.until("2\r\nEND\r\n")).toContain("VALUE s.odd 0 1\r\n2\r\n");
    expect(relay.begun).toBe(begun + 1);
  });

  test("counts a command without a reply until it is done", async () => {
    const talk = await relayed();
    await server.pause();
    try {
      talk.send("set s.q 0 0 1 noreply\r\n1\r\n");
      await eventually(() => relay.underWay === 1);
      talk.close();
      await new Promise((resolve) => setTimeout(resolve, 100));
      // The client has gone, its command has not.
      expect(relay.underWay).toBe(1);
    } finally {
      await server.resume();
    }
    await eventually(() => relay.underWay === 0);
    const other = await client();
    other.send("get s.q\r\n");
    expect(await other.until("END\r\n")).toContain("VALUE s.q 0 1\r\n1\r\n");
  });

  test("is left as soon as a route says so, and taken again", async () => {
    const talk = await relayed();
    const before = relay.begun;
    relay.open = false;
    talk.send("set s.r 0 0 1\r\n1\r\nget s.r\r\n");
    await talk.until("VALUE s.r 0 1\r\n1\r\nEND\r\n");
    expect(relay.begun).toBe(before);
    relay.open = true;
    talk.send("set s.r 0 0 1\r\n2\r\nget s.r\r\n");
    await talk.until("VALUE s.r 0 1\r\n2\r\nEND\r\n");
    expect(relay.begun).toBeGreaterThan(before);
  });

  test("that breaks off is told to the client, whose next commands take another way", async () => {
    const talk = await relayed();
    await server.pause();
    const before = talk.bytes.length;
    talk.send("get s.a\r\nset s.a 0 0 1\r\n1\r\nset s.a 0 0 1 noreply\r\n1\r\n");
    await eventually(() => relay.underWay === 1);
    for (const socket of relay.sockets) socket.destroy();
    const lost = "SERVER_ERROR temporary failure OUTCOME_UNKNOWN\r\n".repeat(2);
    await talk.until(before + lost.length);
    expect(talk.text.slice(before)).toBe(lost);
    await server.resume();
    await eventually(() => relay.underWay === 0);
    talk.send("get none\r\n");
    await talk.until(before + lost.length + 5);
    expect(talk.text.slice(before + lost.length)).toBe("END\r\n");
  });

  test("carries large values and many commands to a client that takes its time", async () => {
    const value = "v".repeat(500_000);
    const talk = await relayed();
    const before = talk.bytes.length;
    talk.send(`set s.big 0 0 ${value.length}\r\n${value}\r\n`);
    await talk.until(before + 8);
    talk.socket.pause();
    talk.send("get s.big\r\n".repeat(100));
    await new Promise((resolve) => setTimeout(resolve, 300));
    const written = over.door.counters.bytesWritten;
    expect(written).toBeLessThan(30_000_000);
    talk.socket.resume();
    await talk.until(before + 8 + 100 * (value.length + "VALUE s.big 0 500000\r\n\r\nEND\r\n".length));
    await eventually(() => relay.underWay === 0);
  });

  test("is drained like everything else", async () => {
    const talk = await relayed();
    const before = talk.bytes.length;
    await server.pause();
    talk.send("get none\r\n");
    await eventually(() => relay.underWay === 1);
    const drained = over.door.drain(10_000);
    await server.resume();
    expect((await talk.ended()).slice(before)).toBe("END\r\n");
    await drained;
    expect(relay.underWay).toBe(0);
  });
});

describe("a client that reads none of its replies", () => {
  const VALUE = "v".repeat(60_000);
  const GETS = "get s.big\r\n".repeat(500);

  /** Asks for far more than it will ever take, until nobody listens to it any more. */
  async function clogged(): Promise<Talk> {
    const talk = await relayed();
    const before = talk.bytes.length;
    talk.send(`set s.big 0 0 ${VALUE.length}\r\n${VALUE}\r\n`);
    await talk.until(before + "STORED\r\n".length);
    talk.socket.pause();
    // 3 GB of replies, and more bytes of requests than any buffer on the way holds.
    for (let n = 0; n < 100; n++) talk.send(GETS);
    let written = 0;
    for (let still = 0; still < 20; still++) {
      await new Promise((resolve) => setTimeout(resolve, 25));
      if (over.door.counters.bytesWritten !== written) still = 0;
      written = over.door.counters.bytesWritten;
    }
    return talk;
  }

  test("costs little memory, and nobody else their time", async () => {
    const memory = () => process.memoryUsage().arrayBuffers;
    const before = memory();
    const talk = await clogged();
    // Of 3 GB no more is asked for than fits the sockets' buffers, ours and the system's.
    expect(memory() - before).toBeLessThan(64_000_000);
    const read = over.door.counters.bytesRead;
    expect(read).toBeLessThan(100 * GETS.length);
    const other = await client();
    for (let n = 1; n <= 50; n++) {
      other.send("get s.big\r\n");
      await other.until(n * (VALUE.length + "VALUE s.big 0 60000\r\n\r\nEND\r\n".length));
    }
    expect(over.door.counters.connectionsCut).toBe(0);
    talk.close();
    // What it had asked for is answered to nobody, and its connection serves the next.
    await eventually(() => relay.underWay === 0);
  });

  test("is hung up on by and by", async () => {
    await over.close();
    over = await openDoorOver(server, { relay, limits: { stall: 1_000 } });
    const talk = await clogged();
    await eventually(() => over.door.counters.connectionsCut === 1);
    talk.socket.resume();
    await talk.ended();
    await eventually(() => relay.underWay === 0);
  });

  test("does not hold up a fleet that leaves legacy", async () => {
    const talk = await clogged();
    expect(relay.underWay).toBeGreaterThan(0);
    relay.open = false;
    await eventually(() => relay.underWay === 0);
    talk.socket.resume();
    await talk.ended();
  });
});

test("where replies end is found in any cuts", () => {
  const reply = fc.oneof(
    fc
      .constantFrom("STORED", "END", "ERROR", "SERVER_ERROR out of memory", "12")
      .map((line): [ReplyKind, string] => [REPLY.line, `${line}\r\n`]),
    fc
      .array(fc.constantFrom("", "END\r\n", "VALUE a 0 5\r\n", "\r\n", "x".repeat(30)), { maxLength: 3 })
      .map((values): [ReplyKind, string] => [
        REPLY.values,
        `${values.map((value, n) => `VALUE k${n} 7 ${value.length}${n % 2 ? " 99" : ""}\r\n${value}\r\n`).join("")}END\r\n`,
      ]),
    fc.constant<[ReplyKind, string]>([REPLY.values, "CLIENT_ERROR bad command line format\r\n"]),
    fc.constant<[ReplyKind, string]>([REPLY.mark, "MN\r\n"]),
  );
  fc.assert(
    fc.property(fc.array(reply, { minLength: 1, maxLength: 8 }), fc.array(fc.nat(200)), (said, places) => {
      const replies = new RelayReplies();
      for (const [kind] of said) replies.expect(kind);
      const bytes = Buffer.from(said.map(([, text]) => text).join(""));
      const at = [...new Set(places)].filter((n) => n > 0 && n < bytes.length).sort((a, b) => a - b);
      let got = "";
      for (const [n, from] of [0, ...at].entries()) {
        expect(replies.take(bytes.subarray(from, at[n] ?? bytes.length), (part) => (got += part.toString()))).toBe(
          true,
        );
      }
      expect(got).toBe(said.map(([kind, text]) => (kind === REPLY.mark ? "" : text)).join(""));
      expect(replies.answered).toBe(said.length);
      expect(replies.waiting).toBe(0);
      expect(replies.within).toBe(false);
    }),
  );
});
