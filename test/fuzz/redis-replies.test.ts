import { IdSource, newNodeId } from "../../src/core/ids.js";
import type { Sid } from "../../src/core/session.js";
import { NO_FENCE } from "../../src/ports/fence.js";
import type { RedisRecords } from "../../src/ports/redis-records.js";
import { type RunningServer, startRedis } from "../../src/servers/index.js";
import { openRedisRecords } from "../../src/stores/redis/index.js";
import { LINES } from "./hostile.js";
import { SECRETS } from "./judge.js";
import { DIALECT } from "./redis-dialect.js";
import { FIRST, said, suffers } from "./suffering.js";

const DEADLINE = 150;
const GENERATION = "0123456789abcdef";
const SID = `sid-${SECRETS.sid}`;
const ids = new IdSource(newNodeId());
const session = () => ({
  value: Buffer.from(JSON.stringify({ cookie: {}, user: SECRETS.value })),
  flags: 0,
  expiresAt: Date.now() + 3_600_000,
});

async function open(port: number): Promise<RedisRecords> {
  const records = await openRedisRecords({
    url: `redis://:${SECRETS.password}@127.0.0.1:${port}`,
    prefix: "sess:",
    migration: "shop",
    node: newNodeId(),
    fence: NO_FENCE,
    deadlines: { call: DEADLINE, batch: DEADLINE, connect: DEADLINE, stall: DEADLINE, open: DEADLINE },
  });
  records.generation = GENERATION;
  return records;
}

async function all(pages: AsyncIterable<unknown[]>): Promise<number> {
  let count = 0;
  for await (const page of pages) count += page.length;
  return count;
}

const other: Sid = `${SID}-2`;

const VERBS: Record<string, (records: RedisRecords) => Promise<unknown>> = {
  read: (records) => records.read(SID, ids.next()),
  readAlone: (records) => records.readAlone(SID),
  readMany: (records) => records.readMany([SID, other], [ids.next(), ids.next()]),
  leaseMany: (records) => records.leaseMany([SID, other], [ids.next(), ids.next()]),
  write: async (records) => {
    const intent = ids.next();
    if ((await records.open(other, intent, "L", session(), ids.next())) === "L") {
      await records.close(other, intent, { kind: "value", session: session() });
    }
  },
  openIf: (records) =>
    records.openIf(other, ids.next(), "R", { verb: "touch", expiresAt: Date.now() + 60_000 }, null, true, ids.next()),
  fill: (records) => records.fill(other, ids.next(), session()),
  fillMany: (records) => records.fillMany([{ sid: other, lease: ids.next(), session: null }]),
  mark: (records) => records.mark([other]),
  dirtyRecords: (records) => records.dirtyRecords([SID, other]),
  dirtySids: (records) => records.dirtySids(10),
  dirtyState: (records) => records.dirtyState(),
  view: (records) => records.view([SID, other]),
  setAlone: (records) => records.setAlone(SID, session()),
  touchAlone: (records) => records.touchAlone(SID, Date.now() + 60_000),
  destroyAlone: (records) => records.destroyAlone(other),
  listRecords: (records) => all(records.listRecords({ pageSize: 10 })),
  listIntents: (records) => all(records.listIntents({ pageSize: 10 })),
  clearMarks: (records) => records.clearMarks(),
  seal: (records) => records.seal(),
  facts: (records) => records.facts(),
  disconnect: (records) => records.disconnectNode("nobody12"),
  ping: (records) => records.ping(),
};

suffers<RedisRecords>("Redis' replies, broken on the way", {
  start: () => startRedis({ args: ["--requirepass", SECRETS.password] }),
  prepare: async (server: RunningServer) => {
    const records = await open(server.port);
    await records.arm(GENERATION, "active");
    await records.setAlone(SID, session());
    await records.end();
  },
  units: LINES,
  dialect: DIALECT,
  usual: 200,
  open,
  well: (records) => records.readAlone(SID),
  verbs: VERBS,
  close: (records) => records.end(),
  // A listing goes on for as many pages as there are.
  within: 6 * DEADLINE + 500,
  runs: 120,
  found: [
    [
      "a null that nobody asked for ended the process",
      { do: "insert", at: FIRST, bytes: Buffer.from("$-1\r\n$-1\r\n$-1\r\n") },
      "read",
      true,
    ],
    [
      "room for 33,000,000 elements in a line of eleven bytes",
      said("*1\r\n*33000000\r\n*33000000\r\n*33000000\r\n"),
      "view",
      true,
    ],
    ["a number where a list belongs", said(":1\r\n"), "readMany", true],
    ["a mode that there is not", said("+OK\r\n"), "write", true],
    ["a list where a number belongs", said("*0\r\n"), "dirtyState", true],
    ["a page without a cursor", said("*1\r\n$-1\r\n"), "listRecords", true],
    ["a session whose expiry is no number", said("*1\r\n*3\r\n$1\r\nV\r\n$1\r\nx\r\n$1\r\nx\r\n"), "readMany", true],
    [
      "a script that is unknown even when it is told",
      said("-NOSCRIPT no script\r\n-NOSCRIPT no script\r\n"),
      "fill",
      true,
    ],
  ],
  floods: [
    ["x", "read"],
    ["+", "ping"],
    [":1\r\n", "view"],
  ],
});
