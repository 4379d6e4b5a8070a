import { afterEach, expect, it } from "vitest";
import { findPostgres } from "../../src/servers/find.js";
import { type RunningServer, startPostgres } from "../../src/servers/index.js";
import type { PostgresLegacyStore } from "../../src/stores/postgres.js";
import { baseBackup } from "../support/postgres-backup.js";
import { openStore, sql, TABLE } from "./postgres-support.js";

let server: RunningServer;
let store: PostgresLegacyStore;
afterEach(async () => {
  await store?.close();
  await server?.stop();
});

const session = (n: number) => ({
  value: Buffer.from(`{"n":${n}}`),
  flags: 0,
  expiresAt: Date.now() + 3_600_000,
});
const numberOf = async () => {
  const [row] = await sql<{ xmin: string }>(server.url, "SELECT xmin::text FROM session WHERE sid = 'one'");
  return Number(row!.xmin);
};

// A server from Docker keeps its data where nobody can copy it.
it.runIf((await findPostgres()) !== null)(
  "refuses a token that the server before a failover gave, though the new one gave out the same transaction's number",
  async () => {
    server = await startPostgres();
    await sql(server.url, TABLE);
    store = openStore(server.url);
    const identity = await store.identity();
    await store.set("one", session(1));
    const failOver = await baseBackup(server);
    // The new server burns some numbers while it takes over; the old one's write must lie beyond them.
    for (let i = 0; i < 50; i++) await sql(server.url, "SELECT pg_current_xact_id()");
    await store.set("one", session(2));
    const lost = await numberOf();
    const [token] = await store.tokens(["one"]);

    await failOver();
    expect((await store.now().catch(() => store.now())) > 0).toBe(true);
    expect(await store.identity()).not.toBe(identity);
    for (let next = 0; next < lost - 1; ) {
      const [row] = await sql<{ id: string }>(server.url, "SELECT pg_current_xact_id()::text AS id");
      next = Number(row!.id);
    }
    await store.set("one", session(3));
    expect(await numberOf()).toBe(lost);
    expect(await store.applyIf([{ token: token!, session: session(2) }])).toEqual(["changed"]);
    expect(String((await store.get("one"))?.value)).toBe('{"n":3}');
  },
);
