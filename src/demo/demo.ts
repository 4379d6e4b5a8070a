import { setTimeout as sleep } from "node:timers/promises";
import { FerryError } from "../errors.js";
import { Fleet } from "./fleet.js";
import { Journal } from "./journal.js";
import { type IntervalReport, Latency } from "./latency.js";
import { LEGACY, openPlainStore, seed } from "./legacy.js";
import { openPlainRedis } from "./plain-redis.js";
import { formatProof, type ProofLine, prove } from "./proof.js";
import { quietSessions } from "./quiet.js";
import { DemoFailed, Shell } from "./shell.js";
import { MIGRATION, type Stage, type StageOptions, setStage } from "./stage.js";
import { formatLatency, Timeline } from "./timeline.js";
import { Traffic } from "./traffic.js";
import { Truth } from "./truth.js";

export interface DemoOptions extends StageOptions {
  /** Requests a second in all; default 180. */
  readonly rate?: number | undefined;
  /** Sessions that no traffic touches; default 20,000. */
  readonly quiet?: number | undefined;
  /** For how long Redis is dead, in milliseconds; default 10,000. */
  readonly outage?: number | undefined;
  /** For how long the traffic is left alone at each station, in milliseconds; default 2,000. */
  readonly breath?: number | undefined;
  readonly print: (line: string) => void;
  readonly colours?: boolean;
  /** Ends the demo early; everything it started ends too. */
  readonly signal?: AbortSignal;
}

/** How long the fleet may take to arm a Redis that came back empty, in milliseconds. */
const REARM_PATIENCE = 60_000;

const PROCESSES = ["app-1", "app-2", "app-3"];

export interface DemoResult {
  /** Whether every line of the proof holds. */
  readonly ok: boolean;
  readonly seconds: number;
  readonly proof: readonly ProofLine[];
  readonly transitions: readonly IntervalReport[];
  /** Why it ended before the proof; null where it came to it. */
  readonly failure: string | null;
}

/**
 * The whole migration of a shop under live traffic, by the commands that a team types, with an outage of Redis, the
 * death of a process and a change of mind on the way; then the proof.
 * @throws FerryError SERVER_MISSING where servers or packages are not there, INTERRUPTED after Ctrl-C
 */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const timeline = new Timeline(options.print, options.colours ?? false);
  timeline.step(`From ${LEGACY[options.legacy].title} to Redis: the servers start`);
  const stage = await setStage(options, (line) => timeline.say(line));
  const demo = new Demo(options, timeline, stage);
  try {
    const { proof, failure } = await demo.outcome();
    const { seconds } = timeline;
    await demo.end();
    const ok = failure === null && proof.length > 0 && proof.every((line) => line.ok);
    if (!ok) timeline.say(`What everybody said, in full: ${demo.journal.keep()}`);
    return { ok, seconds, proof, transitions: demo.latency.report(), failure };
  } finally {
    await demo.end();
    await stage.close();
  }
}

class Demo {
  readonly truth = new Truth();
  readonly latency = new Latency();
  readonly journal: Journal;
  readonly fleet: Fleet;
  readonly traffic: Traffic;
  readonly shell: Shell;
  readonly signal: AbortSignal;
  /** Seconds. */
  readonly breath: number;

  constructor(
    readonly options: DemoOptions,
    readonly timeline: Timeline,
    readonly stage: Stage,
  ) {
    this.signal = options.signal ?? new AbortController().signal;
    this.breath = (options.breath ?? 2_000) / 1000;
    this.journal = new Journal(stage.folder);
    this.fleet = new Fleet(this.truth, timeline, this.journal);
    this.traffic = new Traffic(this.truth, this.latency, this.fleet.targets, { rate: options.rate ?? 180, users: 120 });
    this.shell = new Shell(stage.folder, timeline, this.journal, this.signal);
  }

  /** Plays it; what went wrong before the proof is told. */
  async outcome(): Promise<{ proof: readonly ProofLine[]; failure: string | null }> {
    try {
      return { proof: await this.run(), failure: null };
    } catch (error) {
      if (this.signal.aborted) throw interrupted();
      if (!(error instanceof DemoFailed)) throw error;
      this.explain();
      this.timeline.step(`The demo failed: ${error.message}`);
      return { proof: [], failure: error.message };
    }
  }

  async run(): Promise<readonly ProofLine[]> {
    const { timeline, options, stage } = this;
    const title = LEGACY[options.legacy].title;

    const quiet = quietSessions(options.quiet ?? 20_000);
    await seed(options.legacy, stage.legacyUrl, quiet);
    timeline.say(`${quiet.length.toLocaleString("en")} sessions lie in ${title}, written by its plain client`);

    timeline.step(`An ordinary shop: three processes on ${LEGACY[options.legacy].preset}, and its users`);
    for (const name of PROCESSES) await this.start(name, "plain");
    this.traffic.parallel = LEGACY[options.legacy].touches;
    this.traffic.start();
    await this.pause(this.breath);

    timeline.step("The library is deployed, process by process; nothing changes yet");
    await this.command("doctor");
    await this.command("setup --yes");
    for (const name of PROCESSES) {
      await this.fleet.stop(name);
      await this.start(name, "ferry");
    }
    this.traffic.parallel = true;
    await this.command("status");

    timeline.step("dual-write: Redis learns what is written");
    await this.command("phase advance --to dual-write --percent 10");
    await this.command("phase advance --to dual-write --percent 100");
    await this.outage();

    timeline.step("What was written before is copied, and compared");
    await this.command("phase advance --to read-through --percent 10", 3);
    await this.command("backfill");
    await this.command("check");

    timeline.step("read-through: Redis answers reads");
    await this.command("phase advance --to read-through --percent 10");
    await this.command("phase advance --to read-through --percent 100");
    await this.death("app-2");

    timeline.step("redis-first: Redis is the authority");
    await this.command("check --sample 2000");
    await this.command("phase advance --to redis-first --percent 50");
    await this.command("phase advance --to redis-first --percent 100");
    await this.pause(this.breath);

    timeline.step("A change of mind: back, and forward again");
    await this.command("phase rollback --to read-through");
    await this.pause(this.breath);
    await this.command("phase advance --to redis-first --percent 100");

    timeline.step(`full-redis: ${title} is a backup`);
    await this.command("check --sample 2000");
    await this.command("phase advance --to full-redis");
    await this.pause(this.breath);

    timeline.step("complete: the one step that cannot be undone, so every session is compared once more");
    await this.command("check");
    const handedOverAt = Date.now();
    await this.command("phase advance --to complete", 0, MIGRATION);
    await this.pause(this.breath);

    timeline.step("The users go home, and the processes end");
    await this.traffic.stop();
    await this.fleet.stopAll();
    this.explain();
    timeline.say(`${this.traffic.requests.toLocaleString("en")} requests were answered`);
    options.print("");
    options.print(formatLatency(this.latency.report()));

    timeline.step("The proof, read by connect-redis, node-redis and the old store alone");
    const redis = await openPlainRedis(stage.redisUrl);
    const legacy = await openPlainStore(options.legacy, stage.legacyUrl);
    const lines = await prove({
      truth: this.truth,
      quiet,
      redis,
      legacy: { name: options.legacy, store: legacy.store },
      handedOverAt,
    });
    await Promise.all([redis.close(), legacy.close()]);
    options.print("");
    options.print(formatProof(lines));
    return lines;
  }

  /** What the users complained of so far. */
  explain(): void {
    for (const fault of this.truth.faults.slice(0, 10)) this.timeline.say(`${fault.kind}: ${fault.detail}`);
    if (this.truth.faults.length > 10) this.timeline.say(`... ${this.truth.faults.length - 10} more`);
  }

  /** For every way out; may be called again. */
  async end(): Promise<void> {
    const stopped = this.traffic.stop();
    await this.fleet.killAll();
    await stopped;
    this.journal.close();
  }

  async start(name: string, store: "plain" | "ferry"): Promise<void> {
    this.signal.throwIfAborted();
    const { legacy } = this.options;
    const plain = ["--store", "plain", "--legacy", legacy, "--legacy-url", this.stage.legacyUrl];
    const args = store === "plain" ? plain : ["--store", "ferry"];
    await this.fleet.start(name, args, this.stage.folder);
    const what = store === "plain" ? LEGACY[legacy].preset : "sessionferry";
    this.timeline.say(`${name} serves, on ${what}`);
  }

  /** Types a command; the requests meanwhile make a line of the table. */
  async command(line: string, expected = 0, typed?: string): Promise<void> {
    const end = this.latency.begin(line);
    try {
      await this.shell.run(line.split(" "), expected, typed);
    } finally {
      end();
    }
  }

  async outage(): Promise<void> {
    const { timeline, fleet, stage } = this;
    const seconds = (this.options.outage ?? 10_000) / 1000;
    timeline.step(`Redis dies, for ${seconds} seconds`);
    if (stage.redis === null) return timeline.say("This Redis is not ours: it is left alive.");
    const end = this.latency.begin("Redis away");
    const began = timeline.seconds;
    fleet.tellsOfRedis = true;
    await stage.redis.kill();
    timeline.say("Redis was killed (SIGKILL)");
    await this.pause(Math.min(2, seconds / 2));
    await this.shell.run(["status"]);
    await this.pause(seconds - (timeline.seconds - began));
    await stage.redis.restart();
    timeline.say("Redis is back, and empty");
    await this.rearmed();
    fleet.tellsOfRedis = false;
    end();
    timeline.say("The fleet has armed it anew and told it what it had missed");
    await this.shell.run(["status"]);
  }

  /** Asks `status` until every process trusts the new Redis and owes it nothing. */
  async rearmed(): Promise<void> {
    const until = Date.now() + REARM_PATIENCE;
    for (;;) {
      const status = await this.shell.ask<{ redis: unknown; mirror: { healthy: boolean } }>(["status"]);
      if (status !== null && status.redis !== null && status.mirror.healthy) return;
      if (Date.now() > until) throw new DemoFailed("the fleet did not arm the empty Redis anew");
      await this.pause(0.2);
    }
  }

  async death(name: string): Promise<void> {
    this.timeline.step(`${name} dies, and is replaced later`);
    const end = this.latency.begin(`${name} killed`);
    const pid = this.fleet.pidOf(name);
    const cut = await this.fleet.kill(name);
    this.timeline.say(`${name} (pid ${pid}) was killed (SIGKILL) with ${cut} requests under way`);
    await this.pause(this.breath);
    await this.shell.run(["nodes"]);
    await this.start("app-4", "ferry");
    end();
  }

  async pause(seconds: number): Promise<void> {
    await sleep(Math.max(0, seconds * 1000), undefined, { signal: this.signal });
    this.signal.throwIfAborted();
  }
}

function interrupted(): FerryError {
  return new FerryError("INTERRUPTED", "The demo was interrupted.", {
    remedy: "Nothing is left of it. Run it again to see the whole.",
  });
}
