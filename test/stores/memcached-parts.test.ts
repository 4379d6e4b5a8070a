import { randomUUID } from "node:crypto";
import fc from "fast-check";
import Memcached from "memcached";
import * as memjs from "memjs";
import { describe, expect, it } from "vitest";
import { NEVER } from "../../src/core/session.js";
import { FerryError } from "../../src/errors.js";
import { ketama, modulo } from "../../src/stores/memcached/distribution.js";
import { endpointsIn } from "../../src/stores/memcached/endpoints.js";
import { fromRemaining, toExptime } from "../../src/stores/memcached/expiry.js";
import { decodeDumpedKey, encodeKey, encodeRawKey } from "../../src/stores/memcached/keys.js";
import { flag, ProtocolViolation, type Reply, ReplyParser } from "../../src/stores/memcached/protocol.js";
import { parseServers } from "../../src/stores/memcached/server.js";

describe("the reply parser", () => {
  const value = Buffer.from("a\r\nEND\r\nVA 3\r\n\0\xff", "latin1");
  const stream = Buffer.concat([
    Buffer.from("HD c4\r\nEN\r\n"),
    Buffer.from(`VA ${value.length} f2 t-1 c18446744073709551615\r\n`),
    value,
    Buffer.from(
      "\r\nVA 0 f0\r\n\r\nSTAT pid 7\r\nSTAT version 1.6.18 extra\nEND\r\nSERVER_ERROR object too large for cache\r\n",
    ),
  ]);
  const expected: [string, string[], Buffer | null][] = [
    ["HD", ["c4"], null],
    ["EN", [], null],
    ["VA", ["f2", "t-1", "c18446744073709551615"], value],
    ["VA", ["f0"], Buffer.alloc(0)],
    ["STAT", ["pid", "7"], null],
    ["STAT", ["version", "1.6.18", "extra"], null],
    ["END", [], null],
    ["SERVER_ERROR", ["object", "too", "large", "for", "cache"], null],
  ];
  const plain = (replies: Reply[]) => replies.map(({ code, words, value }) => [code, words, value]);

  it("reads the same replies however the bytes are cut", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: stream.length }), { maxLength: 30 }), (cuts) => {
        const parser = new ReplyParser();
        const places = [...new Set([0, ...cuts.sort((a, b) => a - b), stream.length])];
        const replies = places.flatMap((from, n) => parser.push(stream.subarray(from, places[n + 1] ?? stream.length)));
        expect(plain(replies)).toEqual(expected);
      }),
      { numRuns: 300 },
    );
    const parser = new ReplyParser();
    expect(plain([...stream].flatMap((byte) => parser.push(Buffer.from([byte]))))).toEqual(expected);
  });

  it("finds a return flag, and none that only looks like it", () => {
    const [reply] = new ReplyParser().push(Buffer.from("HD t30 c4\r\n"));
    expect(flag(reply!, "t")).toBe("30");
    expect(flag(reply!, "c")).toBe("4");
    expect(flag(reply!, "f")).toBeNull();
  });

  it("gives up on bytes that are no reply", () => {
    for (const bytes of ["VA x f0\r\n", "VA -1\r\n", "VA 2\r\nabcd", "x".repeat(9_000)]) {
      expect(() => new ReplyParser().push(Buffer.from(bytes))).toThrow(ProtocolViolation);
    }
  });
});

describe("the choice of a server", () => {
  const keys = Array.from({ length: 2_000 }, (_, n) => (n % 7 === 0 ? `sess:ünï☃${n}` : randomUUID()));

  it.each([
    ["10.0.0.1:11211,10.0.0.2:11211,10.0.0.3:11211"],
    ["cache-a:11211,cache-b:11212"],
    ["localhost:22122,localhost:22123,localhost:22124,localhost:22125,localhost:22126"],
  ])("is that of memjs and of npm memcached for %s", (list) => {
    const servers = parseServers(`memcached://${list}`);
    const plainModulo = memjs.Client.create(list, { logger: { log() {} } });
    const plainKetama = new Memcached(list.split(","));
    const [ours, oursKetama] = [modulo(servers), ketama(servers)];
    for (const key of keys) {
      expect(ours(key)).toBe(servers[plainModulo.getServer(key)]);
      expect(oursKetama(key).address).toBe(plainKetama.HashRing.get(key));
    }
    plainKetama.end();
    plainModulo.close();
  });

  it("counts points as that client does for any number of servers", () => {
    for (const count of [6, 11, 49, 98]) {
      const list = Array.from({ length: count }, (_, n) => `10.1.${n}.1:11311`);
      const plain = new Memcached(list);
      const ours = ketama(parseServers(`memcached://${list.join(",")}`));
      for (const key of keys.slice(0, 300)) expect(ours(key).address).toBe(plain.HashRing.get(key));
    }
  });
});

describe("the servers of a URL", () => {
  it("are read in order, with their ports", () => {
    expect(parseServers("memcached://a,b:1,[::1]:22/")).toEqual([
      { host: "a", port: 11_211, address: "a:11211", tls: null },
      { host: "b", port: 1, address: "b:1", tls: null },
      { host: "::1", port: 22, address: "[::1]:22", tls: null },
    ]);
  });

  it("are refused without repeating the URL", () => {
    for (const url of [
      "memcached://",
      "memcache://a:1",
      "memcached://user:pass-word@a:1",
      "memcached://a:b",
      "memcached://a:0",
    ]) {
      let error: unknown;
      try {
        parseServers(url);
      } catch (caught) {
        error = caught;
      }
      expect(error).toBeInstanceOf(FerryError);
      expect(error).toMatchObject({ code: "CONFIG_INVALID" });
      expect((error as Error).message).not.toMatch("pass-word");
    }
  });
});

describe("keys", () => {
  it("go as they are where they can, else in base64, else not at all", () => {
    expect(encodeKey("abc")).toEqual({ token: "abc", base64: false });
    expect(encodeKey("ü".repeat(125))).toEqual({ token: "\xc3\xbc".repeat(125), base64: false });
    expect(encodeRawKey("\xe9")).toEqual({ token: "\xe9", base64: false });
    expect(encodeKey("ü".repeat(126))).toBeNull();
    expect(encodeKey("a b")).toEqual({ token: "YSBi", base64: true });
    expect(encodeKey("\0".repeat(186))?.token).toHaveLength(248);
    expect(encodeKey("\n".repeat(187))).toBeNull();
    expect(encodeKey("")).toBeNull();
  });

  it("come back from a dump byte by byte", () => {
    expect(decodeDumpedKey("a%2520b%2Cc%2Fd%3A%00")).toBe("a%20b,c/d:\0");
    expect(decodeDumpedKey("%C3%BC")).toBe("ü");
    expect(decodeDumpedKey("%FF%E9")).toBeNull();
  });
});

describe("expiries", () => {
  const now = 1_700_000_000_250;

  it("are written as a span up to thirty days, then as a date, rounded up", () => {
    expect(toExptime(NEVER, now)).toBe(0);
    expect(toExptime(now, now)).toBe(-1);
    expect(toExptime(now - 1, now)).toBe(-1);
    expect(toExptime(now + 1, now)).toBe(1);
    expect(toExptime(now + 1_001, now)).toBe(2);
    expect(toExptime(now + 2_592_000_000, now)).toBe(2_592_000);
    expect(toExptime(now + 2_592_000_001, now)).toBe(1_702_592_001);
    expect(toExptime(Date.UTC(2100, 0, 1), now)).toBe(2_147_483_647);
  });

  it("are read as the middle of the second that memcached does not tell", () => {
    expect(fromRemaining("-1", now)).toBe(NEVER);
    expect(fromRemaining("30", now)).toBe(now + 29_500);
  });
});

describe("the list of connections", () => {
  it("is read for IPv4 and IPv6", () => {
    const lines = [
      "STAT 23:addr tcp:0.0.0.0:11211",
      "STAT 24:addr tcp6:[::1]:4000",
      "STAT 24:listen_addr tcp6:[::1]:11211",
      "STAT 25:addr tcp6:[::ffff:10.0.0.1]:4001",
      "STAT 26:addr unix:/tmp/socket",
      "STAT 26:state conn_read",
      "END",
    ];
    const replies = new ReplyParser().push(Buffer.from(lines.map((line) => `${line}\r\n`).join("")));
    expect([...endpointsIn(replies)]).toEqual(["0.0.0.0:11211", "::1:4000", "10.0.0.1:4001"]);
  });
});
