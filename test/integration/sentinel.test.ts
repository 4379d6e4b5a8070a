import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Position } from "../../src/core/phase.js";
import type { Session } from "../../src/core/session.js";
import { findRedis } from "../../src/servers/find.js";
import { runJson } from "../cli/support.js";
import { EXPIRY_STEP } from "../support/history.js";
import { isRunning, until } from "../support/processes.js";
import { SentinelGroup } from "../support/sentinels.js";
import { transpileFile } from "../support/transpile.js";
import { ALL, AWAY, at, BusySite } from "./busy-site.js";
import { processPackage } from "./processes.js";

/** A master lost and replaced, under load: milliseconds until every process serves. */
const FAILOVER = 10_000;

/** Starts such a group, tells its processes, and stays. */
const PARENT = `
import { SentinelGroup } from "../../support/sentinels.js";
const { pids } = await SentinelGroup.start();
process.stdout.write(JSON.stringify(pids) + "\\n");
setInterval(() => {}, 1_000);
`;

const own = { folder: "", remove: () => {} };
beforeAll(() => Object.assign(own, processPackage()));
afterAll(() => own.remove());

let busy: BusySite;
let group: SentinelGroup;
/** What a test has opened, the last first. */
const opened: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0)) await close();
});

async function openAt(position: Position, wait = { open: 0, destroy: 0 }, legacy = "1s"): Promise<void> {
  group = await SentinelGroup.start();
  opened.unshift(() => group.stop());
  busy = await BusySite.open(own.folder, position, {
    servers: { redis: group.master },
    config: { timeouts: { legacy }, redis: { url: group.url, wait } },
  });
  opened.unshift(() => busy.close());
}

/** Kills the master and waits until everybody serves again. */
async function failOver(): Promise<void> {
  const began = Date.now();
  await group.master.kill();
  await until("every process serves", () => busy.allServe(), 30_000);
  expect(Date.now() - began).toBeLessThan(FAILOVER);
  await busy.recovered();
}

/** What is written while no replica hears of it. */
const SESSION: Session = {
  value: Buffer.from('{"late":true}'),
  flags: 0,
  expiresAt: (Math.floor(Date.now() / EXPIRY_STEP) + 720) * EXPIRY_STEP,
};
const WAITING = { open: 1, destroy: 1 };

// A machine whose Redis comes out of a container has no binary for a sentinel.
describe.runIf(findRedis() !== null)("a master that is lost and replaced by Sentinel", () => {
  test("in read-through: no request is lost, and the new master, which may lack the last, is not believed", async () => {
    // Requests are held until the fleet has left Redis behind, which takes some seconds.
    await openAt(at("read-through"), undefined, "10s");
    const { generation } = await busy.site.record();
    await failOver();
    await until("it stands in dual-write under a new generation", async () => {
      const { position, pending, generation: now } = await busy.site.record();
      return position.phase === "dual-write" && pending === null && now !== generation;
    });
    await until("it is armed anew", async () => (await busy.ledger()).some(({ action }) => action === "rearm"));
    busy.expectOnly([]);
    await busy.climb(at("redis-first"));
    await busy.rest();
  });

  const TRUSTING = ALL ? (["redis-first", "full-redis"] as const) : (["redis-first"] as const);

  test.each(TRUSTING)(
    "in %s with WAIT: nothing that was acknowledged is lost, though the replicas were cut off",
    async (phase) => {
      await openAt(at(phase), WAITING);
      await busy.traffic.stop();
      await group.cutReplication();
      const { history } = busy;
      // Nobody reads meanwhile: who reads a write that is on no replica reads what a failover may take back.
      const sids = history.sids.filter((sid) => !history.isFull(sid)).slice(0, 12);
      await Promise.all(
        sids.map((sid, i) =>
          i % 3 === 0 ? history.destroy(busy.serving[i % 2]!, sid) : history.set(busy.serving[i % 2]!, sid, SESSION),
        ),
      );
      // On no replica in time: nobody was told that it is kept.
      expect(history.failures.length).toBeGreaterThanOrEqual(sids.length);
      await failOver();
      expect((await busy.site.record()).position).toEqual(at(phase));
      busy.traffic.start();
      await delay(400);
      await busy.traffic.stop();
      await bringIntoLine();
      await busy.rest();
      busy.expectOnly(AWAY);
    },
  );

  test.each(TRUSTING)(
    "in %s without WAIT: of what came too late for the replicas each write is lost or kept, and nothing else",
    async (phase) => {
      await openAt(at(phase));
      await busy.traffic.stop();
      await delay(300);
      await group.cutReplication();
      const { history } = busy;
      const late = history.sids.slice(0, 10);
      const [member] = busy.serving;
      const before = await Promise.all(late.map((sid) => member!.get(sid)));
      await Promise.all(late.map((sid) => member!.set(sid, SESSION)));
      await failOver();
      const after = await Promise.all(late.map((sid) => member!.get(sid)));
      const values = (session: Session | null) => session?.value.toString() ?? null;
      for (const [i, session] of after.entries()) {
        expect([values(before[i]!), values(SESSION)]).toContain(values(session));
      }
      history.forget(late);
      await bringIntoLine();
      // The traffic goes on with them: what they hold is known to the checker again.
      await Promise.all(late.map((sid) => history.set(member!, sid, SESSION)));
      busy.traffic.start();
      await delay(400);
      await busy.rest();
      busy.expectOnly(AWAY);
    },
  );

  /** As the runbook says: what was drained and then lost in Redis is brought in line with Redis. */
  async function bringIntoLine(): Promise<void> {
    await runJson("check", ["check", "--repair", "--config", busy.configFile()]);
  }

  if (!ALL) return;
  test("in dual-write: nobody notices", async () => {
    await openAt(at("dual-write"));
    await failOver();
    await until("it is armed anew", async () => (await busy.ledger()).some(({ action }) => action === "rearm"));
    busy.expectOnly([]);
    await busy.climb(at("full-redis"));
    await busy.rest();
  });
});

test("nothing of such a group outlives a run that is ended by SIGKILL", async () => {
  const root = join(own.folder, "../../..");
  for (const name of ["sentinels", "redis-cluster", "processes"]) {
    transpileFile(join("test/support", `${name}.ts`), join(root, "test/support", `${name}.js`));
  }
  writeFileSync(join(own.folder, "sentinels.js"), PARENT);
  const run = spawn(process.execPath, [join(own.folder, "sentinels.js")], { stdio: ["ignore", "pipe", "inherit"] });
  const line = await new Promise<string>((resolve) => createInterface({ input: run.stdout }).once("line", resolve));
  const pids: number[] = JSON.parse(line);
  expect(pids.filter(isRunning)).toHaveLength(6);
  run.kill("SIGKILL");
  await until("every process has ended", () => !pids.some(isRunning));
});
