import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { newNodeId } from "../../src/core/ids.js";
import { connectPgSimple } from "../../src/presets/connect-pg-simple.js";
import { startPostgres } from "../../src/servers/index.js";
import { openPostgresLegacy } from "../../src/stores/postgres.js";
import { legacyStoreContract } from "../contract/legacy-store.js";
import { TABLE } from "./postgres-support.js";

for (const preparedStatements of [false, true]) {
  legacyStoreContract(`PostgreSQL ${preparedStatements ? "with" : "without"} prepared statements`, async () => {
    const server = await startPostgres();
    const admin = new pg.Client(server.url);
    await admin.connect();
    await admin.query(TABLE);
    await admin.end();
    return {
      open: () =>
        openPostgresLegacy({
          url: server.url,
          preset: connectPgSimple,
          node: newNodeId(),
          connections: 3,
          deadline: 5_000,
          preparedStatements,
        }),
      flags: 0,
      binary: false,
      pass: (milliseconds) => delay(milliseconds),
      stop: () => server.stop(),
    };
  });
}
