import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { PHASE_NAMES, type PhaseName, type Position, rankOf } from "../../src/core/phase.js";
import { nextPosition, positionBelow } from "../../src/core/transition.js";
import { CATALOGUE, FerryError } from "../../src/errors.js";
import { loadPhases } from "../../src/phases.js";
import { Fleet } from "../integration/fleet.js";
import { type Work, walkAndDie } from "../integration/processes.js";
import { Site, verdict } from "../integration/site.js";
import { History } from "../support/history.js";
import { seeded, Traffic } from "../support/history-traffic.js";
import { type Fault, type Ground, MEMBERS, processFault, serverFault } from "./faults.js";
import { networkFault } from "./network-faults.js";
import { pulseOf, reportOf } from "./report.js";
import type { SoakResult } from "./table.js";
import { Hang, MOST, Watch } from "./watch.js";

export interface SoakOptions {
  readonly seconds: number;
  readonly seed: number;
  readonly legacy: "postgres" | "memcached";
  /** Where member.js and walker.js are. */
  readonly folder: string;
  readonly tell?: (line: string) => void;
}

const PHASES = loadPhases();
const RAMPS = Object.fromEntries(PHASE_NAMES.map((name) => [name, PHASES[name].ramp])) as Record<PhaseName, number[]>;
const DEADLINE = 2_000;
/** How late after its deadline a request may be answered, on a machine with two cores and very much to do. */
const LATE = 8_000;
/** Milliseconds by which the clocks of the processes are wrong, in turn. */
const CLOCKS = [0, 5 * 60_000, 0, -7 * 60_000];
/** So long everybody must serve without an error before the fleet counts as recovered. */
const CALM = 500;
/** Milliseconds; nodes renew several times as often. */
const RENEWED_WITHIN = 3_000;
/** What a busy machine does to a request by itself. */
const SLOW = new Set(["DEADLINE", "OUTCOME_UNKNOWN"]);
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
  readonly #aside = new Set<Promise<void>>();
  #site!: Site;
  #fleet!: Fleet;
  #traffic!: Traffic;
  #watch!: Watch;
  #ends = 0;
  #histories = 0;
  #recovery = 0;
  #faultsUnderWay = 0;
  #calmSince = Date.now();
  #authority: Promise<void> = Promise.resolve();

  constructor(readonly options: SoakOptions) {
    this.#random = seeded(options.seed);
  }

  async run(): Promise<SoakResult> {
    const folder = mkdtempSync(join(tmpdir(), "sessionferry-soak-"));
    await this.#open(folder);
    try {
      await this.#live();
    } catch (error) {
      if (!(error instanceof Hang)) throw error;
      this.#wrong(`hang: ${error.message}`);
      // Whatever they still owe an answer for ends with them.
      await this.#fleet.kill();
    } finally {
      await this.#traffic.stop();
      for (const server of this.#site.servers) server.resume();
      await this.#fleet.close();
      await this.#site.close();
      rmSync(folder, { recursive: true, force: true });
    }
    return {
      operations: this.#history.operations,
      failedRequests: this.#history.errors,
      faults: this.#faults,
      transitions: this.#transitions,
      histories: this.#histories,
      slowest: this.#fleet.slowest,
      recovery: this.#recovery,
      violations: this.#violations,
    };
  }

  async #open(folder: string): Promise<void> {
    const { legacy, seed } = this.options;
    this.#site = await Site.open({
      legacy,
      control: legacy === "postgres" && seed % 2 === 0 ? "legacy" : "postgres",
      redisFolder: folder,
      links: true,
      config: { timeouts: { legacy: DEADLINE, acknowledge: "20s", drain: "20s" } },
    });
    this.#fleet = new Fleet(this.#site, {
      folder: this.options.folder,
      latest: DEADLINE + LATE,
      clocks: CLOCKS,
      wrong: (what) => this.#wrong(what),
    });
    this.#traffic = new Traffic(this.#history, () => this.#fleet.serving, {
      users: 10,
      hot: 24,
      pause: 20,
      random: this.#random,
    });
    this.#watch = new Watch({
      pulse: () => pulseOf(this.#site),
      report: () => reportOf(this.#site, this.#fleet),
      tell: (line) => this.options.tell?.(line),
    });
  }

  async #live(): Promise<void> {
    await this.#watch.during("the first processes", this.#begin());
    this.#ends = Date.now() + this.options.seconds * 1_000;
    while (Date.now() < this.#ends) {
      const epochEnds = Math.min(this.#ends, Date.now() + EPOCH);
      await Promise.all([
        // The work between two rungs moves nothing that the pulse sees.
        this.#until(epochEnds, 600, () => this.#watch.during("a command", this.#move(), MOST)),
        this.#until(epochEnds, 4_000, () => this.#fault(serverFault(this.#ground))),
        this.#until(epochEnds, 6_000, () => this.#processFault()),
        this.#until(epochEnds, 4_000, () => this.#fault(networkFault(this.#ground))),
      ]);
      await this.#judge();
    }
  }

  async #begin(): Promise<void> {
    while (this.#fleet.members.length < MEMBERS) await this.#fleet.start();
    await this.#traffic.plant(30);
    await this.#climb(Math.floor(this.#random() * 8));
    this.#traffic.start();
  }

  get #ground(): Ground {
    return {
      site: this.#site,
      fleet: this.#fleet,
      traffic: this.#traffic,
      random: this.#random,
      deadline: DEADLINE,
      withAuthority: (act) => this.#withAuthority(act),
      dyingBackfill: () => this.#dyingCommand({ backfill: true }),
    };
  }

  // --- Moves ---

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
    const steps = 1 + Math.floor(this.#random() * 10);
    const { ended, holder } = await walkAndDie(this.options.folder, this.#site.config, work, steps);
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

  #withAuthority<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#authority.then(act);
    this.#authority = done.then(
      () => {},
      () => {},
    );
    return done;
  }

  // --- Faults ---

  async #processFault(): Promise<void> {
    const fault = processFault(this.#ground);
    const done = this.#fault(fault);
    if (fault?.aside) {
      this.#aside.add(done);
      done.then(
        () => this.#aside.delete(done),
        // A hang is told by whoever waits for it.
        () => {},
      );
    } else await done;
    await this.#fleet.collect();
  }

  async #fault(fault: Fault | null): Promise<void> {
    if (fault === null) return;
    const { kind } = fault;
    this.#count(this.#faults, kind);
    this.options.tell?.(kind);
    this.#faultsUnderWay++;
    try {
      await this.#watch.during(kind, fault.act());
    } catch (error) {
      if (error instanceof Hang) throw error;
      this.#expected(error, kind);
    } finally {
      this.#faultsUnderWay--;
      this.#calmSince = Date.now();
    }
  }

  // --- What must hold ---

  /** Ends the faults, waits for the fleet to recover by itself, and judges everything that was recorded. */
  async #judge(): Promise<void> {
    const watch = this.#watch;
    await watch.during("the last faults", Promise.all(this.#aside));
    const began = this.#calmSince;
    await watch.during("what is pending to be finished", this.#finish());
    await watch.during("everybody to serve", this.#recovered());
    this.#recovery = Math.max(this.#recovery, Date.now() - began);
    for (const { code, verb, detail } of this.#history.failures.splice(0)) {
      if (code !== "cut-off" && !(code in CATALOGUE)) this.#wrong(`${verb} failed with ${code}: ${detail}`);
    }
    await watch.during("the last requests", this.#traffic.stop());
    const { serving } = this.#fleet;
    const judged = verdict(this.#site, this.#history, serving).catch((error) => [String(error)]);
    const wrong = await watch.during("the stores to come to rest", judged);
    for (const what of wrong) this.#wrong(what);
    // Whoever looks for the cause wants to know who was there.
    if (wrong.length > 0) this.options.tell?.(await reportOf(this.#site, this.#fleet).catch(String));
    this.#histories += this.#history.sids.length;
    this.#traffic.startOver();
    await this.#fleet.collect();
    this.options.tell?.(`${this.#histories} histories checked, ${this.#violations.length} violations`);
    if (Date.now() < this.#ends) {
      await this.#traffic.plant(30);
      this.#traffic.start();
    }
  }

  async #finish(): Promise<void> {
    for (;;) {
      const record = await this.#site.record().catch(() => null);
      if (record?.pending === null) return;
      await this.#site.command((c) => c.finish()).catch((error) => this.#expected(error, "finishing"));
      await delay(500);
    }
  }

  /** Until everybody serves and nobody is silent or fenced off, and for a moment nothing fails any more. */
  async #recovered(): Promise<void> {
    for (;;) {
      while (!((await this.#allServe()) && (await this.#allRenew()))) await delay(300);
      const calm = Date.now();
      await delay(CALM);
      const failed = this.#history.failures.filter(({ since }) => since > calm);
      for (const { code, verb } of failed.filter(({ code }) => !SLOW.has(code))) {
        this.#wrong(`${verb} failed without a cause: ${code}`);
      }
      if (failed.length === 0) return;
    }
  }

  /** Who was cut off from the control store serves on, and may be taken for dead just when it is back. */
  async #allRenew(): Promise<boolean> {
    return this.#site.look(async ({ control }) => {
      const [nodes, now] = await Promise.all([control.nodes(), control.now()]);
      return nodes.every(({ state, renewedAt }) => state === "live" && now - renewedAt < RENEWED_WITHIN);
    });
  }

  async #allServe(): Promise<boolean> {
    const asked = this.#fleet.members.map((member) =>
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
