import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { PhaseName } from "../../src/core/phase.js";
import { History } from "../support/history.js";
import { seeded, Traffic } from "../support/history-traffic.js";
import { until } from "../support/processes.js";
import { ALL, at, AWAY as UNREACHABLE } from "./busy-site.js";
import { Fleet, type Links } from "./fleet.js";
import { processPackage } from "./processes.js";
import { Site, type SiteOptions, verdict } from "./site.js";

/** A request's deadline in milliseconds, and how late it may be answered on a machine that has much to do. */
const DEADLINE = 1_000;
const LATE = 8_000;

/** What a request may end with while a server cannot be reached; anything else is a defect. */
const AWAY = [...UNREACHABLE, "NODE_EVICTED"];

const own = { folder: "", remove: () => {} };
beforeAll(() => Object.assign(own, processPackage()));
afterAll(() => own.remove());

let site: Site;
let fleet: Fleet;
let traffic: Traffic;
let history: History;
let redisFolder: string;
const late: string[] = [];
afterEach(async () => {
  await traffic?.stop();
  await fleet?.close();
  await site?.close();
  rmSync(redisFolder, { recursive: true, force: true });
});

/** Two processes, each on a network of its own, under traffic in that phase. */
async function open(phase: PhaseName, options: Partial<SiteOptions> & { clocks?: number[] } = {}): Promise<Links[]> {
  redisFolder = mkdtempSync(join(tmpdir(), "sessionferry-network-"));
  const { clocks, ...rest } = options;
  const config = { timeouts: { legacy: DEADLINE } };
  site = await Site.open({ legacy: "postgres", control: "postgres", redisFolder, links: true, config, ...rest });
  fleet = new Fleet(site, {
    folder: own.folder,
    latest: DEADLINE + LATE,
    wrong: (what) => late.push(what),
    ...(clocks && { clocks }),
  });
  for (let i = 0; i < 2; i++) await fleet.start();
  history = new History();
  traffic = new Traffic(history, () => fleet.serving, { users: 8, hot: 20, pause: 15, random: seeded(3) });
  await traffic.plant(20);
  for (const step of ["dual-write", "read-through", "redis-first", "full-redis"] as const) {
    await site.moveTo(at(step));
    if (step === phase) break;
  }
  traffic.start();
  await delay(300);
  return fleet.members.map((member) => fleet.linksOf(member)!);
}

const served = (members = fleet.members): Promise<boolean> =>
  Promise.all(
    members.map((member) =>
      member.set("probe", { value: Buffer.from("{}"), flags: 0, expiresAt: Date.now() + 600_000 }).then(
        () => true,
        () => false,
      ),
    ),
  ).then((all) => all.every(Boolean));

/** All serve again; every history is that of one register; both stores are equal; nobody waited past the deadline. */
async function rest(codes: readonly string[]): Promise<void> {
  await until("everybody serves", () => served(), 60_000);
  await traffic.stop();
  expect(await verdict(site, history, fleet.serving)).toEqual([]);
  expect(history.failures.filter(({ code }) => !codes.includes(code))).toEqual([]);
  expect(late.splice(0)).toEqual([]);
}

/** Every way in which one stretch of network can fail, one after the other. */
async function everyFault(links: readonly Links[], store: keyof Links): Promise<void> {
  const [one] = links as [Links, Links];
  const faults: (() => void)[] = [
    () => one[store].cut("there"),
    () => one[store].cut("back"),
    () => one[store].cut(),
    () => one[store].delay(80),
    () => one[store].throttle(4_000),
    () => one[store].resetInReply(3),
    () => one[store].refuse(),
    () => links.map((each) => each[store].resetInReply(2)),
  ];
  for (const fault of faults) {
    fault();
    await delay(700);
    for (const each of links) each[store].heal();
    await until("everybody serves", () => served(), 60_000);
  }
}

const SITES = {
  PostgreSQL: { legacy: "postgres", control: "postgres" },
  memcached: { legacy: "memcached", control: "redis" },
} as const;
type Case = readonly [keyof typeof SITES, PhaseName, keyof Links, readonly string[]];

/** Over which legacy store, in which phase, what cannot be reached, and with what requests may fail. */
const CASES: readonly Case[] = [
  ["PostgreSQL", "dual-write", "redis", []],
  ["PostgreSQL", "read-through", "legacy", AWAY],
  ["memcached", "redis-first", "redis", AWAY],
  ["memcached", "redis-first", "control", []],
];
const MORE: readonly Case[] = [
  ["memcached", "dual-write", "redis", []],
  ["memcached", "read-through", "legacy", AWAY],
  ["PostgreSQL", "redis-first", "redis", AWAY],
  ["PostgreSQL", "full-redis", "legacy", AWAY],
  ["PostgreSQL", "redis-first", "control", []],
];

test.each([...CASES, ...(ALL ? MORE : [])])(
  "over %s in %s: the network between one process and %s fails in every way",
  async (legacy, phase, store, codes) => {
    const links = await open(phase, SITES[legacy]);
    await everyFault(links, store);
    await rest(codes);
  },
  240_000,
);

test("a process that alone sees nothing of the fleet is fenced off, and its late writes change nothing", async () => {
  const [one] = (await open("read-through")) as [Links, Links];
  const lonely = fleet.members[0]!;
  const others = fleet.members.slice(1);
  for (const link of [one.legacy, one.redis, one.control]) link.cut();
  await until(
    "it is forgotten",
    () => site.look(async ({ control }) => (await control.nodes()).length === others.length),
    60_000,
  );
  await site.moveTo(at("redis-first"));
  await delay(300);
  for (const link of [one.legacy, one.redis, one.control]) link.heal();
  await until("it has joined again", () => served([lonely]), 60_000);
  await rest([...AWAY, "cut-off"]);
}, 240_000);

test.each(["postgres", "memcached"] as const)(
  "clocks apart by minutes leave both stores equal, over %s",
  async (legacy) => {
    await open("read-through", { legacy, control: "postgres", clocks: [6 * 60_000, -9 * 60_000] });
    await delay(1_000);
    await site.moveTo(at("redis-first"));
    await delay(1_000);
    await rest([]);
  },
  240_000,
);
