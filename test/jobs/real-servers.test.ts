import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import Memcached from "memcached";
import pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { loadConfig } from "../../src/config.js";
import type { Config } from "../../src/core/config.js";
import type { Position } from "../../src/core/phase.js";
import { runBackfill } from "../../src/jobs/backfill.js";
import { backfillStatus, readCheckpoint } from "../../src/jobs/backfill-desk.js";
import { type CheckOptions, runCheck } from "../../src/jobs/check.js";
import type { NodeRole } from "../../src/ports/control-store.js";
import { systemClock } from "../../src/runtime/clock.js";
import { FerryNode } from "../../src/runtime/node.js";
import { openVisitor } from "../../src/runtime/visitor.js";
import { type RunningServer, startMemcached, startPostgres, startRedis } from "../../src/servers/index.js";
import { openMemcachedWitness } from "../../src/stores/witness-memcached.js";
import { openPostgresWitness } from "../../src/stores/witness-postgres.js";
import { openRedisWitness } from "../../src/stores/witness-redis.js";
import { readStanding } from "../../src/workflow/evidence.js";
import { until } from "../support/processes.js";
import { transpiledPackage } from "../support/processes-of-src.js";

const DUAL: Position = { phase: "dual-write", percent: 100 };
const GENERATION = "0123456789abcdef";

let postgres: RunningServer;
let redis: RunningServer;
let sql: pg.Pool;
beforeAll(async () => {
  [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
  sql = new pg.Pool({ connectionString: postgres.url, max: 2 });
  sql.on("error", () => {});
});
afterAll(async () => {
  await sql?.end();
  await Promise.all([postgres?.stop(), redis?.stop()]);
});

/** The configuration of a migration of its own on the shared servers, standing at a position. */
async function migrationAt(position: Position): Promise<Config> {
  const name = `m${randomBytes(4).toString("hex")}`;
  await sql.query(
    `CREATE TABLE ${name} (sid varchar NOT NULL PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL)`,
  );
  const config = loadConfig({
    env: {},
    config: {
      migration: name,
      legacy: { preset: "connect-pg-simple", url: postgres.url, table: name },
      redis: { url: redis.url, prefix: `${name}:` },
    },
  });
  await arm(config, position);
  return config;
}

/** Sets a migration up at a position, with an R that is armed. */
async function arm(config: Config, position: Position): Promise<void> {
  const visitor = await openVisitor(config);
  await visitor.control.setup({ position, pending: null, generation: GENERATION, interrupted: false });
  visitor.records.generation = GENERATION;
  await visitor.records.arm(GENERATION, "active");
  await visitor.close();
}

/** Live sessions, inserted as an application's database would have them: not by our code. */
async function insert(config: Config, count: number): Promise<void> {
  await sql.query(
    `INSERT INTO ${config.legacy.table}
     SELECT encode(sha256(n::text::bytea), 'hex'),
            json_build_object('cookie', json_build_object('originalMaxAge', 3600000), 'user', n, 'note', repeat('x', 300)),
            now() + interval '1 hour' + n * interval '1 ms'
     FROM generate_series(1, $1) AS n`,
    [count],
  );
}

async function withNode<T>(config: Config, use: (node: FerryNode) => Promise<T>, role: NodeRole = "job"): Promise<T> {
  const node = await FerryNode.open(config, { role });
  try {
    return await use(node);
  } finally {
    await node.close();
  }
}
const depsOf = (node: FerryNode) => ({
  legacy: node.legacy,
  records: node.records,
  control: node.control,
  copier: node.ferry,
  ids: node.ctx.ids,
  clock: systemClock,
});
const check = (config: Config, node: FerryNode, over: Partial<CheckOptions> = {}) => {
  const witnesses = {
    legacy: openPostgresWitness({ url: postgres.url, table: config.legacy.table!, timeout: 5_000 }),
    redis: openRedisWitness({ url: redis.url, prefix: config.redis.prefix!, timeout: 5_000 }),
  };
  const options = { sample: null, batch: 200, concurrency: 4, limits: config.gates, by: "test", ...over };
  return runCheck({ ...depsOf(node), witnesses }, options).finally(() =>
    Promise.all([witnesses.legacy.close(), witnesses.redis.close()]),
  );
};

describe("a backfill in a process of its own", () => {
  const own = { path: "", remove: () => {} };
  beforeAll(() => {
    Object.assign(own, transpiledPackage());
    writeFileSync(
      join(own.path, "backfill.mjs"),
      `import { FerryNode } from "./src/runtime/node.js";
       import { systemClock } from "./src/runtime/clock.js";
       import { runBackfill } from "./src/jobs/backfill.js";
       const node = await FerryNode.open(JSON.parse(process.argv[2]), { role: "job" });
       const { legacy, control, ferry: copier } = node;
       const tell = (progress) => process.stdout.write(JSON.stringify(progress) + "\\n");
       tell(await runBackfill({ legacy, control, copier, clock: systemClock },
         { batch: 100, concurrency: 2, rate: 4000, by: "child", onProgress: tell }));
       await node.close();`,
    );
  });
  afterAll(() => own.remove());

  test("is killed with SIGKILL, and the next one goes on from its checkpoint", async () => {
    const config = await migrationAt(DUAL);
    await insert(config, 20_000);
    const child = spawn(process.execPath, [join(own.path, "backfill.mjs"), JSON.stringify(config)], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stderr = "";
    let done = 0;
    child.stderr.on("data", (text) => {
      stderr += text;
    });
    child.stdout.on("data", (text: Buffer) => {
      for (const line of text.toString().trim().split("\n")) {
        try {
          done = (JSON.parse(line) as { done: number }).done;
        } catch {}
      }
    });
    const exited = new Promise<NodeJS.Signals | null>((resolve) => child.once("exit", (_, signal) => resolve(signal)));
    await withNode(config, async (node) => {
      await until("half of it is copied", () => done >= 10_000 || child.exitCode !== null, 30_000);
      child.kill("SIGKILL");
      expect(await exited).toBe("SIGKILL");
      expect(stderr).toBe("");
      const left = await readCheckpoint(node.control);
      expect(left).toMatchObject({ state: "running", cursor: expect.any(String) });

      const options = { batch: 200, concurrency: 4, rate: 0, by: "test" };
      await expect(runBackfill(depsOf(node), options)).rejects.toMatchObject({ code: "HELD" });
      await delay(left!.updatedAt + 15_500 - (await node.control.now()));
      expect((await backfillStatus(node.control)).alive).toBe(false);
      const result = await runBackfill(depsOf(node), options);
      expect(result).toMatchObject({ state: "complete", resumed: true, failed: 0 });
      expect(result.copied + result.hit).toBeGreaterThanOrEqual(20_000);

      const proof = await check(config, node);
      expect(proof.counts).toMatchObject({ equal: 20_000, copied: 0, missing: 0 });
      expect(proof).toMatchObject({ clean: true, evidence: true, whyNot: [], witness: { agreed: 200 } });
      expect((await readStanding(node.control)).full?.id).toBe(proof.id);
    });
  });
});

describe("over PostgreSQL and Redis", () => {
  let config: Config;
  beforeEach(async () => {
    config = await migrationAt(DUAL);
    await insert(config, 2_000);
  });

  test("a backfill waits while Redis is away, and while PostgreSQL is", async () => {
    const servers = [redis, postgres];
    for (const server of servers) {
      await withNode(config, async (node) => {
        let paused = false;
        const result = await runBackfill(depsOf(node), {
          batch: 50,
          concurrency: 2,
          rate: 1_000,
          force: true,
          by: "test",
          onProgress: ({ done }) => {
            if (paused || done < 500) return;
            paused = true;
            server.pause();
            setTimeout(() => server.resume(), 4_000);
          },
        });
        expect(paused).toBe(true);
        expect(result).toMatchObject({ state: "complete", failed: 0, copied: 2_000 });
      });
    }
    await withNode(config, async (node) => expect(await check(config, node)).toMatchObject({ clean: true }));
  });

  test("a check under live traffic raises no alarm; what bypasses us it finds and repairs", async () => {
    await withNode(config, async (node) => {
      await runBackfill(depsOf(node), { batch: 200, concurrency: 4, rate: 0, by: "test" });
      const { rows } = await sql.query<{ sid: string }>(`SELECT sid FROM ${config.legacy.table} ORDER BY random()`);
      const hot = rows.slice(0, 300).map(({ sid }) => sid);
      let going = true;
      let writes = 0;
      const traffic = [0, 1, 2, 3].map(async (user) => {
        while (going) {
          const sid = hot[Math.floor(Math.random() * hot.length)]!;
          const expiresAt = Date.now() + 3_600_000;
          const value = Buffer.from(JSON.stringify({ cookie: {}, user, n: writes++ }));
          const verb = Math.random();
          if (verb < 0.6) await node.ferry.set(sid, { value, flags: 0, expiresAt });
          else if (verb < 0.9) await node.ferry.touch(sid, expiresAt);
          else await node.ferry.destroy(sid);
        }
      });
      const calm = [await check(config, node), await check(config, node), await check(config, node, { sample: 300 })];
      going = false;
      await Promise.all(traffic);
      expect(writes).toBeGreaterThan(200);
      for (const result of calm) expect(result).toMatchObject({ clean: true, findings: [], planted: { found: 5 } });

      const cold = rows.slice(300, 306).map(({ sid }) => sid);
      const { table } = config.legacy;
      await sql.query(`UPDATE ${table} SET sess = '{"user":0}' WHERE sid = $1`, [cold[0]]);
      await sql.query(`UPDATE ${table} SET expire = expire + interval '5 s' WHERE sid = $1`, [cold[1]]);
      await sql.query(`DELETE FROM ${table} WHERE sid = $1`, [cold[2]]);
      const found = await check(config, node);
      expect(found.counts).toMatchObject({ mismatched: 1, expiry: 1, resurrected: 1 });
      expect(found.examples.expiry?.[0]?.laterBy).toBe(-5_000);
      expect(found.examples.mismatched?.[0]?.paths).toEqual(["cookie", "note", "user"]);
      await check(config, node, { repair: { toward: "legacy" } });
      expect(await check(config, node)).toMatchObject({ clean: true, evidence: true });
      const planted = await sql.query(`SELECT 1 FROM ${table} WHERE sid LIKE 'sessionferry-planted-%'`);
      expect(planted.rowCount).toBe(0);
    });
  });

  test("where Redis is the authority, changes on their way are no faults, and repair brings the rest to PostgreSQL", async () => {
    const first = await migrationAt({ phase: "redis-first", percent: 100 });
    await insert(first, 500);
    await withNode(
      first,
      async (node) => {
        await runBackfill(depsOf(node), { batch: 200, concurrency: 4, rate: 0, by: "test" });
        const { rows } = await sql.query<{ sid: string }>(`SELECT sid FROM ${first.legacy.table}`);
        let going = true;
        const traffic = [0, 1].map(async (user) => {
          for (let n = 0; going; n++) {
            const { sid } = rows[Math.floor(Math.random() * 100)]!;
            const value = Buffer.from(JSON.stringify({ cookie: {}, user, n }));
            if (n % 10 === 9) await node.ferry.destroy(sid);
            else await node.ferry.set(sid, { value, flags: 0, expiresAt: Date.now() + 3_600_000 });
          }
        });
        const calm = await check(first, node);
        going = false;
        await Promise.all(traffic);
        expect(calm).toMatchObject({ clean: true, findings: [], planted: { found: 5 }, authority: { L: 0 } });

        const cold = rows.slice(200, 203).map(({ sid }) => sid);
        await sql.query(`UPDATE ${first.legacy.table} SET sess = '{"user":0}' WHERE sid = $1`, [cold[0]]);
        await sql.query(`DELETE FROM ${first.legacy.table} WHERE sid = $1`, [cold[1]]);
        expect((await check(first, node, { repair: { toward: null } })).repaired).toEqual({
          mismatched: { done: 1, failed: 0 },
          behind: { done: 1, failed: 0 },
        });
        const mended = await sql.query<{ sess: { user: number } }>(
          `SELECT sess FROM ${first.legacy.table} WHERE sid = ANY($1)`,
          [cold.slice(0, 2)],
        );
        expect(mended.rows.map(({ sess }) => sess.user > 0)).toEqual([true, true]);
        await until("all is drained", async () => (await node.records.dirtyState()).count === 0);
        expect(await check(first, node)).toMatchObject({ clean: true, evidence: true, whyNot: [] });
      },
      "app",
    );
  });
});

describe("over memcached and Redis", () => {
  let memcached: RunningServer;
  let config: Config;
  let plain: Memcached;
  beforeAll(async () => {
    memcached = await startMemcached();
    plain = new Memcached(`${memcached.host}:${memcached.port}`);
    const name = `m${randomBytes(4).toString("hex")}`;
    config = loadConfig({
      env: {},
      config: {
        migration: name,
        legacy: { preset: "connect-memcached", url: `memcached://${memcached.host}:${memcached.port}` },
        redis: { url: redis.url, prefix: `${name}:` },
        control: { url: postgres.url },
      },
    });
    await arm(config, DUAL);
  });
  afterAll(async () => {
    plain?.end();
    await memcached?.stop();
  });
  const store = (sid: string, value: unknown, life = 3_600) =>
    new Promise<void>((resolve, reject) => plain.set(sid, value, life, (error) => (error ? reject(error) : resolve())));
  const forget = (sid: string) =>
    new Promise<void>((resolve, reject) => plain.del(sid, (error) => (error ? reject(error) : resolve())));
  const checkThere = async (node: FerryNode, over: Partial<CheckOptions> = {}) => {
    const { url } = config.legacy;
    const witnesses = {
      legacy: await openMemcachedWitness({ url, prefix: "", distribution: "ketama", timeout: 5_000 }),
      redis: openRedisWitness({ url: redis.url, prefix: config.redis.prefix!, timeout: 5_000 }),
    };
    const flags = node.ferry.defaults?.flags ?? 0;
    const options = { sample: null, batch: 200, concurrency: 4, limits: config.gates, flags, by: "test", ...over };
    return runCheck({ ...depsOf(node), witnesses }, options).finally(() =>
      Promise.all([witnesses.legacy.close(), witnesses.redis.close()]),
    );
  };

  test("what memcached forgets is no fault and stays in Redis; what differs is found", async () => {
    const sids = Array.from({ length: 400 }, () => randomBytes(24).toString("base64url"));
    for (const [user, sid] of sids.entries()) await store(sid, { cookie: { originalMaxAge: 3_600_000 }, user });
    await withNode(config, async (node) => {
      const options = { batch: 100, concurrency: 2, rate: 0, by: "test" };
      expect(await runBackfill(depsOf(node), options)).toMatchObject({ state: "complete", copied: 400, failed: 0 });
      const first = await checkThere(node);
      expect(first.counts).toMatchObject({ equal: 400 });
      expect(first).toMatchObject({ clean: true, evidence: true, whyNot: [], lossy: true, witness: { agreed: 200 } });

      await forget(sids[0]!);
      await store(sids[1]!, { cookie: {}, user: 99 });
      await store(sids[2]!, { cookie: { originalMaxAge: 3_600_000 }, user: 2 }, 3_700);
      const second = await checkThere(node, { repair: { toward: null } });
      expect(second.counts).toMatchObject({ equal: 397, extra: 1, mismatched: 1, expiry: 1 });
      expect((await node.records.view([sids[0]!]))[0]?.session).not.toBeNull();
      const third = await checkThere(node);
      expect(third.counts).toMatchObject({ equal: 399, extra: 1 });
      expect(third).toMatchObject({ clean: true, evidence: true });
    });
  });
});
