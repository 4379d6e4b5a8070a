import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { PhaseName, Position } from "../../src/core/phase.js";
import type { LedgerEntry } from "../../src/ports/control-store.js";
import { History, type Member } from "../support/history.js";
import { seeded, Traffic } from "../support/history-traffic.js";
import { until } from "../support/processes.js";
import { MemberProcess, processPackage, walkAndDie } from "./processes.js";
import { LEGACY, Site, type SiteOptions, verdict } from "./site.js";

const at = (phase: PhaseName, percent = 100): Position => ({ phase, percent });
const POSITIONS = [LEGACY, at("dual-write"), at("read-through"), at("redis-first"), at("full-redis")];

/** What a request may end with while a store is away; anything else is a defect. */
const AWAY = ["REDIS_UNREACHABLE", "REDIS_LOST", "LEGACY_UNREACHABLE", "OUTCOME_UNKNOWN", "DEADLINE"];

/** A node is taken for dead five seconds after its longest command: the shorter that is, the sooner. */
const SOON = { config: { timeouts: { legacy: "1s" } } };

const own = { folder: "", remove: () => {} };
beforeAll(() => Object.assign(own, processPackage()));
afterAll(() => own.remove());

let site: Site;
const processes: MemberProcess[] = [];
let traffic: Traffic;
let history: History;
let folder: string;
afterEach(async () => {
  await traffic?.stop();
  await Promise.all(processes.splice(0).map((process) => process.close()));
  await site?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A site at a position, with two nodes and so many processes of their own, under traffic. */
async function busySite(
  position: Position,
  { children = 0, ...options }: Partial<SiteOptions> & { children?: number } = {},
): Promise<Member[]> {
  folder = mkdtempSync(join(tmpdir(), "sessionferry-faults-"));
  site = await Site.open({ legacy: "postgres", control: "legacy", redisFolder: folder, ...options });
  const members: Member[] = [(await site.join()).ferry, (await site.join()).ferry];
  for (let i = 0; i < children; i++) processes.push(await MemberProcess.start(own.folder, site.config));
  members.push(...processes);
  history = new History();
  const open = () => members.filter((member) => !(member instanceof MemberProcess) || (member.alive && !member.frozen));
  traffic = new Traffic(history, open, { users: 8, hot: 20, pause: 12, random: seeded(7) });
  await climb(position);
  await traffic.plant(20);
  traffic.start();
  await delay(300);
  return members;
}

async function climb(to: Position): Promise<void> {
  for (const step of POSITIONS.slice(1)) {
    const { position } = await site.record();
    if (POSITIONS.findIndex((p) => p.phase === step.phase) <= POSITIONS.findIndex((p) => p.phase === position.phase)) {
      continue;
    }
    if (POSITIONS.findIndex((p) => p.phase === step.phase) > POSITIONS.findIndex((p) => p.phase === to.phase)) return;
    await site.moveTo(step);
  }
}

const ledger = (): Promise<LedgerEntry[]> => site.look(({ control }) => control.ledger(50));
const rest = async (members: readonly Member[]) => {
  await traffic.stop();
  expect(await verdict(site, history, members)).toEqual([]);
};
const expectOnly = (codes: readonly string[]) => {
  expect(history.failures.filter(({ code }) => !codes.includes(code))).toEqual([]);
};

describe("Redis", () => {
  test("killed and restarted empty in dual-write: nobody notices, and it is armed anew", async () => {
    const members = await busySite(at("dual-write"));
    const before = await site.record();
    history.slowest = 0;
    await site.redis.kill();
    await delay(1_500);
    await site.emptyRedis();
    await until("it is armed anew", async () => (await ledger()).some(({ action }) => action === "rearm"));
    await delay(300);
    expectOnly([]);
    expect(history.slowest).toBeLessThan(1_500);
    expect((await site.record()).generation).not.toBe(before.generation);
    await climb(at("redis-first"));
    await rest(members);
  });

  test("killed in read-through: the fleet goes back to dual-write by itself, and no request fails", async () => {
    const members = await busySite(at("read-through"));
    const killed = Date.now();
    await site.redis.kill();
    await until("it stands in dual-write", async () => {
      const { position, pending } = await site.record();
      return position.phase === "dual-write" && pending === null;
    });
    expect(Date.now() - killed).toBeLessThan(8_000);
    await delay(500);
    expectOnly([]);
    await site.emptyRedis();
    await until("it is armed anew", async () => (await ledger()).some(({ action }) => action === "rearm"));
    await climb(at("read-through"));
    await rest(members);
    expectOnly([]);
  });

  test("gone for good together with a process: the way back to legacy is open", async () => {
    const members = await busySite(at("dual-write"), { children: 1, ...SOON });
    await Promise.all([site.redis.kill(), processes[0]!.kill()]);
    await delay(500);
    await site.moveTo(LEGACY);
    expectOnly(["cut-off"]);
    await site.emptyRedis();
    await climb(at("read-through"));
    await rest(members.slice(0, 2));
    expectOnly(["cut-off"]);
  });

  test("hanging for 3 s in dual-write: requests go on with a bounded delay", async () => {
    const members = await busySite(at("dual-write"));
    history.slowest = 0;
    site.redis.pause();
    await delay(3_000);
    site.redis.resume();
    await delay(500);
    expectOnly([]);
    expect(history.slowest).toBeLessThan(1_500);
    await climb(at("read-through"));
    await rest(members);
  });

  test("out of memory in dual-write: requests go on, and it catches up when there is room", async () => {
    const members = await busySite(at("dual-write"));
    const admin = new Redis(site.redis.url);
    await admin.config("SET", "maxmemory", "1");
    await delay(1_500);
    await admin.config("SET", "maxmemory", "0");
    await admin.quit();
    await delay(500);
    expectOnly([]);
    await climb(at("read-through"));
    await rest(members);
    expectOnly([]);
  });

  test("killed and restarted with its data in redis-first: the site goes on where it was", async () => {
    const members = await busySite(at("redis-first"));
    await site.redis.kill();
    await delay(700);
    await site.redis.restart();
    await delay(1_500);
    expectOnly(AWAY);
    const failed = history.failures.length;
    expect((await site.record()).position).toEqual(at("redis-first"));
    await delay(500);
    expect(history.failures.length).toBe(failed);
    await rest(members);
  });
});

describe("the legacy store", () => {
  test("PostgreSQL killed and restarted in every phase: errors while it is away, nothing wrong after", async () => {
    const members = await busySite(LEGACY);
    for (const position of POSITIONS) {
      await climb(position);
      await site.legacy.kill();
      await delay(400);
      await site.legacy.restart();
      await delay(2_500);
      expectOnly([...AWAY, "CONTROL_UNREACHABLE"]);
    }
    await rest(members);
  });
});

describe("the control store", () => {
  test("away: transitions stop, and nothing else", async () => {
    const members = await busySite(at("read-through"), { control: "postgres" });
    await site.control.kill();
    await expect(site.moveTo(at("redis-first"))).rejects.toMatchObject({ code: "CONTROL_UNREACHABLE" });
    await delay(2_000);
    await site.control.restart();
    await delay(1_000);
    expectOnly([]);
    await climb(at("redis-first"));
    await rest(members);
  });
});

describe("processes", () => {
  test("killed in the middle of a write: they are fenced off, and what they left open is closed", async () => {
    const members = await busySite(at("read-through"), { children: 2, ...SOON });
    const [first, second] = processes as [MemberProcess, MemberProcess];
    await Promise.all([first.hold("write:opened"), second.hold("write:written")]);
    await Promise.all([first.kill(), second.kill()]);
    await until("both are forgotten", async () => (await nodes()).length === 2, 30_000);
    expect((await ledger()).filter(({ action }) => action === "evict")).toHaveLength(2);
    await climb(at("redis-first"));
    await rest(members.slice(0, 2));
    expectOnly(["cut-off"]);
  });

  test("frozen until they are evicted: on waking they are refused, and join again", async () => {
    const members = await busySite(at("read-through"), { children: 1, ...SOON });
    const child = processes[0]!;
    const before = await nodes();
    child.freeze();
    await until("it is forgotten", async () => (await nodes()).length === 2, 30_000);
    await site.moveTo(at("redis-first"));
    child.wake();
    await until("it has joined again", async () => (await nodes()).length === 3, 20_000);
    expect(await nodes()).not.toEqual(before);
    await until("it serves", () =>
      child.get("nobody").then(
        () => true,
        () => false,
      ),
    );
    // What was under way while it joined may fail up to its deadline.
    await delay(1_500);
    const failed = history.failures.length;
    await delay(1_000);
    expect(history.failures.length).toBe(failed);
    await rest(members);
    expectOnly([...AWAY, "NODE_EVICTED"]);
  });

  async function nodes(): Promise<string[]> {
    return site.look(async ({ control }) => (await control.nodes()).map(({ id }) => id).sort());
  }
});

describe("a command", () => {
  test("killed between two rungs: the next one finishes it, or turns it round", async () => {
    const members = await busySite(at("dual-write"), SOON);
    const { ended, points } = await walkAndDie(own.folder, site.config, { to: at("read-through") }, 4);
    expect({ ended, points: points.length }).toEqual({ ended: "killed", points: 4 });
    expect((await site.record()).pending).not.toBeNull();
    await until(
      "its lock has run out",
      () =>
        site
          .command((c) => c.finish())
          .then(
            () => true,
            (error) => {
              if (error.code !== "HELD") throw error;
              return false;
            },
          ),
      30_000,
    );
    expect(await site.record()).toMatchObject({ position: at("read-through"), pending: null });
    await rest(members);
    expectOnly([]);
  });
});
