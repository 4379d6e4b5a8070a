import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { PHASE_NAMES, type PhaseName } from "../../src/core/phase.js";
import type { RunningServer } from "../../src/servers/index.js";
import type { Operation } from "../messages.js";
import { payloadOf } from "../payload.js";
import type { Stage } from "../stage.js";
import { Subject } from "../subjects.js";
import { MeasuredDoor, type Spent } from "./door.js";

/**
 * What one operation costs Redis and the process that serves it, by phase: counted by Redis itself (INFO), so that the
 * figures but for the processor times do not depend on the machine. The drain is part of what a change costs, so each
 * measurement ends when it has caught up.
 */
export const OPERATIONS: readonly Operation[] = ["get", "set", "touch"];
const SIZES = [1_000, 5_000] as const;
/** So many that a change seldom meets one of its own session that is not drained yet. */
const SESSIONS = 10_000;
/** The least of so many counts: what else the machine does can only add to a processor time. */
const ROUNDS = 3;
/** As in the section on operations. */
const BUSY = 64;
const SETTLE = 30_000;

export interface Cost {
  /** Calls of scripts; where many operations come together one call serves several, so that this is the most. */
  readonly scripts: number;
  /** Commands without scripts, those that scripts run inside not counted. */
  readonly commands: number;
  /** Microseconds of processor for a value of no length, and for each 1,000 bytes. */
  readonly redis: Line;
  readonly process: Line;
  /** Bytes that Redis receives and sends: besides values, and how many times the value. */
  readonly received: Line;
  readonly sent: Line;
}

/** `base` + `slope` for each byte, or each 1,000 bytes where so told. */
export interface Line {
  readonly base: number;
  readonly slope: number;
}

export interface CostRow extends Cost {
  readonly door: "library" | "proxy";
  readonly phase: PhaseName;
  readonly operation: Operation;
}

interface Asked {
  readonly operation: Operation;
  readonly milliseconds: number;
  readonly concurrency: number;
  readonly sessions: number;
  readonly bytes: number;
}

/** Either door, with the Redis that it works on. */
interface Served {
  fill(bytes: number): Promise<void>;
  repeat(asked: Asked): Promise<Spent>;
  settled(): Promise<void>;
  close(): Promise<void>;
}

export async function measureOperations(
  stage: Stage,
  slice: number,
  phases: readonly PhaseName[],
  tell: (line: string) => void,
): Promise<CostRow[]> {
  const rows: CostRow[] = [];
  for (const door of ["library", "proxy"] as const) {
    for (const phase of phases) {
      // A Redis of its own: its figures are about nobody else.
      const redis = await stage.anotherRedis();
      const served = await serve(stage, door, phase, redis);
      const client = new Redis(redis.url);
      try {
        for (const operation of OPERATIONS) {
          const seen: Seen[] = [];
          for (const bytes of SIZES) seen.push(await measure(served, client, operation, bytes, slice));
          rows.push({ door, phase, operation, ...costOf(seen[0]!, seen[1]!) });
        }
        tell(`plan: ${door}, ${phase}`);
      } finally {
        client.disconnect();
        await served.close();
        await redis.stop();
      }
    }
  }
  return rows;
}

async function serve(stage: Stage, door: "library" | "proxy", phase: PhaseName, redis: RunningServer): Promise<Served> {
  const migration = `plan-${door}-${phase}`;
  const settings = stage.settings(migration, door === "library" ? "postgres" : "memcached", redis);
  const legacy = settings.legacy as { table?: string; prefix?: string };
  if (legacy.table) await stage.table(legacy.table);
  const { memcached } = stage;
  const whole =
    door === "library"
      ? settings
      : {
          ...settings,
          proxy: { listeners: [{ listen: "127.0.0.1:0", server: `${memcached.host}:${memcached.port}` }] },
        };
  const visitor = await stage.migration(whole, phase);
  const settled = async () => {
    for (const until = Date.now() + SETTLE; Date.now() < until; await sleep(20)) {
      if (phase === "complete" || (await visitor.records.dirtyState()).count === 0) return;
    }
  };
  if (door === "proxy") {
    const proxy = await MeasuredDoor.start(await stage.folder(whole), legacy.prefix!);
    return {
      fill: (bytes) => proxy.fill(SESSIONS, bytes),
      repeat: (asked) => proxy.repeat(asked),
      settled,
      close: () => proxy.close(),
    };
  }
  const subject = await Subject.start(phase, { kind: "ferry", config: whole, phase });
  return {
    fill: async (bytes) => void (await subject.ask({ verb: "fill", sessions: SESSIONS, bytes })),
    repeat: (asked) => subject.ask<"repeat">({ verb: "repeat", ...asked }),
    settled,
    close: () => subject.close(),
  };
}

interface Seen {
  readonly bytes: number;
  readonly scripts: number;
  readonly commands: number;
  readonly redis: number;
  readonly process: number;
  readonly received: number;
  readonly sent: number;
}

async function measure(
  served: Served,
  client: Redis,
  operation: Operation,
  bytes: number,
  slice: number,
): Promise<Seen> {
  await served.fill(bytes);
  await served.settled();
  const run = async (concurrency: number) => {
    const asked = { operation, milliseconds: slice, concurrency, sessions: SESSIONS, bytes };
    await served.repeat({ ...asked, milliseconds: slice / 4 });
    await served.settled();
    const before = await stateOf(client);
    const spent = await served.repeat(asked);
    await served.settled();
    const after = await stateOf(client);
    if (spent.errors > 0) throw new Error(`${spent.errors} of ${spent.operations} ${operation}s failed`);
    const each = (of: keyof typeof before) => (after[of] - before[of]) / spent.operations;
    return { each, process: spent.processor / spent.operations };
  };
  const alone = await run(1);
  const busy = [];
  for (let round = 0; round < ROUNDS; round++) busy.push(await run(BUSY));
  return {
    bytes: Buffer.byteLength(JSON.stringify(payloadOf(bytes, 1))),
    scripts: alone.each("scripts"),
    commands: alone.each("commands"),
    redis: Math.min(...busy.map(({ each }) => each("processor"))),
    process: Math.min(...busy.map(({ process }) => process)),
    received: alone.each("received"),
    sent: alone.each("sent"),
  };
}

async function stateOf(client: Redis) {
  const info = await client.info("everything");
  const number = (name: string) => Number(new RegExp(`^${name}:([0-9.]+)`, "m").exec(info)?.[1] ?? 0);
  const calls = (pattern: string) =>
    [...info.matchAll(new RegExp(`^cmdstat_(?:${pattern}):calls=(\\d+)`, "gm"))].reduce(
      (sum, [, n]) => sum + Number(n),
      0,
    );
  return {
    scripts: calls("evalsha|eval"),
    // What scripts call inside is counted by Redis as well; these are sent by us and by nobody inside.
    commands: calls("mget|pexpiretime|zrange|zcard|zrangebyscore|time"),
    processor: (number("used_cpu_user") + number("used_cpu_sys")) * 1e6,
    received: number("total_net_input_bytes"),
    sent: number("total_net_output_bytes"),
  };
}

function costOf(small: Seen, large: Seen): Cost {
  const line = (of: "redis" | "process" | "received" | "sent", unit: number): Line => {
    // Nothing becomes cheaper with its length.
    const slope = Math.max(0, (large[of] - small[of]) / (large.bytes - small.bytes));
    const base = slope === 0 ? Math.min(small[of], large[of]) : small[of] - slope * small.bytes;
    return { base, slope: slope * unit };
  };
  return {
    scripts: Math.max(small.scripts, large.scripts),
    commands: Math.max(small.commands, large.commands),
    redis: line("redis", 1_000),
    process: line("process", 1_000),
    received: line("received", 1),
    sent: line("sent", 1),
  };
}

export { PHASE_NAMES };
