import { counting, packet, u32 } from "./binary-packets.js";

/**
 * What clients say in the transcripts. Keys beginning with `s.` are sessions, others the application's own. A script
 * gets the CAS number that the server gave last, from which those of its own writes follow: memcached counts by one.
 */
export type Script = (cas: bigint) => string | Buffer;

const K250 = "k".repeat(250);
const K251 = "k".repeat(251);
const set = (key: string, value: string, flags = 0, exptime = 0) =>
  `set ${key} ${flags} ${exptime} ${value.length}\r\n${value}\r\n`;

/** Without anything behind it: it ends the connection. */
export const ENDLESS: Script = () => `get s.a\r\n${"x".repeat(3000)}`;

export const TEXT: Record<string, Script> = {
  "storage and retrieval": () =>
    `${set("s.a", "1", 4294967295)}${set("b", "two", 7)}get s.a\r\nget b\r\nget s.a b none s.a\r\nget none\r\ngets none\r\n` +
    `add s.a 0 0 1\r\nx\r\nadd s.c 1 0 1\r\nc\r\nreplace none 0 0 1\r\nx\r\nreplace s.c 2 0 2\r\ncc\r\nget s.c\r\n` +
    `append s.c 9 9 1\r\n>\r\nprepend s.c 9 9 1\r\n<\r\nget s.c\r\nappend none 0 0 1\r\nx\r\nprepend none 0 0 1\r\nx\r\n`,
  "cas numbers": (n) =>
    `${set("s.a", "1")}gets s.a\r\ncas s.a 5 0 2 ${n + 1n}\r\nok\r\ncas s.a 5 0 2 ${n + 1n}\r\nno\r\ngets s.a\r\n` +
    `cas none 0 0 1 5\r\nx\r\ncas s.a 0 0 1 0\r\nx\r\ntouch s.a 100\r\ngats 100 s.a none\r\ngets s.a\r\n`,
  "noreply hides everything": () =>
    `set s.a 0 0 1 noreply\r\n1\r\nadd s.a 0 0 1 noreply\r\n2\r\nreplace none 0 0 1 noreply\r\n2\r\nget s.a\r\n` +
    `append s.a 0 0 1 noreply\r\n2\r\nincr s.a 1 noreply\r\nincr none 1 noreply\r\ndecr s.a 2 noreply\r\nget s.a\r\n` +
    `touch s.a 0 noreply\r\ntouch none 0 noreply\r\ndelete none noreply\r\ndelete s.a noreply\r\nget s.a\r\n` +
    `verbosity 0 noreply\r\nincr s.a x noreply\r\ntouch s.a x noreply\r\nset s.a 0 0 x noreply\r\ndelete a 5 noreply\r\n` +
    `set s.a 0 0 1 noreply\r\nxx\r\nset ${K251} 0 0 1 noreply\r\nset s.b 0 0 1 noreplyy\r\nb\r\n`,
  counting: () =>
    `${set("s.n", "10")}incr s.n 5\r\ndecr s.n 11\r\nget s.n\r\ndecr s.n 100\r\nincr s.n 18446744073709551615\r\nincr s.n 2\r\n` +
    `get s.n\r\nincr none 1\r\ndecr none 1\r\nincr s.n\r\nincr s.n x\r\nincr s.n -1\r\nincr s.n 18446744073709551616\r\n` +
    `${set("s.w", "word")}incr s.w 1\r\n${set("s.e", "")}incr s.e 1\r\nincr s.n 1 2\r\nincr s.n 1 2 3\r\nincr s.n +1\r\n`,
  "times that are over": () =>
    `${set("s.a", "1", 0, -1)}get s.a\r\n${set("s.a", "1", 0, 2592001)}get s.a\r\n${set("s.a", "1", 0, 2147483648)}get s.a\r\n` +
    `add s.a 0 2678400 0\r\n\r\nadd s.a 0 2678400 0\r\n\r\nget s.a\r\n${set("s.a", "1")}touch s.a -1\r\nget s.a\r\n` +
    `${set("s.a", "1")}gat -1 s.a\r\nget s.a\r\n${set("s.a", "1", 0, 4294967296)}get s.a\r\nset s.a 0 1.5 1\r\n` +
    `touch s.a abc\r\ngat abc s.a\r\ngat 10\r\ngat\r\ngats 10\r\ntouch s.a\r\ntouch s.a 1 2 3\r\n`,
  deleting: () =>
    `${set("s.a", "1")}delete s.a 0\r\ndelete s.a 0\r\ndelete s.a 5\r\ndelete s.a 0 noreply x\r\ndelete\r\ndelete s.a 0 0\r\n` +
    `${set("s.a", "1")}delete s.a 0 noreply\r\nget s.a\r\ndelete s.a x\r\n`,
  "lines that are not right": () =>
    `\r\n\n \r\nGET a\r\nget\r\nget \r\ngets\r\na\r\nx y z\r\nset\r\nset s.a\r\nset s.a 0 0\r\nset s.a 0 0 1 2 3\r\nset s.a -1 0 1\r\n` +
    `set s.a 0 0 -1\r\nset s.a 0 0 999999999999\r\nset s.a 0 0 x\r\nset s.a 99999999999999999999 0 1\r\nmx s.a\r\nm\r\n` +
    `get\ts.a\r\n  get   s.a  \r\nversion \nquit_\r\nincr s.a \t1\r\nget s.a\0 b\r\ncas s.a 0 0 1\r\ncas s.a 0 0 1 x\r\n` +
    `verbosity\r\nverbosity x\r\nverbosity 0\r\nverbosity 1 2 3\r\nflush_all x\r\nflush_all 1 2 3\r\nshutdown\r\nbget s.a\r\n`,
  "values that are not right": () =>
    `${set("s.a", "old")}set s.a 0 0 3\r\nabcdef\r\nget s.a\r\nset s.a 0 0 5\r\nab\r\nc\r\nget s.a\r\nset s.a 0 0 0\r\n\r\nget s.a\r\n` +
    `set s.a 0 0 4\r\n\r\n\r\n\r\nget s.a\r\nset s.a 4294967296 0 1\r\nx\r\nget s.a\r\n${set("s.b", "\0\xff\r\n\x80")}get s.b\r\n`,
  "keys at the limit": () =>
    `${set(K250, "1")}get ${K250}\r\n${set("s.\xff\xfe", "1")}get s.\xff\xfe\r\n${set("\xe9", "1")}get \xe9\r\n${set("s.é", "2")}` +
    `get s.é\r\ndelete ${K251}\r\ntouch ${K251} 0\r\nincr ${K251} 1\r\nset ${K251} 0 0 3\r\nget\r\n`,
  "a key that is too long spoils a get": () => `get ${K251}\r\n`,
  "a value that is too large": () =>
    `${set("s.a", "old")}append s.a 0 0 1048576\r\n${"x".repeat(1048576)}\r\nget s.a\r\nadd s.a 0 0 1048576\r\n` +
    `${"x".repeat(1048576)}\r\nget s.a\r\nset s.a 0 0 1048576\r\n${"x".repeat(1048576)}\r\nget s.a\r\n` +
    `${set("s.a", "x".repeat(1048500))}append s.a 0 0 100\r\n${"y".repeat(100)}\r\nincr s.a 1\r\n`,
  "many keys": () =>
    `${set("s.k7", "7")}${set("k99", "99")}get ${Array.from({ length: 600 }, (_, n) => `${n % 2 ? "s." : ""}k${n}`).join(" ")}\r\n` +
    `gets ${Array.from({ length: 30 }, (_, n) => `s.k${n}`).join(" ")}\r\ngat 0 ${Array.from({ length: 40 }, (_, n) => `s.k${n}`).join("  ")} \r\n` +
    `get ${Array.from({ length: 23 }, (_, n) => `s.k${n}`).join(" ")}  \r\nget ${Array.from({ length: 22 }, (_, n) => `s.k${n}`).join(" ")} \r\n`,
  "quit with more behind it": () => `${set("s.a", "1")}get s.a\r\nquit\r\nget s.a\r\n`,
  "a browser": () => "POST / HTTP/1.1\r\nHost: x\r\n\r\n",
  "binary after text": () => Buffer.concat([Buffer.from("get s.a\r\n"), packet({ opcode: 0x0b }), Buffer.from("\r\n")]),
  flushing: () =>
    `${set("s.a", "1")}${set("b", "1")}flush_all\r\nget s.a b\r\nflush_all 0\r\nflush_all noreply\r\nflush_all 0 noreply\r\n`,
};

export const META: Record<string, Script> = {
  "getting and setting": (n) =>
    "ms s.a 2\r\nhi\r\nmg s.a v\r\nmg s.a\r\nmg s.a s v t f c k Oabc\r\nmg s.a O1 k q\r\nmg none k O1 v\r\nmg none q k\r\nmg none v q\r\nmn\r\n" +
    "ms s.a 3 F77 T1000 c k O9 q\r\nabc\r\nms s.a 3 T1000 F5 c k Oxyz\r\nabc\r\nmg s.a f t v c\r\nmg s.a t T0 t f\r\nmg s.a T1000 t v\r\n" +
    `ms s.a 1 C1 c\r\nx\r\nms s.a 1 C${n + 3n} c\r\ny\r\nms none 1 C5 k\r\nx\r\nms s.a 1 C0\r\nx\r\nmg s.a u v c\r\n`,
  modes: () =>
    "ms s.a 1 ME k\r\n1\r\nms s.a 1 ME k O1\r\n2\r\nms none 1 MR\r\n1\r\nms s.a 1 MR c\r\n3\r\nms s.a 1 MA c\r\n4\r\nms s.a 1 MP\r\n2\r\n" +
    "ms none 1 MA k\r\n1\r\nms none 1 MP q\r\n1\r\nmg s.a v\r\nms s.a 1 MS q\r\n9\r\nmg s.a v\r\nms s.a 1 MA C1\r\nx\r\nms none 1 MA C1\r\nx\r\n" +
    "ms s.a 1 Mx\r\nx\r\nms s.a 1 MEE\r\nx\r\nms s.a 1 M\r\nx\r\nms s.a 1 ME C1\r\nx\r\nms none 1 MR C1\r\nx\r\nms s.a 1 ME I\r\nx\r\n",
  deleting: (n) =>
    `ms s.a 1\r\n1\r\nmd s.a C0 k\r\nmd s.a C1 k O5\r\nmd s.a C${n + 1n} q\r\nmd s.a q k\r\nmd s.a k Oz\r\nms s.a 1\r\n1\r\nmd s.a t c v s f\r\n` +
    "ms s.a 1\r\n1\r\nmd s.a T5 k\r\nmd s.a k k\r\nmd s.a e\r\nmd\r\nmd s.a x\r\n",
  counting: () =>
    "ma none\r\nma none k O1 q\r\nma s.n N0 J10 v\r\nma s.n v\r\nma s.n D5 v c k O2\r\nma s.n MD D3 v\r\nma s.n M- v\r\nma s.n M+ D7 v\r\n" +
    "ma s.n MI t v\r\nma s.n T1000 t v\r\nma s.n q\r\nma s.n v\r\nma s.n C1 k\r\nma none C1\r\nma s.n Mx\r\nma s.n MII\r\nma s.n Dx\r\n" +
    "ma s.n J-1\r\nma s.n D18446744073709551615 v\r\nms s.w 1\r\nw\r\nma s.w\r\nma s.w q v\r\nmg s.n v t\r\nma s.m N1000 J5 t v c\r\nmg s.m t v\r\nma\r\n",
  "keys in base64": () =>
    "ms cy5h 2 b\r\nhi\r\nmg cy5h b v k\r\nmg s.a v\r\nms cy4gAQ== 1 b k\r\nx\r\nmg cy4gAQ== b v k f\r\nmd cy4gAQ== b k\r\nmg cy4gAQ== k b\r\n" +
    "mg !!!! b v\r\nmg cy5 b v\r\nms !!!! 1 b\r\nx\r\nma cy5u b N0 J3 v k\r\nma cy5u b k v\r\nmd !!! b\r\n",
  "lines that are not right": () =>
    `mg\r\nms\r\nmn x\r\nmn\r\nms s.a\r\nms s.a x\r\nms s.a -1\r\nms s.a 1 z\r\nx\r\nms s.a 1 k k\r\nx\r\nms s.a 1 Tx\r\nx\r\nms s.a 1 Fx\r\nx\r\n` +
    `ms s.a 1 Cx\r\nx\r\nmg s.a z\r\nmg s.a k k\r\nmg s.a Tx\r\nmg s.a \xff\r\nmg s.a O${"o".repeat(32)}\r\nmg s.a O${"o".repeat(31)} v\r\n` +
    `ms s.a 1 O${"o".repeat(40)}\r\nx\r\nmd s.a O${"o".repeat(40)}\r\nma s.n O${"o".repeat(40)}\r\nmg ${K251} v\r\nmd ${K251}\r\nma ${K251}\r\n` +
    `ms ${K251} 1\r\nmg s.a ${"k t f c s v q u h l b ".repeat(3)}\r\nms s.a 3\r\nabcde\r\nms s.a 3 q\r\nabcd\r\nmg s.a S5\r\nmd s.a Tx\r\n`,
  "what is ignored": () =>
    "ms s.a 1 s v t u h l R5 N5 P1 L2 f\r\nx\r\nmg s.a I v\r\nmg s.a F1 C2 D3 J4 MX v\r\nmd none h l R5 N5 F3 u\r\nma none R5 u F1\r\n",
  "a value that is too large": () =>
    `ms s.a 1\r\n1\r\nms s.a 1048576\r\n${"x".repeat(1048576)}\r\nmg s.a v\r\nms s.a 1\r\n1\r\nms s.a 1048576 MA k\r\n${"x".repeat(1048576)}\r\nmg s.a v\r\n`,
};

const [GET, SET, ADD, REPLACE, DELETE, INCR, DECR] = [0, 1, 2, 3, 4, 5, 6];
const [GETQ, GETK, GETKQ, APPEND, PREPEND] = [9, 0x0c, 0x0d, 0x0e, 0x0f];
const join = (...packets: Buffer[]) => Buffer.concat(packets);
const store = (opcode: number, key: string, value: string, more: Partial<Parameters<typeof packet>[0]> = {}) =>
  packet({ opcode, key, value, extras: u32(0xdeadbeef, 0), ...more });

export const BINARY: Record<string, Script> = {
  "storage and retrieval": (n) =>
    join(
      store(SET, "s.a", "1", { opaque: 7 }),
      packet({ opcode: GET, key: "s.a", opaque: 8 }),
      packet({ opcode: GETK, key: "s.a" }),
      packet({ opcode: GET, key: "none" }),
      packet({ opcode: GETK, key: "none", opaque: 0xffffffff }),
      store(ADD, "s.a", "2"),
      store(ADD, "s.b", "2"),
      store(REPLACE, "none", "2"),
      store(REPLACE, "s.b", "3"),
      store(SET, "s.a", "4", { cas: 1n }),
      store(SET, "s.a", "4", { cas: n + 1n }),
      store(SET, "none", "4", { cas: 5n }),
      store(ADD, "s.a", "4", { cas: 5n }),
      store(REPLACE, "none", "4", { cas: 5n }),
      packet({ opcode: APPEND, key: "s.a", value: ">" }),
      packet({ opcode: PREPEND, key: "s.a", value: "<" }),
      packet({ opcode: APPEND, key: "s.a", value: ">", cas: 1n }),
      packet({ opcode: APPEND, key: "none", value: ">" }),
      packet({ opcode: PREPEND, key: "none", value: ">", cas: 4n }),
      packet({ opcode: GET, key: "s.a" }),
      store(SET, "s.e", ""),
      packet({ opcode: GET, key: "s.e" }),
      packet({ opcode: DELETE, key: "s.a", cas: 1n }),
      packet({ opcode: DELETE, key: "s.a" }),
      packet({ opcode: DELETE, key: "s.a", opaque: 3 }),
      store(SET, "s. \x01\xff", "odd"),
      packet({ opcode: GETK, key: "s. \x01\xff" }),
      store(SET, "\xff \n", "odd"),
      packet({ opcode: GETK, key: "\xff \n" }),
    ),
  "quiet forms": () =>
    join(
      store(0x11, "s.a", "1"),
      packet({ opcode: GETQ, key: "s.a", opaque: 1 }),
      packet({ opcode: GETQ, key: "none" }),
      packet({ opcode: GETKQ, key: "s.a", opaque: 2 }),
      packet({ opcode: GETKQ, key: "none" }),
      packet({ opcode: GETKQ, key: "s.a", opaque: 3 }),
      packet({ opcode: 0x0a }),
      store(0x12, "s.a", "1", { opaque: 4 }),
      store(0x12, "s.b", "1"),
      store(0x13, "none", "1", { opaque: 5 }),
      store(0x13, "s.b", "1"),
      packet({ opcode: 0x19, key: "s.b", value: "x" }),
      packet({ opcode: 0x1a, key: "s.b", value: "x" }),
      packet({ opcode: 0x1a, key: "none", value: "x", opaque: 6 }),
      packet({ opcode: 0x15, key: "s.n", extras: counting(1n, 5n, 0) }),
      packet({ opcode: 0x15, key: "s.n", extras: counting(1n, 5n, 0) }),
      packet({ opcode: 0x16, key: "none", extras: counting(1n, 5n, 0xffffffff), opaque: 7 }),
      packet({ opcode: GET, key: "s.n" }),
      packet({ opcode: 0x14, key: "s.n" }),
      packet({ opcode: 0x14, key: "s.n", opaque: 8 }),
      packet({ opcode: 0x1e, key: "none", extras: u32(0) }),
      packet({ opcode: 0x1e, key: "s.b", extras: u32(0) }),
      packet({ opcode: 0x24, key: "none", extras: u32(0) }),
      packet({ opcode: 0x24, key: "s.b", extras: u32(0) }),
      packet({ opcode: 0x18 }),
      packet({ opcode: GET, key: "s.b" }),
    ),
  counting: (n) =>
    join(
      packet({ opcode: INCR, key: "s.n", extras: counting(1n, 5n, 0xffffffff) }),
      packet({ opcode: INCR, key: "s.n", extras: counting(1n, 5n, 0) }),
      packet({ opcode: INCR, key: "s.n", extras: counting(2n, 5n, 0) }),
      packet({ opcode: DECR, key: "s.n", extras: counting(100n, 5n, 0) }),
      packet({ opcode: INCR, key: "s.n", extras: counting(0xffffffffffffffffn, 5n, 0) }),
      packet({ opcode: INCR, key: "s.n", extras: counting(2n, 5n, 0) }),
      packet({ opcode: INCR, key: "s.n", extras: counting(2n, 5n, 0), cas: 1n }),
      packet({ opcode: INCR, key: "s.n", extras: counting(2n, 5n, 0), cas: n + 5n }),
      store(SET, "s.w", "word"),
      packet({ opcode: INCR, key: "s.w", extras: counting(2n, 5n, 0) }),
      packet({ opcode: GET, key: "s.n" }),
    ),
  touching: () =>
    join(
      store(SET, "s.a", "1"),
      packet({ opcode: 0x1c, key: "s.a", extras: u32(100) }),
      packet({ opcode: 0x1c, key: "none", extras: u32(100), opaque: 1 }),
      packet({ opcode: 0x1d, key: "s.a", extras: u32(100) }),
      packet({ opcode: 0x1d, key: "none", extras: u32(100) }),
      packet({ opcode: 0x23, key: "s.a", extras: u32(100) }),
      packet({ opcode: 0x23, key: "none", extras: u32(100) }),
      store(SET, "s.p", "1", { extras: u32(1, 2592001) }),
      packet({ opcode: GET, key: "s.p" }),
      store(SET, "s.f", "1", { extras: u32(1, 0xffffffff) }),
      packet({ opcode: GET, key: "s.f" }),
    ),
  others: () =>
    join(
      packet({ opcode: 0x0b, opaque: 9 }),
      packet({ opcode: 0x0a, opaque: 10 }),
      packet({ opcode: 0x1b }),
      packet({ opcode: 0x77 }),
      packet({ opcode: 0x20 }),
      packet({ opcode: 0x21, key: "PLAIN" }),
      packet({ opcode: 0x10, key: "nonsense" }),
      packet({ opcode: 0x08, extras: u32(0) }),
      packet({ opcode: 0x08 }),
    ),
  "a value that is too large": () =>
    join(
      store(SET, "s.a", "1"),
      packet({ opcode: APPEND, key: "s.a", value: "x".repeat(1048576) }),
      packet({ opcode: GET, key: "s.a" }),
      store(ADD, "s.a", "x".repeat(1048576)),
      packet({ opcode: GET, key: "s.a" }),
      store(0x11, "s.a", "x".repeat(1048576)),
      packet({ opcode: GET, key: "s.a" }),
    ),
  "quit with more behind it": () => join(packet({ opcode: 0x07, opaque: 5 }), packet({ opcode: 0x0b })),
  "quiet quit": () => join(packet({ opcode: 0x0b }), packet({ opcode: 0x17, opaque: 5 })),
  "no magic": () => join(packet({ opcode: GETQ, key: "none" }), packet({ opcode: 0x0b, lie: { magic: 0x81 } })),
  "text after binary": () => join(packet({ opcode: GETQ, key: "none" }), Buffer.from(`get s.a${" ".repeat(40)}\r\n`)),
  "a key that is too long": () => packet({ opcode: GET, key: K251 }),
  "a body shorter than its parts": () => packet({ opcode: GET, key: "s.a", lie: { body: 1 } }),
  "a get without a key": () => packet({ opcode: GET }),
  "a get with extras": () => packet({ opcode: GET, key: "s.a", extras: u32(0) }),
  "a set without extras": () => packet({ opcode: SET, key: "s.a", value: "xxxxxxxx" }),
  "a delete with extras": () => packet({ opcode: DELETE, key: "s.a", extras: u32(0) }),
  "an increment without extras": () => packet({ opcode: INCR, key: "s.a" }),
  "a noop with a body": () => packet({ opcode: 0x0a, value: "x" }),
  "a version with a key": () => packet({ opcode: 0x0b, key: "x" }),
  "a flush with a key": () => packet({ opcode: 0x08, key: "x" }),
  "a touch without extras": () => packet({ opcode: 0x1c, key: "s.a" }),
};
