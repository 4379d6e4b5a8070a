import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import pg from "pg";
import { PHASE_NAMES, type PhaseName, type Position, rankOf } from "../../src/core/phase.js";
import type { Session, Sid } from "../../src/core/session.js";
import { nextPosition, positionBelow, redisMayBeAhead } from "../../src/core/transition.js";
import { CATALOGUE, FerryError } from "../../src/errors.js";
import { loadPhases } from "../../src/phases.js";
import type { RunningServer } from "../../src/servers/index.js";
import { MemberProcess, type Work, walkAndDie } from "../integration/processes.js";
import { Site, verdict } from "../integration/site.js";
import { History, type Member } from "../support/history.js";
import { seeded, Traffic } from "../support/history-traffic.js";

export interface SoakOptions {
  readonly seconds: number;
  readonly seed: number;
  readonly legacy: "postgres" | "memcached";
  /** Where member.js and walker.js are. */
  readonly folder: string;
  readonly tell?: (line: string) => void;
}

export interface SoakResult {
  readonly operations: number;
  readonly failedRequests: ReadonlyMap<string, number>;
  readonly faults: ReadonlyMap<string, number>;
  readonly transitions: ReadonlyMap<string, number>;
  readonly histories: number;
  readonly slowest: number;
  readonly violations: readonly string[];
}

const PHASES = loadPhases();
const RAMPS = Object.fromEntries(PHASE_NAMES.map((name) => [name, PHASES[name].ramp])) as Record<PhaseName, number[]>;
/** Processes that serve; one more comes for every one that is killed. */
const MEMBERS = 3;
const DEADLINE = 2_000;
/** How late after its deadline a request may be answered, on a machine with two cores and much to do. */
const LATE = 3_000;
/** So long after the last fault has ended everybody must serve without an error: two deadlines, an eviction, a rejoin. */
const RECOVERY = 20_000;
/** All histories are checked, and begun anew, this often. */
const EPOCH = 60_000;

/** Names of the errors that the ports tell a command of. */
const STORES_FAILURE = /^(Redis|Legacy|Control)\w+$|^OutcomeUnknown$/;

/** Random traffic, transitions and faults on real servers and processes, until the time is over. */
export class Soak {
  readonly #random: () => number;
  readonly #history = new History();
  readonly #faults = new Map<string, number>();
  readonly #transitions = new Map<string, number>();
  readonly #violations: string[] = [];
  readonly #members: MemberProcess[] = [];
  readonly #aside = new Set<Promise<void>>();
  #site!: Site;
  #traffic!: Traffic;
  #ends = 0;
  #histories = 0;
  #slowest = 0;
  #faultsUnderWay = 0;
  #calmSince = Date.now();
  #authority: Promise<void> = Promise.resolve();

  constructor(readonly options: SoakOptions) {
    this.#random = seeded(options.seed);
  }

  async run(): Promise<SoakResult> {
    const folder = mkdtempSync(join(tmpdir(), "sessionferry-soak-"));
    const { legacy, seed, seconds } = this.options;
    this.#site = await Site.open({
      legacy,
      control: legacy === "postgres" && seed % 2 === 0 ? "legacy" : "postgres",
      redisFolder: folder,
      config: { timeouts: { legacy: DEADLINE, acknowledge: "20s", drain: "20s" } },
    });
    try {
      while (this.#members.length < MEMBERS) await this.#startMember();
      this.#traffic = new Traffic(this.#history, () => this.#serving(), {
        users: 10,
        hot: 24,
        pause: 20,
        random: this.#random,
      });
      await this.#traffic.plant(30);
      await this.#climb(Math.floor(this.#random() * 8));
      this.#traffic.start();
      const began = Date.now();
      this.#ends = began + seconds * 1_000;
      while (Date.now() < this.#ends) {
        const epochEnds = Math.min(this.#ends, Date.now() + EPOCH);
        await Promise.all([
          this.#until(epochEnds, 600, () => this.#move()),
          this.#until(epochEnds, 4_000, () => this.#serverFault()),
          this.#until(epochEnds, 6_000, () => this.#processFault()),
        ]);
        await this.#judge();
      }
      await this.#traffic.stop();
    } finally {
      await this.#traffic?.stop();
      for (const server of this.#site.servers) server.resume();
      await Promise.all(this.#members.map((member) => member.close()));
      await this.#site.close();
      rmSync(folder, { recursive: true, force: true });
    }
    return {
      operations: this.#history.operations,
      failedRequests: this.#history.errors,
      faults: this.#faults,
      transitions: this.#transitions,
      histories: this.#histories,
      slowest: this.#slowest,
      violations: this.#violations,
    };
  }

  // --- Members ---

  async #startMember(): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        this.#members.push(await MemberProcess.start(this.options.folder, this.#site.config));
        return;
      } catch (error) {
        // Nobody can join while the control store is away.
        if (tries === 100) throw error;
        await delay(200);
      }
    }
  }

  #serving(): Member[] {
    return this.#members.filter(({ alive, frozen }) => alive && !frozen).map((member) => this.#timed(member));
  }

  /** Notes requests that took longer than they may, unless their process was frozen meanwhile. */
  #timed(member: MemberProcess): Member {
    const timed = async <T>(request: Promise<T>): Promise<T> => {
      const { freezes } = member;
      const began = performance.now();
      try {
        return await request;
      } finally {
        const took = performance.now() - began;
        if (member.alive && member.freezes === freezes && !member.frozen) {
          this.#slowest = Math.max(this.#slowest, took);
          if (took > DEADLINE + LATE) this.#wrong(`a request took ${Math.round(took)} ms`);
        }
      }
    };
    return {
      get: (sid: Sid) => timed(member.get(sid)),
      set: (sid: Sid, session: Session) => timed(member.set(sid, session)),
      touch: (sid: Sid, expiresAt: number) => timed(member.touch(sid, expiresAt)),
      destroy: (sid: Sid) => timed(member.destroy(sid)),
    };
  }

  // --- What happens ---

  /** Some steps up in peace, so that the higher phases get their share of the faults. */
  async #climb(steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) {
      const to = nextPosition((await this.#site.record()).position, RAMPS);
      if (to !== null && to.phase !== "complete") await this.#site.moveTo(to);
    }
  }

  async #until(ends: number, pause: number, step: () => Promise<void>): Promise<void> {
    while (Date.now() < ends) {
      await delay(this.#random() * pause);
      if (Date.now() < ends) await step();
    }
  }

  async #move(): Promise<void> {
    try {
      await this.#site.breakLock();
      const { position, pending } = await this.#site.record();
      if (pending !== null) return await this.#resolve();
      const up = this.#random() < 0.7;
      const to = up ? nextPosition(position, RAMPS) : this.#lower(position);
      if (to === null || to.phase === "complete") return;
      const walk = async () => {
        // The copies that a backfill makes come first; then the command runs, and perhaps dies.
        if (this.#random() < 0.2) await this.#dyingCommand({ to });
        else await this.#site.moveTo(to);
        this.#count(this.#transitions, up ? "up" : "down");
      };
      if (rankOf(to.phase) < rankOf("redis-first")) await walk();
      else await this.#withAuthority(walk);
    } catch (error) {
      this.#expected(error, "a move");
    }
  }

  async #resolve(): Promise<void> {
    const reversing = this.#random() < 0.3;
    const walk = () => this.#site.command((c) => (reversing ? c.reverse("soak") : c.finish()));
    await this.#withAuthority(walk);
    this.#count(this.#transitions, reversing ? "reversed" : "finished");
  }

  async #dyingCommand(work: Work): Promise<void> {
    if ("to" in work && (work.to as Position).phase === "read-through") {
      await this.#site.command((_, node) => this.#site.backfill(node));
    }
    const { ended, holder } = await walkAndDie(
      this.options.folder,
      this.#site.config,
      work,
      1 + Math.floor(this.#random() * 10),
    );
    await this.#site.breakLock(holder).catch(() => {});
    if (ended === "killed") this.#count(this.#faults, "backfill" in work ? "backfill killed" : "command killed");
    else if (ended !== "done" && !(ended in CATALOGUE) && !STORES_FAILURE.test(ended)) {
      this.#wrong(`a command ended with ${ended}`);
    }
  }

  #lower(position: Position): Position | null {
    if (position.phase === "legacy") return null;
    const steps = RAMPS[position.phase].filter((percent) => percent < position.percent);
    if (steps.length > 0 && this.#random() < 0.3) return { phase: position.phase, percent: steps.at(-1)! };
    return positionBelow(position);
  }

  async #serverFault(): Promise<void> {
    const { legacy, redis, control } = this.#site;
    const brief = 200 + this.#random() * 3_000;
    const kinds: [string, () => Promise<void>][] = [
      ["Redis paused", () => paused(redis, brief)],
      ["Redis restarted with its data", () => restarted(redis, brief)],
      ["Redis out of memory", () => this.#fullRedis(brief)],
      ["Redis connections cut", () => this.#cutRedis()],
      ["Redis emptied", () => this.#emptyRedis()],
      ["Redis emptied", () => this.#emptyRedis()],
      ["legacy store paused", () => paused(legacy, brief)],
      ["backfill killed", () => this.#dyingCommand({ backfill: true })],
    ];
    if (this.options.legacy === "postgres") {
      kinds.push(["legacy store restarted", () => restarted(legacy, brief)]);
      kinds.push(["legacy connections cut", () => this.#cutLegacy()]);
    } else {
      kinds.push(["memcached lost everything", () => this.#emptyLegacy()]);
    }
    if (control !== legacy) {
      kinds.push(["control store paused", () => paused(control, brief)]);
      kinds.push(["control store restarted", () => restarted(control, brief)]);
    }
    const [kind, act] = kinds[Math.floor(this.#random() * kinds.length)]!;
    await this.#fault(kind, act);
  }

  async #processFault(): Promise<void> {
    const awake = this.#members.filter(({ alive, frozen }) => alive && !frozen);
    const victim = awake[Math.floor(this.#random() * awake.length)];
    if (victim === undefined) return;
    const dice = this.#random();
    if (dice < 0.35) {
      await this.#fault("process killed", async () => {
        await victim.kill();
        await this.#startMember();
      });
    } else if (dice < 0.7) {
      await this.#fault("process frozen", () => this.#frozen(victim, 200 + this.#random() * 3_000));
    } else if (dice < 0.85) {
      const aside = this.#fault("process frozen until evicted", () => this.#frozen(victim, DEADLINE + 8_000));
      this.#aside.add(aside.finally(() => this.#aside.delete(aside)));
    } else if (dice < 0.93) {
      await this.#fault("process stopped", async () => {
        await victim.close();
        await this.#startMember();
      });
    } else {
      await this.#fault("all processes killed", async () => {
        await Promise.all(awake.map((member) => member.kill()));
        while (this.#serving().length < MEMBERS) await this.#startMember();
      });
    }
    this.#collect();
  }

  #collect(): void {
    for (const member of this.#members.filter(({ alive }) => !alive)) {
      for (const { event, detail } of member.events) if (event === "unhandled") this.#wrong(`unhandled: ${detail}`);
      this.#members.splice(this.#members.indexOf(member), 1);
    }
  }

  async #frozen(victim: MemberProcess, milliseconds: number): Promise<void> {
    victim.freeze();
    await delay(milliseconds);
    victim.wake();
  }

  async #fullRedis(milliseconds: number): Promise<void> {
    await this.#admin(async (redis) => {
      await redis.config("SET", "maxmemory", "1");
      await delay(milliseconds);
      await redis.config("SET", "maxmemory", "0");
    });
  }

  #cutRedis(): Promise<void> {
    return this.#admin(async (redis) => void (await redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")));
  }

  async #admin(use: (redis: Redis) => Promise<void>): Promise<void> {
    const redis = new Redis(this.#site.redis.url);
    redis.on("error", () => {});
    try {
      await use(redis);
    } finally {
      redis.disconnect();
    }
  }

  async #cutLegacy(): Promise<void> {
    const client = new pg.Client(this.#site.legacy.url);
    client.on("error", () => {});
    await client.connect();
    await client.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()");
    await client.end();
  }

  /** R may lose everything only while L is the authority of every session. */
  async #emptyRedis(): Promise<void> {
    await this.#withAuthority(async () => {
      const record = await this.#site.record().catch(() => null);
      if (record === null || redisMayBeAhead(record)) return restarted(this.#site.redis, 300);
      await this.#site.emptyRedis();
    });
  }

  async #emptyLegacy(): Promise<void> {
    await this.#traffic.stop();
    await restarted(this.#site.legacy, 200);
    this.#traffic.startOver();
    this.#traffic.start();
  }

  /** One at a time: what makes R the authority, and what may only happen while it is not. */
  #withAuthority<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#authority.then(act);
    this.#authority = done.then(
      () => {},
      () => {},
    );
    return done;
  }

  async #fault(kind: string, act: () => Promise<void>): Promise<void> {
    this.#count(this.#faults, kind);
    this.options.tell?.(kind);
    this.#faultsUnderWay++;
    try {
      await act();
    } catch (error) {
      this.#expected(error, kind);
    } finally {
      this.#faultsUnderWay--;
      this.#calmSince = Date.now();
    }
  }

  // --- What must hold ---

  /** Ends the faults, waits for the fleet to recover by itself, and judges everything that was recorded. */
  async #judge(): Promise<void> {
    await Promise.all(this.#aside);
    for (let tries = 0; ; tries++) {
      const pending = await this.#site.record().then(
        (record) => record.pending,
        () => null,
      );
      if (pending === null) break;
      if (tries === 200) return this.#wrong("a pending transition cannot be finished");
      await this.#site.command((c) => c.finish()).catch((error) => this.#expected(error, "finishing"));
      await delay(500);
    }
    while (Date.now() < this.#calmSince + RECOVERY && !(await this.#allServe())) await delay(300);
    if (!(await this.#allServe())) this.#wrong("the fleet does not recover by itself");
    const calm = Date.now();
    await delay(500);
    const failed = this.#history.failures.filter(({ at }) => at > calm);
    for (const { code, verb } of failed) this.#wrong(`${verb} failed without a cause: ${code}`);
    for (const { code, verb, detail } of this.#history.failures.splice(0)) {
      if (code !== "cut-off" && !(code in CATALOGUE)) this.#wrong(`${verb} failed with ${code}: ${detail}`);
    }
    await this.#traffic.stop();
    const wrong = await verdict(this.#site, this.#history, this.#serving()).catch((error) => [String(error)]);
    for (const what of wrong) this.#wrong(what);
    this.#histories += this.#history.sids.length;
    this.#traffic.startOver();
    this.#collect();
    this.options.tell?.(`${this.#histories} histories checked, ${this.#violations.length} violations`);
    if (Date.now() < this.#ends) {
      await this.#traffic.plant(30);
      this.#traffic.start();
    }
  }

  async #allServe(): Promise<boolean> {
    const asked = this.#members.map((member) =>
      member
        .set(`probe-${this.#random()}`, { value: Buffer.from("{}"), flags: 0, expiresAt: Date.now() + 60_000 })
        .then(
          () => true,
          () => false,
        ),
    );
    return (await Promise.all(asked)).every(Boolean);
  }

  #expected(error: unknown, during: string): void {
    const known = error instanceof FerryError && error.code !== "UNEXPECTED";
    const { name = "", message = "" } = error as Error;
    const store = STORES_FAILURE.test(name);
    this.options.tell?.(`  ${during}: ${known ? error.code : name} ${message.split("\n")[0]}`);
    // While faults are under way the tools of this test themselves meet servers that are away.
    if (!known && !store && this.#faultsUnderWay === 0 && Date.now() > this.#calmSince + DEADLINE) {
      this.#wrong(`${during} ended with ${name}: ${message}`);
    }
  }

  #wrong(what: string): void {
    this.#violations.push(what);
    this.options.tell?.(`VIOLATION ${what}`);
  }

  #count(counts: Map<string, number>, kind: string): void {
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
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

/** The table of a run, in Markdown. */
export function soakTable(result: SoakResult): string {
  const told = (counts: ReadonlyMap<string, number>) =>
    [...counts].sort(([a], [b]) => a.localeCompare(b)).map(([name, count]) => [`- ${name}`, count] as const);
  const sum = (counts: ReadonlyMap<string, number>) => [...counts.values()].reduce((all, count) => all + count, 0);
  const rows: (readonly [string, number])[] = [
    ["operations", result.operations],
    ["requests answered with an error", sum(result.failedRequests)],
    ...told(result.failedRequests),
    ["faults", sum(result.faults)],
    ...told(result.faults),
    ["transitions", sum(result.transitions)],
    ...told(result.transitions),
    ["histories checked", result.histories],
    ["slowest request, ms", Math.round(result.slowest)],
    ["violations", result.violations.length],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  const line = (name: string, value: string) => `| ${name.padEnd(width)} | ${value.padStart(9)} |`;
  return [
    line("what", "count"),
    `| ${"-".repeat(width)} | ${"-".repeat(8)}: |`,
    ...rows.map(([name, count]) => line(name, String(count))),
  ].join("\n");
}
