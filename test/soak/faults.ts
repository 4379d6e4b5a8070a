import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import pg from "pg";
import { redisMayBeAhead } from "../../src/core/transition.js";
import type { RunningServer } from "../../src/servers/index.js";
import type { Fleet } from "../integration/fleet.js";
import type { MemberProcess } from "../integration/processes.js";
import type { Site } from "../integration/site.js";
import type { Traffic } from "../support/history-traffic.js";

/** How many processes serve; one more comes for every one that is killed. */
export const MEMBERS = 3;

export interface Fault {
  readonly kind: string;
  act(): Promise<void>;
}

/** What faults are done to, and whose dice decide. */
export interface Ground {
  readonly site: Site;
  readonly fleet: Fleet;
  readonly traffic: Traffic;
  readonly random: () => number;
  /** Milliseconds of a request's deadline. */
  readonly deadline: number;
  /** One at a time: what makes R the authority, and what may only happen while it is not. */
  withAuthority<T>(act: () => Promise<T>): Promise<T>;
  /** A command that dies at one of its points, or does not. */
  dyingBackfill(): Promise<void>;
}

export function serverFault(ground: Ground): Fault {
  const { site, random } = ground;
  const { legacy, redis, control } = site;
  const brief = 200 + random() * 3_000;
  const faults: [string, () => Promise<void>][] = [
    ["Redis paused", () => paused(redis, brief)],
    ["Redis restarted with its data", () => restarted(redis, brief)],
    ["Redis out of memory", () => fullRedis(site, brief)],
    ["Redis connections cut", () => cutRedis(site)],
    ["Redis emptied", () => emptyRedis(ground)],
    ["Redis emptied", () => emptyRedis(ground)],
    ["legacy store paused", () => paused(legacy, brief)],
    ["backfill killed", () => ground.dyingBackfill()],
  ];
  if (site.options.legacy === "postgres") {
    faults.push(["legacy store restarted", () => restarted(legacy, brief)]);
    faults.push(["legacy connections cut", () => cutLegacy(site)]);
  } else {
    faults.push(["memcached lost everything", () => emptyLegacy(ground)]);
  }
  if (control !== legacy) {
    faults.push(["control store paused", () => paused(control, brief)]);
    faults.push(["control store restarted", () => restarted(control, brief)]);
  }
  const [kind, act] = faults[Math.floor(random() * faults.length)]!;
  return { kind, act };
}

/** Null where there is nobody to do it to. Those that last long need not be waited for. */
export function processFault({ fleet, random, deadline }: Ground): (Fault & { readonly aside?: true }) | null {
  const { awake } = fleet;
  const victim = awake[Math.floor(random() * awake.length)];
  if (victim === undefined) return null;
  const dice = random();
  if (dice < 0.35) {
    return {
      kind: "process killed",
      async act() {
        await victim.kill();
        await fleet.start();
      },
    };
  }
  if (dice < 0.7) {
    const brief = 200 + random() * 3_000;
    return { kind: "process frozen", act: () => frozen(victim, brief) };
  }
  if (dice < 0.85) {
    return { kind: "process frozen until evicted", aside: true, act: () => frozen(victim, deadline + 8_000) };
  }
  if (dice < 0.93) {
    return {
      kind: "process stopped",
      async act() {
        await victim.close();
        await fleet.start();
      },
    };
  }
  return {
    kind: "all processes killed",
    async act() {
      await Promise.all(awake.map((member) => member.kill()));
      while (fleet.awake.length < MEMBERS) await fleet.start();
    },
  };
}

async function frozen(victim: MemberProcess, milliseconds: number): Promise<void> {
  victim.freeze();
  await delay(milliseconds);
  victim.wake();
}

async function paused(server: RunningServer, milliseconds: number): Promise<void> {
  server.pause();
  await delay(milliseconds);
  server.resume();
}

async function restarted(server: RunningServer, milliseconds: number): Promise<void> {
  await server.kill();
  await delay(milliseconds);
  await server.restart();
}

function fullRedis(site: Site, milliseconds: number): Promise<void> {
  return admin(site, async (redis) => {
    await redis.config("SET", "maxmemory", "1");
    await delay(milliseconds);
    await redis.config("SET", "maxmemory", "0");
  });
}

function cutRedis(site: Site): Promise<void> {
  return admin(site, async (redis) => void (await redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")));
}

async function admin(site: Site, use: (redis: Redis) => Promise<void>): Promise<void> {
  const redis = new Redis(site.redis.url);
  redis.on("error", () => {});
  try {
    await use(redis);
  } finally {
    redis.disconnect();
  }
}

async function cutLegacy(site: Site): Promise<void> {
  const client = new pg.Client(site.legacy.url);
  client.on("error", () => {});
  await client.connect();
  await client.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()");
  await client.end();
}

/** R may lose everything only while L is the authority of every session. */
async function emptyRedis({ site, withAuthority }: Ground): Promise<void> {
  await withAuthority(async () => {
    const record = await site.record().catch(() => null);
    if (record === null || redisMayBeAhead(record)) return restarted(site.redis, 300);
    await site.emptyRedis();
  });
}

async function emptyLegacy({ site, traffic }: Ground): Promise<void> {
  await traffic.stop();
  await restarted(site.legacy, 200);
  traffic.startOver();
  traffic.start();
}
