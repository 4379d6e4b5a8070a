import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Door, type DoorEvent, type DoorOptions, openDoor } from "../../../src/doors/memcached/server.js";
import { FerryError } from "../../../src/errors.js";
import { LegacyUnreachable } from "../../../src/ports/legacy-store.js";
import { packet } from "./binary-packets.js";
import { HeldItems, itemOf } from "./held-items.js";
import { eventually, keyspace, portOf, Talk, Talks } from "./support.js";

let items: HeldItems;
let bypass: HeldItems;
let door: Door;
const talks = new Talks();
let events: DoorEvent[];

beforeEach(() => {
  items = new HeldItems();
  bypass = new HeldItems();
  events = [];
});
afterEach(async () => {
  talks.close();
  await door.close();
});

async function open(options: Partial<DoorOptions> = {}): Promise<void> {
  door = await openDoor({
    items,
    bypass,
    keyspace,
    listeners: [{ listen: "127.0.0.1:0" }],
    hooks: { event: (event) => events.push(event) },
    ...options,
  });
}

function client(where: { port: number } | { path: string } = { port: portOf(door) }): Promise<Talk> {
  return talks.to(where);
}

/** Waits until the figure has stood still for a while. */
async function settled(figure: () => number): Promise<number> {
  let last = -1;
  for (let still = 0; still < 20; ) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    still = figure() === last ? still + 1 : 0;
    last = figure();
  }
  return last;
}

describe("in order", () => {
  test("neighbouring reads are one request, and a write parts them", async () => {
    items.found = (sid) => itemOf(sid);
    await open();
    const talk = await client();
    talk.send("get s.a s.b\r\nget s.c\r\nset s.d 0 0 1\r\nx\r\nget s.e\r\ngets s.f\r\ngets s.g\r\nget x\r\nmn\r\n");
    const text = await talk.until("MN\r\n");
    expect(items.asked).toMatchObject([
      { kind: "read", sids: ["a", "b", "c"], token: false },
      { kind: "perform", sid: "d" },
      { kind: "read", sids: ["e"], token: false },
      { kind: "read", sids: ["f", "g"], token: true },
    ]);
    expect(bypass.asked).toMatchObject([{ kind: "read", sids: ["x"] }]);
    expect(text).toBe(
      "VALUE s.a 0 1\r\na\r\nVALUE s.b 0 1\r\nb\r\nEND\r\nVALUE s.c 0 1\r\nc\r\nEND\r\nSTORED\r\nVALUE s.e 0 1\r\ne\r\nEND\r\n" +
        "VALUE s.f 0 1 7\r\nf\r\nEND\r\nVALUE s.g 0 1 7\r\ng\r\nEND\r\nEND\r\nMN\r\n",
    );
  });

  test("nothing is begun before what came first has been answered", async () => {
    await open();
    items.hold();
    const talk = await client();
    talk.send("add s.a 0 0 1\r\n1\r\nset s.b 0 0 1\r\n2\r\nget s.a\r\n");
    await eventually(() => items.asked.length > 0);
    expect(await settled(() => items.asked.length)).toBe(1);
    items.release();
    await talk.until("END\r\n");
    expect(items.asked.map((asked) => ("sid" in asked ? asked.sid : asked.kind))).toEqual(["a", "b", "read"]);
  });

  test("sets of different keys are begun together, and nothing that might give back a lock before they are stored", async () => {
    await open();
    items.hold();
    items.result = (sid) => {
      if (sid === "b") throw new FerryError("DEADLINE", "late");
      return { result: "done", token: 0n, item: null };
    };
    const talk = await client();
    const put = (key: string, more = "") => `set ${key} 0 0 1${more}\r\n1\r\n`;
    talk.send(
      `${put("s.a")}${put("s.b")}${put("s.c", " noreply")}${put("s.d")}delete s.lock\r\n` +
        `${put("s.e")}${put("s.f")}${put("s.e")}${put("s.g").replace("0 0 1", "0 -1 1")}${put("x")}${put("y")}mn\r\n`,
    );
    const begun = async (count: number) => {
      await eventually(() => items.asked.length + bypass.asked.length >= count);
      expect(await settled(() => items.asked.length + bypass.asked.length)).toBe(count);
    };
    await begun(4);
    items.release();
    expect(await talk.until("MN\r\n")).toBe(
      `STORED\r\nSERVER_ERROR temporary failure DEADLINE\r\nSTORED\r\nDELETED\r\n${"STORED\r\n".repeat(6)}MN\r\n`,
    );
    const asked = (of: HeldItems) => of.asked.map((each) => (each.kind === "perform" ? each.sid : each.kind));
    expect(asked(items)).toEqual(["a", "b", "c", "d", "lock", "e", "f", "e", "g"]);
    expect(asked(bypass)).toEqual(["x", "y"]);

    items.hold();
    talk.send(`${put("s.e")}${put("s.f")}${put("s.e")}`);
    await begun(13);
    items.release();
    await eventually(() => items.asked.length === 12);
    const quiet = await client();
    items.hold();
    const setq = (key: string) =>
      packet({ opcode: 0x11, key, extras: Buffer.alloc(8), value: "1", opaque: key.charCodeAt(2) });
    quiet.send(Buffer.concat([..."abc"].map((key) => setq(`s.${key}`)).concat(packet({ opcode: 0x0a }))));
    await begun(17);
    items.release();
    await quiet.until(72);
    // The one that failed, and what ends the packet.
    expect(quiet.bytes[1]).toBe(0x11);
    expect(quiet.bytes.readUInt32BE(12)).toBe("b".charCodeAt(0));
    expect(quiet.bytes.at(-23)).toBe(0x0a);
  });

  test("one command may ask for sessions and for others", async () => {
    items.found = (sid) => itemOf(`session ${sid}`);
    bypass.found = (key) => itemOf(`other ${key}`);
    await open();
    const talk = await client();
    talk.send("get x s.a y s.b \xff\r\n");
    expect(await talk.until("END\r\n")).toBe(
      "VALUE x 0 7\r\nother x\r\nVALUE s.a 0 9\r\nsession a\r\nVALUE y 0 7\r\nother y\r\nVALUE s.b 0 9\r\nsession b\r\n" +
        "VALUE \xff 0 8\r\nother \xc3\xbf\r\nEND\r\n",
    );
  });
});

describe("failures", () => {
  const SECRET = "0123456789abcdef";
  const failures: [unknown, string, number][] = [
    [new FerryError("DEADLINE", SECRET), "SERVER_ERROR temporary failure DEADLINE", 0x86],
    [new FerryError("REDIS_UNREACHABLE", SECRET), "SERVER_ERROR temporary failure REDIS_UNREACHABLE", 0x86],
    [new FerryError("VALUE_TOO_LARGE", SECRET), "SERVER_ERROR object too large for cache", 0x03],
    [new FerryError("KEY_TOO_LONG", SECRET), "CLIENT_ERROR bad command line format", 0x04],
    [new FerryError("REDIS_LOST", SECRET), "SERVER_ERROR failure REDIS_LOST", 0x84],
    [new LegacyUnreachable(SECRET), "SERVER_ERROR temporary failure LEGACY_UNREACHABLE", 0x86],
    [new Error(SECRET), "SERVER_ERROR failure UNEXPECTED", 0x84],
  ];

  test.each(failures)(
    "%s is told without a key or a value, and the connection goes on",
    async (error, line, status) => {
      const fail = () => {
        throw error;
      };
      items.found = fail;
      items.result = fail;
      await open();
      const talk = await client();
      talk.send(
        `get s.${SECRET}\r\nset s.${SECRET} 0 0 16\r\n${SECRET}\r\nset s.${SECRET} 0 0 16 noreply\r\n${SECRET}\r\nmn\r\n`,
      );
      expect(await talk.until("MN\r\n")).toBe(`${line}\r\n${line}\r\nMN\r\n`);
      const binary = await client();
      binary.send(packet({ opcode: 0x0c, key: `s.${SECRET}`, opaque: 0x41424344 }));
      await binary.until(24);
      expect(binary.bytes.readUInt16BE(6)).toBe(status);
      expect(binary.bytes.readUInt32BE(12)).toBe(0x41424344);
      await eventually(() => binary.bytes.length >= 24 + binary.bytes.readUInt32BE(8));
      expect(binary.text).not.toContain(SECRET);
      expect(events.filter(({ type }) => type === "door-failure")).toHaveLength(4);
      expect(door.counters.failures).toBe(4);
    },
  );

  test("keys of no session are refused where there is no memcached any more", async () => {
    await open({ bypass: null });
    const talk = await client();
    talk.send("get x\r\nset x 0 0 1\r\n1\r\nget s.a\r\n");
    expect(await talk.until("END\r\n")).toBe(`${"SERVER_ERROR failure NO_MEMCACHED\r\n".repeat(2)}END\r\n`);
  });

  test("flush_all is refused unless allowed, and a later one always", async () => {
    await open();
    const talk = await client();
    talk.send("flush_all\r\nflush_all x\r\nflush_all noreply\r\nmn\r\n");
    expect(await talk.until("MN\r\n")).toBe(`${"CLIENT_ERROR flush_all not allowed\r\n".repeat(2)}MN\r\n`);
    await door.close();
    await open({ allowFlush: true });
    const other = await client();
    other.send("flush_all 10\r\nflush_all\r\n");
    expect(await other.until("OK\r\n")).toMatch(/^CLIENT_ERROR a delayed flush_all .*\r\nOK\r\n$/);
    expect(items.asked).toEqual([{ kind: "flush" }]);
  });
});

describe("bounds", () => {
  test("a client that takes no answers gets no more asked for", async () => {
    const value = Buffer.alloc(256 * 1024, "v");
    items.found = () => itemOf(value);
    await open();
    const talk = await client();
    talk.socket.pause();
    talk.send("get s.a\r\n".repeat(400));
    await eventually(() => items.asked.length > 0);
    await settled(() => items.asked.length);
    const reads = items.asked.reduce((sum, asked) => sum + ("sids" in asked ? asked.sids.length : 0), 0);
    // What the kernel holds, what is asked for at once, and what waits: 400 are 100 MB.
    expect(reads).toBeLessThan(140);
    talk.socket.resume();
    await talk.until(400 * (value.length + "VALUE s.a 0 262144\r\n\r\nEND\r\n".length));
    expect(talk.text.endsWith("END\r\n")).toBe(true);
  });

  test("nor does one that touches many at once", async () => {
    const value = Buffer.alloc(256 * 1024, "v");
    items.result = () => ({ result: "done", token: 0n, item: itemOf(value) });
    await open();
    const talk = await client();
    talk.socket.pause();
    const keys = Array.from({ length: 200 }, (_, n) => `s.${n + 100}`);
    talk.send(`gat 100 ${keys.join(" ")}\r\n`);
    await eventually(() => items.asked.length > 0);
    expect(await settled(() => items.asked.length)).toBeLessThan(100);
    talk.socket.resume();
    await talk.until(keys.length * (value.length + "VALUE s.100 0 262144\r\n\r\n".length) + "END\r\n".length);
    expect([...talk.text.matchAll(/VALUE s\.(\d+) /g)].map(([, n]) => `s.${n}`)).toEqual(keys);
    expect(talk.text.endsWith("END\r\n")).toBe(true);
  });

  test("a client that sends faster than it is served is not read from", async () => {
    await open();
    items.hold();
    const talk = await client();
    const command = `set s.a 0 0 1000\r\n${"x".repeat(1000)}\r\n`;
    talk.send(command.repeat(20_000));
    const read = await settled(() => door.counters.bytesRead);
    expect(read).toBeLessThan(2 * 1024 * 1024);
    items.release();
    await talk.until(20_000 * "STORED\r\n".length);
    expect(items.asked).toHaveLength(20_000);
  });

  test("one connection more than allowed is told so", async () => {
    await open({ limits: { connections: 2 } });
    const [first, second] = [await client(), await client()];
    await eventually(() => door.connections === 2);
    const third = await client();
    expect(await third.ended()).toBe("ERROR Too many open connections\r\n");
    expect(events).toContainEqual({ type: "door-refusal", reason: "connections" });
    first.close();
    await eventually(() => door.connections === 1);
    const fourth = await client();
    fourth.send("get s.a\r\n");
    expect(await fourth.until("END\r\n")).toBe("END\r\n");
    second.send("mn\r\n");
    await second.until("MN\r\n");
    expect(door.counters).toMatchObject({ connectionsOpened: 3, connectionsRefused: 1 });
  });

  test("a command of which a part was carried out never says that nothing was", async () => {
    await open();
    const away = () => {
      throw new FerryError("REDIS_UNREACHABLE", "Redis cannot be reached.");
    };
    let performed = 0;
    items.result = () => (performed++ % 2 === 0 ? { result: "done", token: 0n, item: itemOf("1") } : away());
    const talk = await client();
    talk.send("ma s.n T60\r\ngat 60 s.a s.b\r\nmn\r\n");
    expect((await talk.until("MN\r\n")).match(/^SERVER_ERROR .*OUTCOME_UNKNOWN/gm)).toHaveLength(2);
    items.result = away;
    const other = await client();
    other.send("ma s.n T60\r\nmn\r\n");
    expect(await other.until("MN\r\n")).toMatch(/^SERVER_ERROR .*REDIS_UNREACHABLE/);
  });

  test("values that there is no memory for are dropped, and the old item with them", async () => {
    await open({ limits: { memory: 1_000_000 } });
    const [slow, other] = [await client(), await client()];
    slow.send(`set s.slow 0 0 900000\r\n${"x".repeat(1000)}`);
    await eventually(() => door.counters.bytesRead > 1000);
    other.send(
      `set s.a 0 0 500000\r\n${"x".repeat(500_000)}\r\nadd s.b 0 0 500000\r\n${"x".repeat(500_000)}\r\nmn\r\n`,
    );
    const refusal = "SERVER_ERROR out of memory storing object\r\n";
    expect(await other.until("MN\r\n")).toBe(`${refusal}${refusal}MN\r\n`);
    expect(items.asked).toEqual([{ kind: "perform", sid: "a", verb: { verb: "delete", token: 0n } }]);
    slow.close();
    await eventually(() => door.connections === 1);
    other.send(`set s.a 0 0 500000\r\n${"x".repeat(500_000)}\r\n`);
    expect(await other.until("STORED\r\n")).toContain("STORED");
  });

  test("values for which there is room one by one only are carried out one by one, and nobody waits for ever", async () => {
    await open({ limits: { memory: 1_048_576 } });
    const [slow, busy] = [await client(), await client()];
    const large = "x".repeat(1_000_000);
    slow.send(`set s.large 0 0 1000000\r\n${large.slice(10)}`);
    await eventually(() => door.counters.bytesRead > 999_990);
    busy.send(`set s.many 0 0 1000\r\n${"y".repeat(1_000)}\r\n`.repeat(60));
    await eventually(() => door.counters.bytesRead > 1_060_000);
    slow.send(`${large.slice(0, 10)}\r\nmn\r\n`);
    expect(await slow.until("MN\r\n")).toBe("STORED\r\nMN\r\n");
    busy.send("mn\r\n");
    expect(await busy.until("MN\r\n")).toMatch(/^((STORED|SERVER_ERROR out of memory storing object)\r\n){60}MN\r\n$/);
  });

  test("whoever makes room gets his answer himself, not the one who waited for it", async () => {
    await open({ limits: { memory: 1_048_576 } });
    items.hold();
    const [working, partial, waiting] = [await client(), await client(), await client()];
    working.send(`set s.a 0 0 500000\r\n${"x".repeat(500_000)}\r\n`);
    await eventually(() => items.asked.length === 1);
    partial.send(`set s.b 0 0 540000\r\n${"x".repeat(500_000)}`);
    await eventually(() => door.counters.bytesRead > 1_000_000);
    const before = door.counters.bytesRead;
    waiting.send(`set s.c 0 0 1000\r\n${"y".repeat(1_000)}\r\n`.repeat(20));
    await eventually(() => door.counters.bytesRead > before + 20_000);
    items.release();
    expect(await working.until("\r\n")).toBe("STORED\r\n");
    waiting.send("mn\r\n");
    expect(await waiting.until("MN\r\n")).toBe(`${"STORED\r\n".repeat(20)}MN\r\n`);
    working.send("mn\r\n");
    expect(await working.until("MN\r\n")).toBe("STORED\r\nMN\r\n");
  });

  test("clients that do not read cannot keep the others waiting for memory", async () => {
    items.found = () => itemOf(Buffer.alloc(1_000_000));
    await open({ limits: { memory: 3_000_000 } });
    const deaf = await Promise.all(Array.from({ length: 6 }, client));
    for (const { socket } of deaf) socket.pause();
    for (const one of deaf) one.send("get s.a\r\n".repeat(20));
    await settled(() => door.counters.bytesWritten);
    items.found = () => itemOf("1");
    const other = await client();
    other.send("get s.b\r\n");
    expect(await other.until("END\r\n")).toContain("VALUE s.b 0 1");
    expect(events).toContainEqual({ type: "door-cut", reason: "memory" });
  });

  test("silent, slow and stubborn clients are cut off", async () => {
    items.found = () => itemOf(Buffer.alloc(1_000_000));
    await open({ limits: { idle: 3_000, stall: 1_000 } });
    const [idle, slow, deaf, busy] = [await client(), await client(), await client(), await client()];
    slow.send("set s.a 0 0 1000\r\nnot all of it");
    deaf.socket.pause();
    deaf.send("get s.a\r\n".repeat(50));
    const keep = setInterval(() => busy.send("mn\r\n"), 100);
    await slow.ended();
    expect(await idle.ended()).toBe("");
    await eventually(() => door.connections === 1);
    clearInterval(keep);
    const reasons = events.flatMap((event) => (event.type === "door-cut" ? [event.reason] : []));
    expect(reasons.sort()).toEqual(["idle", "stalled", "stalled"]);
    expect(busy.text).toMatch(/^(MN\r\n){10,}$/);
  });

  test("a client that closes its half still gets its answers", async () => {
    items.found = () => itemOf("1");
    await open();
    items.hold();
    const talk = await client();
    talk.socket.end("get s.a\r\nset s.a 0 0 1\r\nx\r\nget s.a\r\nget ");
    await eventually(() => items.asked.length > 0);
    items.release();
    expect(await talk.ended()).toBe("VALUE s.a 0 1\r\n1\r\nEND\r\nSTORED\r\nVALUE s.a 0 1\r\n1\r\nEND\r\n");
  });

  test("who hangs up in the middle of an answer harms nobody", async () => {
    items.found = () => itemOf(Buffer.alloc(1_000_000));
    await open();
    items.hold();
    const [gone, other] = [await client(), await client()];
    gone.send("get s.a\r\n".repeat(20));
    await eventually(() => items.asked.length > 0);
    gone.socket.resetAndDestroy();
    await eventually(() => door.connections === 1);
    items.release();
    other.send("mn\r\n");
    expect(await other.until("MN\r\n")).toBe("MN\r\n");
  });
});

describe("drain", () => {
  test("what was read is answered, then clients are hung up on and nobody else is let in", async () => {
    await open();
    items.hold();
    const [working, idle] = [await client(), await client()];
    working.send("set s.a 0 0 1\r\n1\r\nset s.b 0 0 1\r\n2\r\nset s.c 0 0 10\r\nnot");
    await eventually(() => items.asked.length > 0 && door.connections === 2);
    const drained = door.drain(10_000);
    expect(await idle.ended()).toBe("");
    await expect(Talk.to({ port: portOf(door) })).rejects.toThrow();
    items.release();
    expect(await working.ended()).toBe("STORED\r\nSTORED\r\n");
    await drained;
    expect(door.connections).toBe(0);
    expect(items.asked).toHaveLength(2);
  });

  test("ends at its deadline", async () => {
    await open();
    items.hold();
    const talk = await client();
    talk.send("get s.a\r\n");
    await eventually(() => items.asked.length > 0);
    await door.drain(50);
    expect(await talk.ended()).toBe("");
    expect(events).toContainEqual({ type: "door-cut", reason: "drain" });
    items.release();
  });
});

describe("authentication", () => {
  const sasl = [
    { user: "app", password: "pässword" },
    { user: "other", password: "x" },
  ];
  const plain = (user: string, password: string, actAs = "") => Buffer.from(`${actAs}\0${user}\0${password}`);
  const attempt = (value: Buffer, mechanism = "PLAIN") => packet({ opcode: 0x21, key: mechanism, value });

  test("binary clients say who they are by SASL PLAIN", async () => {
    await open({ sasl });
    const talk = await client();
    talk.send(packet({ opcode: 0x20 }));
    expect((await talk.until(29)).slice(24)).toBe("PLAIN");
    for (const wrong of [plain("app", "wrong"), plain("app", ""), plain("", "x"), plain("app", "pässword", "root")]) {
      const before = talk.bytes.length;
      talk.send(attempt(wrong));
      await talk.until(before + 24 + "Auth failure.".length);
      expect(talk.bytes.readUInt16BE(before + 6)).toBe(0x20);
    }
    const before = talk.bytes.length;
    // What is in the same packet is let through.
    talk.send(Buffer.concat([attempt(plain("app", "pässword")), packet({ opcode: 0x0c, key: "s.a" })]));
    await talk.until(before + 24 + 13 + 24 + 3);
    expect(talk.bytes.readUInt16BE(before + 6)).toBe(0);
    expect(talk.bytes.readUInt16BE(before + 37 + 6)).toBe(1);
    expect(events.filter(({ type }) => type === "door-refusal")).toHaveLength(4);
  });

  test("a binary client that does not is refused and hung up on, but told the version", async () => {
    await open({ sasl });
    const talk = await client();
    talk.send(packet({ opcode: 0x0b }));
    expect((await talk.until(30)).slice(24)).toBe("1.6.18");
    talk.send(Buffer.concat([packet({ opcode: 0x00, key: "s.a" }), packet({ opcode: 0x0a })]));
    expect((await talk.ended()).slice(30 + 24)).toBe("Auth failure.");
    expect(items.asked).toEqual([]);
  });

  test("text clients say it by their first set", async () => {
    await open({ sasl });
    const talk = await client();
    talk.send("get s.a\r\nset x 0 0 3\r\napp\r\nset x 0 0 9\r\napp wrong\r\nset x 0 0 5000\r\n");
    await talk.until(1);
    expect(await talk.until("failure\r\nCLIENT_ERROR unauthenticated\r\n")).toBe(
      "CLIENT_ERROR unauthenticated\r\nCLIENT_ERROR bad authentication token format\r\n" +
        "CLIENT_ERROR authentication failure\r\nCLIENT_ERROR unauthenticated\r\n",
    );
    talk.send(Buffer.from("set x 0 0 13\r\napp pässword\r\nget s.a\r\n"));
    expect(await talk.until("END\r\n")).toContain("STORED\r\nEND\r\n");
  });

  test("who guesses is hung up on", async () => {
    await open({ sasl });
    const talk = await client();
    talk.send("set x 0 0 5\r\napp x\r\n".repeat(20));
    expect((await talk.ended()).match(/authentication failure/g)!.length).toBe(8);
  });
});

describe("listeners", () => {
  test("a unix socket is the owner's alone, and a leftover is cleared away", async () => {
    const folder = mkdtempSync(join(tmpdir(), "door-"));
    const path = join(folder, "memcached.sock");
    try {
      await open({ listeners: [{ listen: path }, { listen: "127.0.0.1:0" }] });
      expect(door.addresses[0]).toBe(path);
      expect(statSync(path).mode & 0o777).toBe(0o700);
      const talk = await client({ path });
      talk.send("get s.a\r\n");
      expect(await talk.until("END\r\n")).toBe("END\r\n");
      const again = openDoor({ items, bypass, keyspace, listeners: [{ listen: path }] });
      await expect(again).rejects.toMatchObject({ code: "CONFIG_INVALID" });
      await door.close();
      expect(existsSync(path)).toBe(false);
      writeFileSync(path, "no socket");
      await expect(open({ listeners: [{ listen: path }] })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("an address that is taken, or none, is named", async () => {
    await open();
    const taken = { items, bypass, keyspace, listeners: [{ listen: door.addresses[0]! }] };
    await expect(openDoor(taken)).rejects.toThrow(/cannot listen on 127\.0\.0\.1:\d+: EADDRINUSE/);
    for (const listen of ["127.0.0.1", "127.0.0.1:", ":11211", "127.0.0.1:x", "127.0.0.1:70000"]) {
      await expect(openDoor({ ...taken, listeners: [{ listen }] })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    }
    // Whoever could listen on one address only, listens on none.
    const probe = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => probe.once("listening", resolve));
    const free = (probe.address() as { port: number }).port;
    await new Promise((resolve) => probe.close(resolve));
    const both = [{ listen: `127.0.0.1:${free}` }, { listen: door.addresses[0]! }];
    await expect(openDoor({ ...taken, listeners: both })).rejects.toThrow("EADDRINUSE");
    await expect(Talk.to({ port: free })).rejects.toThrow();
  });

  test("with TLS a listener speaks nothing else", async () => {
    const folder = mkdtempSync(join(tmpdir(), "door-"));
    const [keyFile, certFile] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    const subject = [
      "-subj",
      "/CN=localhost",
      "-days",
      "1",
      "-nodes",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
    ];
    execFileSync("openssl", ["req", "-x509", ...subject, "-keyout", keyFile, "-out", certFile], { stdio: "ignore" });
    const [key, cert] = [readFileSync(keyFile), readFileSync(certFile)];
    rmSync(folder, { recursive: true });
    await open({ listeners: [{ listen: "127.0.0.1:0", tls: { key, cert } }] });
    const got = await new Promise<string>((resolve, reject) => {
      const socket = connectTls({ port: portOf(door), host: "127.0.0.1", ca: cert, servername: "localhost" }, () =>
        socket.write("get s.a\r\n"),
      );
      socket.on("error", reject);
      socket.on("data", (chunk) => {
        socket.destroy();
        resolve(chunk.toString());
      });
    });
    expect(got).toBe("END\r\n");
    const bare = await client();
    bare.send("get s.a\r\n");
    await bare.ended();
    expect(items.asked).toHaveLength(1);
  });
});

describe("what is asked about the server", () => {
  test("goes to memcached where there is one", async () => {
    const asked: string[] = [];
    const stats = async (which: string) => {
      asked.push(which);
      return "STAT a 1\r\nSTAT b two words\r\nEND\r\n";
    };
    await open({ admin: { version: async () => "1.6.40", stats } });
    const talk = await client();
    talk.send("version\r\nstats \r\nstats items\r\nquit\r\n");
    const lines = "STAT a 1\r\nSTAT b two words\r\nEND\r\n";
    expect(await talk.ended()).toBe(`VERSION 1.6.40\r\n${lines}${lines}`);
    expect(asked).toEqual(["", "items"]);
    const binary = await client();
    binary.send(packet({ opcode: 0x10, opaque: 1 }));
    await binary.until(24 + 2 + 24 + 10 + 24);
    expect(binary.bytes.subarray(24, 26).toString()).toBe("a1");
    expect(binary.bytes.subarray(50, 60).toString()).toBe("btwo words");
    expect(binary.bytes.subarray(60 + 2, 60 + 12).every((byte) => byte === 0)).toBe(true);
  });

  test("is answered by the door where there is none, or it fails", async () => {
    const gone = () => Promise.reject(new LegacyUnreachable("gone"));
    await open({ admin: { version: gone, stats: gone } });
    const talk = await client();
    talk.send("version\r\nstats\r\n");
    expect(await talk.until("LEGACY_UNREACHABLE\r\n")).toBe(
      "VERSION 1.6.18\r\nSERVER_ERROR temporary failure LEGACY_UNREACHABLE\r\n",
    );
    await door.close();
    await open();
    const other = await client();
    other.send("stats\r\n");
    expect(await other.until("END\r\n")).toMatch(/^STAT pid \d+\r\n(STAT \w+ \S+\r\n)+END\r\n$/);
  });

  test("tokens are zero where none are given out", async () => {
    items.found = () => ({ ...itemOf("1"), token: 0n });
    await open({ tokens: false });
    const talk = await client();
    talk.send("gets s.a\r\nmg s.a c\r\n");
    expect(await talk.until("HD")).toBe("VALUE s.a 0 1 0\r\n1\r\nEND\r\nHD c0\r\n");
    expect(items.asked).toMatchObject([{ token: false }]);
  });
});
