import { newNodeId } from "../../src/core/ids.js";
import { connectPgSimple } from "../../src/presets/connect-pg-simple.js";
import { startPostgres } from "../../src/servers/index.js";
import { openPostgresLegacy, type PostgresLegacyStore } from "../../src/stores/postgres.js";
import { sql, TABLE } from "../stores/postgres-support.js";
import { MESSAGES } from "./hostile.js";
import { SECRETS } from "./judge.js";
import { legacyVerbs, SID, session } from "./legacy-verbs.js";
import { DIALECT, error, message, ready, row } from "./postgres-dialect.js";
import { said, suffers } from "./suffering.js";

const DEADLINE = 200;

suffers<PostgresLegacyStore>("PostgreSQL's replies, broken on the way", {
  start: startPostgres,
  prepare: async (server) => void (await sql(server.url, TABLE)),
  units: MESSAGES,
  dialect: DIALECT,
  usual: 20,
  open: async (port, server) => {
    const url = new URL(server.url);
    url.port = String(port);
    url.password = SECRETS.password;
    return openPostgresLegacy({
      url: url.href,
      preset: connectPgSimple,
      node: newNodeId(),
      connections: 2,
      deadline: DEADLINE,
      slowDeadline: DEADLINE,
    });
  },
  well: (store) => store.set(SID, session(0)),
  verbs: { ...legacyVerbs<PostgresLegacyStore>(0), prune: (store) => store.prune() },
  close: (store) => store.close(),
  within: 4 * DEADLINE + 500,
  runs: 120,
  found: [
    ["a row description that ends too soon ended the process", said(message("T", "\0\u0001name\0")), "drain", true],
    ["a row of less than no fields ended the process", said(row(-1)), "get", true],
    ["an error without an end held the process for ever", said(error("SERROR\0CXX000\0Mno end")), "get", true],
    ["a notice without an end held the process for ever", said(message("N", "SNOTICE\0Mno end")), "set", false],
    ["a question that is answered by nothing at all", said(ready), "touch", true],
    ["a write that is answered without being done", said(ready), "set", true],
    ["an error that holds the client and its password", said("HTTP/1.1 400 Bad Request\r\n\r\n"), "get", false],
    ["a farewell that repeats the password", said(error(`SFATAL\0C57P01\0Mgone ${SECRETS.password}\0\0`)), "get", true],
    [
      "a welcome that does",
      { do: "insert", at: { count: "units", from: 0 }, bytes: error(`SFATAL\0C57P01\0M${SECRETS.password}\0\0`) },
      "get",
      true,
    ],
    ["a message of four gigabytes", said(message("D", "", 0xffffffff)), "get", true],
  ],
  floods: [
    ["x", "get"],
    [message("E", "SERROR\0Mx".padEnd(2_000_000, "x")), "count"],
  ],
});
