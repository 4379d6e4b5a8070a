import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openControl } from "../../src/control/open.js";
import { newNodeId } from "../../src/core/ids.js";
import {
  type ControlChange,
  type ControlStore,
  type NodeReport,
  PROTOCOL_NUMBER,
} from "../../src/ports/control-store.js";
import { findRedis } from "../../src/servers/find.js";
import { type RunningServer, startPostgres, startRedis } from "../../src/servers/index.js";
import { freePort } from "../../src/servers/ports.js";
import { LINES, MESSAGES } from "./hostile.js";
import { SECRETS } from "./judge.js";
import { error, message, DIALECT as POSTGRES, ready, row } from "./postgres-dialect.js";
import { DIALECT as REDIS } from "./redis-dialect.js";
import { FIRST, type Sufferer, said, suffers } from "./suffering.js";

const DEADLINE = 400;
const LEGACY: ControlChange = {
  position: { phase: "legacy", percent: 100 },
  pending: null,
  generation: "0123456789abcdef",
  interrupted: false,
};
const REPORT: NodeReport = {
  ...{ acknowledged: 1, gap: 0, redis: "up", operations: 1, errors: 0, p95: 1 },
  endpoints: [],
};
const NODE = newNodeId();

const VERBS: Record<string, (control: ControlStore) => Promise<unknown>> = {
  setup: (control) => control.setup(LEGACY),
  read: (control) => control.read(),
  compareAndSet: async (control) => control.compareAndSet((await control.read()).revision, LEGACY),
  join: (control) =>
    control.join(
      { id: newNodeId(), role: "job", protocol: PROTOCOL_NUMBER, host: "h", pid: 1, version: "0" },
      { presence: 1_000 },
    ),
  renew: (control) => control.renew(NODE, REPORT, { overdueAfter: 1_000 }),
  nodes: (control) => control.nodes(),
  evict: (control) => control.evict("nobody12"),
  lock: (control) => control.lock("phase", NODE, 1_000),
  unlock: (control) => control.unlock("phase", NODE),
  putDocument: (control) => control.putDocument("note", "one", { of: "it" }),
  getDocument: (control) => control.getDocument("note", "one"),
  listDocuments: (control) => control.listDocuments("note", 10),
  append: (control) => control.append({ by: NODE, action: "check", detail: {} }),
  ledger: (control) => control.ledger(10),
  now: (control) => control.now(),
};

const control = (url: string): Promise<ControlStore> =>
  openControl(url, { migration: "shop", node: NODE, deadline: DEADLINE });

/** What a server says of sessions: nothing of theirs ever comes to a control store, whose errors may be quoted. */
const speech = <T extends string | Buffer>(pieces: readonly T[]): T[] =>
  pieces.filter((piece) => ![SECRETS.sid, SECRETS.value].some((secret) => piece.includes(secret)));

const COMMON: Pick<Sufferer<ControlStore>, "well" | "verbs" | "close" | "within" | "runs"> = {
  well: async (store) => {
    await store.setup(LEGACY);
    await store.read();
  },
  verbs: VERBS,
  close: (store) => store.close(),
  // compareAndSet asks twice here, and a script that is unknown is sent again.
  within: 4 * DEADLINE + 500,
  runs: 40,
};

suffers<ControlStore>("a control store in Redis, its replies broken on the way", {
  ...COMMON,
  start: () => startRedis({ args: ["--requirepass", SECRETS.password] }),
  units: LINES,
  dialect: speech(REDIS),
  usual: 20,
  open: (port) => control(`redis://:${SECRETS.password}@127.0.0.1:${port}`),
  found: [
    ["a record that is none", said("+OK\r\n"), "read", true],
    ["a list where a record belongs", said("*2\r\n:1\r\n$-1\r\n"), "read", true],
    ["room for 33,000,000 elements", said("*33000000\r\n"), "nodes", true],
    ["a time without its parts", said("*0\r\n"), "now", true],
  ],
  floods: [[":1\r\n", "ledger"]],
});

suffers<ControlStore>("a control store in PostgreSQL, its replies broken on the way", {
  ...COMMON,
  start: startPostgres,
  units: MESSAGES,
  dialect: speech(POSTGRES),
  usual: 20,
  open: (port, server) => {
    const url = new URL(server.url);
    url.port = String(port);
    url.password = SECRETS.password;
    return control(url.href);
  },
  found: [
    ["a question that is answered by nothing at all", said(ready), "read", true],
    ["a row of less than no fields", said(row(-1)), "nodes", true],
    ["an error without an end", said(error("SERROR\0CXX000\0Mno end")), "renew", true],
    ["a message of four gigabytes", said(message("D", "", 0xffffffff)), "ledger", true],
    [
      "a question of the log-in that nobody began, told when the driver had logged in, ended the process",
      { do: "insert", at: FIRST, bytes: message("R", "\0\0\0\u000bxx") },
      "read",
      false,
    ],
  ],
  floods: [["x", "read"]],
});

/** A sentinel over a Redis of its own; the server is the sentinel, whose replies are broken. */
async function sentinel(): Promise<RunningServer> {
  const redis = await startRedis();
  const folder = mkdtempSync(join(tmpdir(), "sentinel-"));
  const port = await freePort();
  const config = join(folder, "sentinel.conf");
  writeFileSync(
    config,
    `port ${port}\nbind 127.0.0.1\ndir ${folder}\nsentinel monitor shop 127.0.0.1 ${redis.port} 1\n`,
  );
  const child: ChildProcess = spawn(findRedis()!, [config, "--sentinel"], { stdio: "ignore" });
  return {
    ...redis,
    port,
    url: `redis-sentinel://127.0.0.1:${port}/shop`,
    stop: async () => {
      child.kill("SIGKILL");
      if (child.exitCode === null) await once(child, "exit");
      await redis.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

// A machine whose Redis comes out of a container has no binary for a sentinel.
if (findRedis() !== null) {
  suffers<ControlStore>("a Sentinel group, its replies broken on the way", {
    ...COMMON,
    start: sentinel,
    units: LINES,
    dialect: speech(REDIS),
    usual: 30,
    open: (port) => control(`redis-sentinel://127.0.0.1:${port}/shop`),
    found: [
      ["a null that nobody asked for ended the process", said("$-1\r\n$-1\r\n$-1\r\n"), "read", false],
      ["room for 33,000,000 elements", said("*33000000\r\n"), "read", false],
      ["a master without a port", said("*1\r\n$9\r\n127.0.0.1\r\n*0\r\n"), "read", false],
      ["a master at no address", said("*2\r\n$-1\r\n$1\r\nx\r\n*0\r\n"), "read", false],
      ["sentinels that are no lists", said("*2\r\n$9\r\n127.0.0.1\r\n$1\r\n1\r\n*1\r\n:1\r\n"), "read", false],
    ],
    floods: [],
  });
}
