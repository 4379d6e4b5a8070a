import { connectMemcached } from "../../src/presets/connect-memcached.js";
import { startMemcached } from "../../src/servers/index.js";
import { type MemcachedLegacyStore, openMemcachedLegacy } from "../../src/stores/memcached/store.js";
import { LINES } from "./hostile.js";
import { SECRETS } from "./judge.js";
import { legacyVerbs, SID, session } from "./legacy-verbs.js";
import { said, suffers } from "./suffering.js";

const DEADLINE = 150;

/** What memcached says, also where it says it to nobody. */
const DIALECT = [
  "HD\r\n",
  "EN\r\n",
  "NF\r\n",
  "VA 5 t30 f0\r\nhello\r\n",
  `VA 5 t30 f0\r\n${SECRETS.value}\r\n`,
  "VA 99999999999 t30\r\n",
  "VA 400000000 t30\r\n",
  "VA -1 t30\r\n",
  "VA x\r\n",
  "VA 3 tx fy\r\nabc\r\n",
  "HD cx\r\n",
  "HD s s s\r\n",
  "STAT pid 1\r\n",
  "STAT time x\r\n",
  "END\r\n",
  "END\r\nEND\r\n",
  "VERSION 1.6.40\r\n",
  "VERSION 1.2\r\n",
  "ERROR\r\n",
  `CLIENT_ERROR bad ${SECRETS.sid}\r\n`,
  `SERVER_ERROR out of memory ${SECRETS.value}\r\n`,
  `${SECRETS.value}\r\n`,
  "key=connect%3A exp=-1\r\n",
  `ey=${SECRETS.sid} exp=-1\r\n`,
  "BUSY currently processing crawler request\r\n",
  "\r\n",
  "\n",
  "\0",
];

suffers<MemcachedLegacyStore>("memcached's replies, broken on the way", {
  start: startMemcached,
  units: LINES,
  dialect: DIALECT,
  usual: 150,
  open: async (port) =>
    openMemcachedLegacy({
      url: `memcached://127.0.0.1:${port}`,
      preset: connectMemcached,
      connections: 2,
      deadline: DEADLINE,
    }),
  well: (store) => store.set(SID, session(1)),
  verbs: legacyVerbs<MemcachedLegacyStore>(1),
  close: (store) => store.close(),
  // A connection and an answer have a deadline each in what asks twice.
  within: 4 * DEADLINE + 500,
  runs: 120,
  found: [
    [
      "an identity without a start",
      { do: "insert", at: { count: "bytes", from: 17 }, bytes: Buffer.from("HD\r\n") },
      "identity",
      false,
    ],
    ["a refusal that quotes a value", said(`SERVER_ERROR ${SECRETS.value}\r\n`), "get", true],
    ["a refusal that quotes a session id", said(`CLIENT_ERROR ${SECRETS.sid}\r\n`), "describe", false],
    ["a piece of a value where a line begins", said(`${SECRETS.value}\r\n`), "get", true],
    ["a session whose expiry is no number", said("VA 3 tx fy\r\nabc\r\n"), "get", true],
    ["a hit without the value that was asked for", said("HD t30 f0\r\n"), "get", true],
    ["a write that is answered by a value", said("VA 3 t1 f0\r\nabc\r\n"), "set", true],
    ["a length beyond all items", said("VA 99999999999 t30 f0\r\n"), "get", true],
    ["statistics without numbers", said("STAT time x\r\nEND\r\n"), "now", true],
  ],
  floods: [
    ["x", "get"],
    ["STAT a b\r\n", "now"],
    ["STAT a b\r\n", "identity"],
    ["key=connect%3Aa exp=-1\r\n", "list", { before: "key=" }],
    ["k", "list", { before: "key=" }],
  ],
});
