import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { loadConfig } from "../../src/config.js";
import { bucketOf } from "../../src/core/cohort.js";
import type { Config } from "../../src/core/config.js";
import { newGeneration, nodeOf } from "../../src/core/ids.js";
import { type PhaseName, type Position, placementOf } from "../../src/core/phase.js";
import type { Session, Sid } from "../../src/core/session.js";
import { comparePositions } from "../../src/core/transition.js";
import { drainIndex } from "../../src/ferry/drainer.js";
import { lastVoiding } from "../../src/ferry/void.js";
import { loadPhases } from "../../src/phases.js";
import type { ControlRecord } from "../../src/ports/control-store.js";
import type { Observer } from "../../src/ports/observer.js";
import type { RecordView } from "../../src/ports/redis-records.js";
import { systemClock } from "../../src/runtime/clock.js";
import { FerryNode, overdueAfter } from "../../src/runtime/node.js";
import { openVisitor, type Visitor } from "../../src/runtime/visitor.js";
import { type RunningServer, startMemcached, startPostgres, startRedis } from "../../src/servers/index.js";
import { Coordinator } from "../../src/workflow/coordinator.js";
import { ClientPorts, FaultyLink } from "../support/faulty-link.js";
import type { History, Member } from "../support/history.js";

/** Where the control record lies: with the sessions, in a PostgreSQL of its own, or in a Redis of its own. */
export type ControlPlace = "legacy" | "postgres" | "redis";

export interface SiteOptions {
  readonly legacy: "postgres" | "memcached";
  readonly control: ControlPlace;
  /** A folder, where Redis keeps what it has (appendfsync always). */
  readonly redisFolder?: string;
  readonly redisArgs?: readonly string[];
  readonly config?: Record<string, unknown>;
  readonly start?: Position;
  /** Servers of the test's own, closed with the site; `config.redis.url` where they are reached another way. */
  readonly servers?: { readonly legacy?: RunningServer; readonly redis?: RunningServer };
  /** Processes will reach memcached by links: then commands do, too, so that all see the same list of connections. */
  readonly links?: boolean;
}

/**
 * Milliseconds between the expiries of two copies. memcached dies within a second of the wish and tells what is left to
 * half a second; a session copied from there and drained back has that twice.
 */
const APART = { postgres: 1_000, memcached: 3_000 };

const PHASES = loadPhases();

export interface Leniency {
  /** The legacy store loses sessions by itself: what Redis alone has is no difference, and a lost one no violation. */
  readonly forgetful?: boolean;
}

export const LEGACY: Position = { phase: "legacy", percent: 100 };

/** A migration on servers of its own: its configuration, its nodes, its commands, and a look at both stores. */
export class Site {
  readonly nodes: FerryNode[] = [];
  /** In whose name the last command held its locks. */
  lastHolder = "";
  /** When R was last filled by force, or from nothing, by the control store's clock; and under which generation. */
  #copied = { at: 0, generation: "" };

  private constructor(
    readonly options: SiteOptions,
    readonly config: Config,
    readonly legacy: RunningServer,
    readonly redis: RunningServer,
    /** The same server as `legacy` where the control record lies there. */
    readonly control: RunningServer,
    /** That of the commands to memcached, which is never broken; null where there is none. */
    private readonly link: FaultyLink | null,
  ) {}

  static async open(options: SiteOptions): Promise<Site> {
    const args = [...(options.redisArgs ?? [])];
    if (options.redisFolder !== undefined) args.push("--appendonly", "yes", "--appendfsync", "always");
    const [legacy, redis, own] = await Promise.all([
      options.servers?.legacy ?? (options.legacy === "postgres" ? postgres() : startMemcached()),
      options.servers?.redis ??
        startRedis({ args, ...(options.redisFolder !== undefined && { dir: options.redisFolder }) }),
      options.control === "redis" ? startRedis() : options.control === "postgres" ? postgres() : null,
    ]);
    const isLinked = options.links === true && options.legacy === "memcached";
    const link = isLinked ? await FaultyLink.open(legacy, { clients: new ClientPorts() }) : null;
    const config = loadConfig({
      env: {},
      config: {
        migration: `m${randomBytes(4).toString("hex")}`,
        legacy: {
          preset: options.legacy === "postgres" ? "connect-pg-simple" : "connect-memjs",
          url: link?.via(legacy.url) ?? legacy.url,
        },
        redis: { url: redis.url },
        control: { url: (own ?? legacy).url },
        ...options.config,
      },
    });
    const site = new Site(options, config, legacy, redis, own ?? legacy, link);
    if (options.legacy === "postgres") await createTable(legacy.url);
    await site.look(async ({ control, records }) => {
      const generation = newGeneration();
      await control.setup({ position: options.start ?? LEGACY, pending: null, generation, interrupted: false });
      await records.arm(generation, "active");
    });
    return site;
  }

  /** For the links of processes. */
  get clients(): ClientPorts | null {
    return this.link?.clients ?? null;
  }

  get servers(): RunningServer[] {
    return [...new Set([this.legacy, this.redis, this.control])];
  }

  async close(): Promise<void> {
    for (const server of this.servers) server.resume();
    await Promise.allSettled(this.nodes.splice(0).map((node) => node.close()));
    await this.link?.close();
    await Promise.allSettled(this.servers.map((server) => server.stop()));
  }

  async join(observer?: Observer): Promise<FerryNode> {
    const node = await FerryNode.open(this.config, { role: "app", ...(observer && { observer }) });
    this.nodes.push(node);
    return node;
  }

  async look<T>(use: (visitor: Visitor) => Promise<T>): Promise<T> {
    const visitor = await openVisitor(this.config);
    try {
      visitor.records.generation = await visitor.control.read().then(
        ({ generation }) => generation,
        () => "",
      );
      visitor.records.trustRestarts = true;
      return await use(visitor);
    } finally {
      await visitor.close();
    }
  }

  record(): Promise<ControlRecord> {
    return this.look(({ control }) => control.read());
  }

  /** What a command of the CLI does: joins as a job and walks. */
  async command<T>(use: (coordinator: Coordinator, node: FerryNode) => Promise<T>, observer?: Observer): Promise<T> {
    const node = await FerryNode.open(this.config, { role: "job", ...(observer && { observer }) });
    this.lastHolder = node.id;
    try {
      return await use(coordinatorOver(node), node);
    } finally {
      await node.close();
    }
  }

  /** Spares a test the 15 s that the lock of a dead command lasts. */
  async breakLock(holder = this.lastHolder): Promise<void> {
    await this.look(async ({ control }) => {
      for (const name of ["phase", "backfill"]) await control.unlock(name, holder);
    });
  }

  /** Walks to a neighbouring position, with the copies and the evidence that it asks for. */
  async moveTo(to: Position): Promise<ControlRecord> {
    return this.command(async (coordinator, node) => {
      const { position } = await node.control.read();
      if (to.phase === "read-through" && comparePositions(to, position) > 0) await this.backfill(node);
      return coordinator.moveTo(to, "test");
    });
  }

  /** Rule 3 over everything that L lists: by force where R may hold what a lost gap left behind. */
  async backfill(node: FerryNode): Promise<void> {
    const { control, legacy, ferry } = node;
    const startedAt = await control.now();
    const { generation } = await control.read();
    const voided = await lastVoiding(control);
    const force = voided !== null && (voided.at >= this.#copied.at || generation !== this.#copied.generation);
    const held = force ? await recordsOf(node) : [];
    const sids = new Set(held);
    for await (const page of legacy.list({ pageSize: 500 })) for (const sid of page) sids.add(sid);
    await copyAll(ferry, [...sids], force);
    this.#copied = { at: startedAt, generation };
  }

  /** Waits until R owes L nothing and nothing is under way any more. */
  async settle(within = 90_000): Promise<void> {
    const until = Date.now() + within;
    await this.look(async ({ control, records, legacy }) => {
      for (;;) {
        const record = await control.read();
        // A Redis that was emptied is armed anew by the fleet, under another generation.
        records.generation = record.generation;
        const marks =
          record.position.phase === "legacy"
            ? { count: 0, kinds: "" }
            : await marksLeft(records).catch((error) => ({ count: 1, kinds: String(error) }));
        const nodes = await control.nodes();
        const gaps = nodes.some(({ report, state }) => state === "live" && report.gap > 0);
        if (record.pending === null && marks.count === 0 && !gaps) break;
        if (Date.now() > until) {
          throw new Error(
            `not at rest: ${record.pending ? "a transition is pending" : `${marks.kinds}, gaps: ${gaps}`}; nodes ${nodes.map(({ id, state }) => `${id} ${state}`)}`,
          );
        }
        for (const node of this.nodes) await drainIndex(node.ctx).catch(() => {});
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      await legacy.now();
    });
  }

  /**
   * How the two stores contradict each other at rest, one line a session; empty where all is well. While evidence is
   * void R may hold what a lost gap left there, wherever it is not read.
   */
  async differences(sids: readonly Sid[], { forgetful = false }: Leniency = {}): Promise<string[]> {
    return this.look(async ({ control, legacy, records }) => {
      const record = await control.read();
      const { phase, percent } = record.position;
      const voided = ((await lastVoiding(control))?.at ?? -1) >= this.#copied.at;
      const found: string[] = [];
      for (let from = 0; from < sids.length; from += 200) {
        const part = sids.slice(from, from + 200).filter((sid) => {
          const { write, read } = placementOf(PHASES, record, bucketOf(sid)).routes;
          return (write === "L" || write === "R") && !(voided && read === "L");
        });
        const [held, views] = await Promise.all([legacy.getMany(part), records.view(part)]);
        part.forEach((_, i) => {
          if (forgetful && held[i] === null && views[i]!.mark === "none") return;
          const what = this.#difference(held[i]!, views[i]!, phase);
          if (what !== null) found.push(`${what} (${phase} ${percent} %)`);
        });
      }
      return found;
    });
  }

  #difference(l: Session | null, { session: r, mark }: RecordView, phase: PhaseName): string | null {
    if (mark === "intents" || mark === "dirty") return `a mark is left: ${mark}`;
    if (r === null) return l !== null && phase === "full-redis" ? "Redis alone lacks a session" : null;
    if (l === null) return "Redis holds a session that the legacy store does not";
    if (!l.value.equals(r.value)) return "the values differ";
    const apart = l.expiresAt - r.expiresAt;
    return Math.abs(apart) > APART[this.options.legacy] ? `the expiries differ by ${apart} ms` : null;
  }

  /** Brings R back with nothing in it. */
  async emptyRedis(): Promise<void> {
    await this.redis.kill();
    if (this.options.redisFolder !== undefined) {
      await rm(join(this.options.redisFolder, "appendonlydir"), { recursive: true, force: true });
    }
    await this.redis.restart();
  }
}

/** Every session once more through every member, then everything that must hold at rest. Empty where it does. */
export async function verdict(
  site: Site,
  history: History,
  members: readonly Member[],
  leniency: Leniency = {},
): Promise<string[]> {
  await site.settle();
  const { sids } = history;
  for (const member of members) {
    for (let from = 0; from < sids.length; from += 20) {
      await Promise.all(sids.slice(from, from + 20).map((sid) => history.reread(member, sid)));
    }
  }
  const counting = site.options.legacy === "memcached";
  const wrong = history.violations({ ...leniency, counting }).map(({ what, history: ops }) => `${what}: ${told(ops)}`);
  return [...wrong, ...(await site.differences(sids, leniency))];
}

/** A history without its session's id. */
function told(ops: readonly { readonly call: object; readonly begun: number; readonly ended: number }[]): string {
  return ops.map(({ call, begun, ended }) => `[${begun}..${ended}] ${JSON.stringify(call)}`).join("\n  ");
}

export function coordinatorOver(node: FerryNode, acknowledge?: number): Coordinator {
  const { legacy, records, ferry, control, phases, ctx, config } = node;
  return new Coordinator(
    control,
    phases,
    { legacy, records, copier: ferry, clock: systemClock, control, node: node.id },
    node.eviction,
    {
      acknowledge: acknowledge ?? config.timeouts.acknowledge,
      drain: config.timeouts.drain,
      overdueAfter: overdueAfter(config),
    },
    systemClock,
    ctx.observer,
    node.id,
  );
}

async function copyAll(ferry: FerryNode["ferry"], sids: readonly Sid[], force: boolean): Promise<void> {
  for (let from = 0; from < sids.length; from += 250) {
    let left = sids.slice(from, from + 250);
    // An intent of a process that died stands until that is found out.
    for (const ends = Date.now() + 30_000; left.length > 0; ) {
      if (Date.now() > ends) throw new Error("sessions kept changing under the copy");
      const outcomes = await ferry.copy(left, { force });
      left = left.filter((_, i) => outcomes[i] === "refused");
      if (left.length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

async function recordsOf({ records }: FerryNode): Promise<Sid[]> {
  const sids: Sid[] = [];
  for await (const page of records.listRecords({ pageSize: 500 })) sids.push(...page);
  return sids;
}

/** How many marks are left, and of what kind. */
async function marksLeft(records: Visitor["records"]): Promise<{ count: number; kinds: string }> {
  const { count: dirty } = await records.dirtyState();
  let sessions = 0;
  const owners = new Set<string>();
  for await (const page of records.listIntents({ pageSize: 500 })) {
    sessions += page.length;
    for (const { intents } of page) for (const intent of intents) owners.add(nodeOf(intent));
  }
  return { count: dirty + sessions, kinds: `${dirty} dirty, ${sessions} with intents of ${[...owners]}` };
}

/**
 * What a killed PostgreSQL acknowledged must be there when it comes back, or L would not be the truth it is. Dozens of
 * processes, of which some are frozen with all their connections, find room.
 */
function postgres(): Promise<RunningServer> {
  return startPostgres({ settings: { synchronous_commit: "on", max_connections: "500" } });
}

async function createTable(url: string): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  await client.query(
    "CREATE TABLE session (sid varchar NOT NULL PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL)",
  );
  await client.end();
}
