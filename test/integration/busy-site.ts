import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import { type PhaseName, type Position, rankOf } from "../../src/core/phase.js";
import type { LedgerEntry } from "../../src/ports/control-store.js";
import { History, type Member } from "../support/history.js";
import { seeded, Traffic } from "../support/history-traffic.js";
import { until } from "../support/processes.js";
import { MemberProcess, timed } from "./processes.js";
import { LEGACY, type Leniency, Site, type SiteOptions, verdict } from "./site.js";

/** True for `npm run test:faults`: every fault in every phase, which takes minutes. */
export const ALL = Boolean(process.env.SOAK);

export const at = (phase: PhaseName, percent = 100): Position => ({ phase, percent });
export const POSITIONS = [LEGACY, at("dual-write"), at("read-through"), at("redis-first"), at("full-redis")];

/** A request's deadline in milliseconds. A node is taken for dead five seconds after the longest one. */
export const DEADLINE = 1_000;
/** How late after its deadline a request may be answered, on a machine with two cores and much to do. */
export const LATE = 2_000;

/** What a request may end with while a store is away; anything else is a defect. */
export const AWAY = ["REDIS_UNREACHABLE", "REDIS_LOST", "LEGACY_UNREACHABLE", "OUTCOME_UNKNOWN", "DEADLINE"];

export interface BusyOptions extends Partial<SiteOptions> {
  /** Processes that serve; 2 where nothing is told. */
  readonly members?: number;
  readonly pause?: number;
}

/** With which codes requests may fail under a fault, and whether some must: a fault that nobody feels tests nothing. */
export interface Toll {
  readonly reads?: readonly string[];
  readonly writes?: readonly string[];
  readonly felt?: boolean;
}

/** A site at a position, served by processes of their own, under traffic whose every answer is recorded. */
export class BusySite {
  readonly history = new History();
  readonly processes: MemberProcess[] = [];
  readonly traffic: Traffic;
  /** Milliseconds of the slowest request whose process was neither frozen nor killed meanwhile. */
  slowest = 0;
  /** Lets a test keep requests away from a process. */
  readonly aside = new Set<MemberProcess>();

  private constructor(
    readonly site: Site,
    readonly folder: string,
    readonly redisFolder: string,
    pause: number,
  ) {
    this.traffic = new Traffic(this.history, () => this.serving, { users: 8, hot: 20, pause, random: seeded(7) });
  }

  /** @param folder where member.js is: `processPackage`. */
  static async open(folder: string, position: Position, options: BusyOptions = {}): Promise<BusySite> {
    const { members = 2, pause = 12, config, ...rest } = options;
    const redisFolder = mkdtempSync(join(tmpdir(), "sessionferry-faults-"));
    const site = await Site.open({
      legacy: "postgres",
      control: rest.legacy === "memcached" ? "postgres" : "legacy",
      redisFolder,
      ...rest,
      config: { timeouts: { legacy: DEADLINE }, ...config },
    });
    const busy = new BusySite(site, folder, redisFolder, pause);
    try {
      await Promise.all(Array.from({ length: members }, () => busy.start()));
      await busy.traffic.plant(20);
      await busy.climb(position);
      busy.traffic.start();
      await delay(200);
    } catch (error) {
      await busy.close();
      throw error;
    }
    return busy;
  }

  /** One more process. */
  async start(folder = this.folder): Promise<MemberProcess> {
    const member = await MemberProcess.start(folder, this.site.config);
    this.processes.push(member);
    return member;
  }

  get serving(): Member[] {
    const able = this.processes.filter((member) => member.alive && !member.frozen && !this.aside.has(member));
    return able.map((member) =>
      timed(member, (took) => {
        this.slowest = Math.max(this.slowest, took);
      }),
    );
  }

  /** Walks up, phase by phase. */
  async climb(to: Position): Promise<void> {
    const { position } = await this.site.record();
    for (const step of POSITIONS) {
      if (rankOf(step.phase) > rankOf(position.phase) && rankOf(step.phase) <= rankOf(to.phase)) {
        await this.site.moveTo(step);
      }
    }
  }

  /** Walks down, phase by phase. */
  async descend(to: Position): Promise<void> {
    const { position } = await this.site.record();
    for (const step of [...POSITIONS].reverse()) {
      if (rankOf(step.phase) < rankOf(position.phase) && rankOf(step.phase) >= rankOf(to.phase)) {
        await this.site.moveTo(step);
      }
    }
  }

  /**
   * Lets a fault last for so long, lifts it, and waits until every process serves again. No request may have failed
   * but as the toll says, nor been answered long after its deadline.
   */
  async suffer(
    fault: () => Promise<() => Promise<unknown> | unknown>,
    milliseconds: number,
    toll: Toll,
  ): Promise<void> {
    const { history, traffic } = this;
    const before = history.failures.length;
    this.slowest = 0;
    const lift = await fault();
    await delay(milliseconds);
    await lift();
    await traffic.stop();
    await this.recovered();
    traffic.start();
    const failed = history.failures.slice(before);
    const { reads = [], writes = [], felt = false } = toll;
    expect(failed.filter(({ code, verb }) => !(verb === "get" ? reads : writes).includes(code))).toEqual([]);
    if (felt) expect(failed.length).toBeGreaterThan(0);
    expect(this.slowest).toBeLessThan(DEADLINE + LATE);
  }

  /** Waits until every process that is awake does all its verbs without an error, three times in a row. */
  async recovered(within = 20_000): Promise<void> {
    for (let well = 0; well < 3; well++) {
      await until("every process serves", () => this.allServe(), within);
    }
  }

  async allServe(): Promise<boolean> {
    const able = this.processes.filter(({ alive, frozen }) => alive && !frozen);
    const probes = able.map(async (member, i) => {
      const sid = `probe-${i}`;
      await member.set(sid, { value: Buffer.from("{}"), flags: 0, expiresAt: Date.now() + 600_000 });
      const found = await member.get(sid);
      // A logout is what needs the legacy store longest.
      await member.destroy(sid);
      return found !== null;
    });
    return (await Promise.allSettled(probes)).every((probe) => probe.status === "fulfilled" && probe.value);
  }

  /** Writes the configuration to a file, for commands of the CLI. */
  configFile(changes: Record<string, unknown> = {}): string {
    const { migration, legacy, redis, control, timeouts } = this.site.config;
    const file = {
      migration,
      legacy: { preset: legacy.preset, url: legacy.url },
      redis: { url: redis.url },
      control: { url: control.url },
      timeouts,
      ...changes,
    };
    const path = join(this.redisFolder, "sessionferry.json");
    writeFileSync(path, JSON.stringify(file));
    return path;
  }

  ledger(): Promise<LedgerEntry[]> {
    return this.site.look(({ control }) => control.ledger(50));
  }

  /** Of the nodes that are registered, evicted ones that are not forgotten yet included. */
  nodes(): Promise<string[]> {
    return this.site.look(async ({ control }) => (await control.nodes()).map(({ id }) => id).sort());
  }

  /** At rest every history must be linearizable and both stores equal, as every process sees them. */
  async rest(leniency: Leniency = {}): Promise<void> {
    await this.traffic.stop();
    expect(await verdict(this.site, this.history, this.serving, leniency)).toEqual([]);
    const unhandled = this.processes.flatMap(({ events }) => events.filter(({ event }) => event === "unhandled"));
    expect(unhandled).toEqual([]);
  }

  /** Fails where a request failed otherwise. */
  expectOnly(codes: readonly string[]): void {
    expect(this.history.failures.filter(({ code }) => !codes.includes(code))).toEqual([]);
  }

  async close(): Promise<void> {
    for (const server of this.site.servers) server.resume();
    await this.traffic.stop();
    await Promise.all(this.processes.map((process) => process.close()));
    await this.site.close();
    rmSync(this.redisFolder, { recursive: true, force: true });
  }
}
