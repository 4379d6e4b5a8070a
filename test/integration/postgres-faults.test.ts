import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type RunningServer, startPostgres } from "../../src/servers/index.js";
import { ALL, AWAY, at, BusySite, type Toll } from "./busy-site.js";
import { processPackage } from "./processes.js";

const own = { folder: "", remove: () => {} };
beforeAll(() => Object.assign(own, processPackage()));
afterAll(() => own.remove());

let busy: BusySite;
afterEach(() => busy?.close());

/** A client that no setting of this test holds up. */
async function admin({ url }: RunningServer): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: "test" });
  client.on("error", () => {});
  await client.connect();
  await client.query("SET default_transaction_read_only = off; SET default_transaction_isolation = 'read committed'");
  await client.query("SET statement_timeout = 0");
  return client;
}

/** Settings of the whole server, for connections that stand as well. */
async function setting(server: RunningServer, name: string, value: string | null): Promise<void> {
  const client = await admin(server);
  await client.query(value === null ? `ALTER SYSTEM RESET ${name}` : `ALTER SYSTEM SET ${name} = '${value}'`);
  await client.query("SELECT pg_reload_conf()");
  await client.end();
}

/** A foreign transaction that stays open. */
async function holding(server: RunningServer, ...statements: string[]): Promise<() => Promise<void>> {
  const client = await admin(server);
  await client.query("BEGIN");
  for (const statement of statements) await client.query(statement);
  return async () => {
    await client.query("ROLLBACK");
    await client.end();
  };
}

type Lift = () => Promise<unknown>;

interface Fault {
  readonly name: string;
  readonly lasts: number;
  inflict(server: RunningServer): Promise<Lift>;
  /** Where the legacy store is written first, in redis-first, and in full-redis. */
  readonly tolls: readonly [Toll, Toll, Toll];
}

const NOTHING: Toll = {};
const REFUSED = ["LEGACY_REFUSED"];
/** A logout that Redis has and the legacy store refuses. */
const HALF_DONE = [...REFUSED, "OUTCOME_UNKNOWN"];
/** Whether a request's own deadline or that of its wait for a connection comes first is a matter of milliseconds. */
const LATE_ANSWERS = ["OUTCOME_UNKNOWN", "DEADLINE", "LEGACY_UNREACHABLE"];

const FAULTS: readonly Fault[] = [
  {
    name: "a statement timeout that strikes",
    lasts: 700,
    async inflict(server) {
      await setting(server, "statement_timeout", "250ms");
      const release = await holding(server, "LOCK TABLE session IN SHARE ROW EXCLUSIVE MODE");
      return async () => {
        await release();
        await setting(server, "statement_timeout", null);
      };
    },
    tolls: [{ writes: REFUSED, felt: true }, { writes: HALF_DONE, felt: true }, NOTHING],
  },
  {
    name: "rows locked by a foreign transaction for longer than a request may take",
    lasts: 1_500,
    inflict: (server) => holding(server, "SELECT FROM session FOR UPDATE"),
    // The writes that wait hold all connections, so a read that needs the legacy store waits behind them.
    tolls: [
      { reads: LATE_ANSWERS, writes: LATE_ANSWERS, felt: true },
      { reads: LATE_ANSWERS, writes: LATE_ANSWERS },
      NOTHING,
    ],
  },
  {
    name: "foreign transactions that lock the same rows crosswise",
    lasts: 1_000,
    async inflict(server) {
      await setting(server, "deadlock_timeout", "5ms");
      let going = true;
      let deadlocks = 0;
      const clients = await Promise.all([0, 1].map(() => admin(server)));
      const half = (which: number) => `SELECT FROM session WHERE abs(hashtext(sid)) % 2 = ${which} FOR UPDATE`;
      const locking = (async () => {
        while (going) {
          await Promise.all(clients.map((client, i) => client.query(`BEGIN; ${half(i)}`)));
          const met = await Promise.allSettled(clients.map((client, i) => client.query(half(1 - i))));
          for (const answer of met) if (answer.status === "rejected" && answer.reason.code === "40P01") deadlocks++;
          await Promise.all(clients.map((client) => client.query("ROLLBACK")));
          await delay(10);
        }
        await Promise.all(clients.map((client) => client.end()));
      })();
      return async () => {
        going = false;
        await locking;
        await setting(server, "deadlock_timeout", null);
        expect(deadlocks).toBeGreaterThan(0);
      };
    },
    tolls: [{ writes: REFUSED }, { writes: HALF_DONE }, NOTHING],
  },
  {
    name: "serializable transactions by default",
    lasts: 1_000,
    async inflict(server) {
      await setting(server, "default_transaction_isolation", "serializable");
      return () => setting(server, "default_transaction_isolation", null);
    },
    tolls: [{ writes: REFUSED }, { writes: HALF_DONE }, NOTHING],
  },
  {
    name: "no connection left for anybody",
    lasts: 1_200,
    async inflict(server) {
      const hogs: pg.Client[] = [];
      let going = true;
      const cutter = await admin(server);
      const hog = async () => {
        while (going) {
          const client = new pg.Client({ connectionString: server.url, application_name: "hog" });
          client.on("error", () => {});
          await client.connect().then(
            () => hogs.push(client),
            () => delay(5),
          );
        }
      };
      const hogging = [hog(), hog(), hog()];
      await delay(200);
      await cutter.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'sessionferry%'",
      );
      return async () => {
        going = false;
        await Promise.all(hogging);
        await Promise.all([cutter, ...hogs].map((client) => client.end()));
      };
    },
    tolls: [{ reads: AWAY, writes: AWAY, felt: true }, { reads: AWAY, writes: AWAY }, NOTHING],
  },
  {
    name: "a server that is read-only",
    lasts: 700,
    async inflict(server) {
      await setting(server, "default_transaction_read_only", "on");
      return () => setting(server, "default_transaction_read_only", null);
    },
    tolls: [{ writes: REFUSED, felt: true }, { writes: HALF_DONE, felt: true }, NOTHING],
  },
];

const PHASES = ALL
  ? (["dual-write", "read-through", "redis-first", "full-redis"] as const)
  : (["read-through", "redis-first"] as const);

describe("PostgreSQL that answers, and refuses or keeps waiting", () => {
  test.each(PHASES)("in %s: errors where a write needs it, and nothing wrong after", async (phase) => {
    const legacy = await startPostgres({ settings: { synchronous_commit: "on", max_connections: "40" } });
    const config = {
      timeouts: { legacy: "1s" },
      legacy: { preset: "connect-pg-simple", url: legacy.url, connections: 4 },
    };
    busy = await BusySite.open(own.folder, at(phase), { servers: { legacy }, config });
    for (const { name, lasts, inflict, tolls } of FAULTS) {
      const toll = tolls[phase === "redis-first" ? 1 : phase === "full-redis" ? 2 : 0];
      await busy
        .suffer(() => inflict(legacy), ALL ? 2 * lasts : lasts, toll)
        .catch((error: Error) => {
          error.message = `${name}: ${error.message}`;
          throw error;
        });
    }
    await busy.rest();
    expect((await busy.site.record()).position).toEqual(at(phase));
  });
});
