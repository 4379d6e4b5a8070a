import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunningServer, startMemcached, startRedis } from "../../src/servers/index.js";
import { transpiledPackage } from "../support/processes-of-src.js";
import { converse } from "./converse.js";
import type { Place } from "./drivers.js";

/** The command under test is asked for no longer than this; a slow machine has several of them at once. */
const PATIENCE = 120_000;

/** A process of the real command, which serves until it is told to stop. */
export interface ProxyProcess {
  readonly place: Place;
  readonly http: string;
  readonly child: ChildProcess;
  /** The documents that it printed, one for each thing that happened. */
  readonly lines: Record<string, unknown>[];
  /** SIGTERM, as an operator does it; the exit code. */
  stop(): Promise<number | null>;
}

/** memcached, Redis, and a Redis for the control record, with one migration over them and the command to steer it. */
export class DoorSite {
  readonly #proxies: ProxyProcess[] = [];

  private constructor(
    readonly memcached: RunningServer,
    readonly redis: RunningServer,
    readonly control: RunningServer,
    readonly folder: string,
    /** What stands in its configuration. */
    readonly config: Readonly<Record<string, unknown>>,
    private readonly packaged: { readonly path: string; remove(): void },
  ) {}

  /** @param changes sections that are merged over the configuration's */
  static async open(preset: string, changes: Record<string, Record<string, unknown>> = {}): Promise<DoorSite> {
    const [memcached, redis, control] = await Promise.all([startMemcached(), startRedis(), startRedis()]);
    const folder = mkdtempSync(join(tmpdir(), "sessionferry-door-"));
    const base: Record<string, unknown> = {
      migration: "door",
      legacy: { preset, url: memcached.url },
      redis: { url: redis.url },
      control: { url: control.url },
      proxy: {
        listeners: [{ listen: "127.0.0.1:0", server: `${memcached.host}:${memcached.port}` }],
        http: "127.0.0.1:0",
      },
      // A busy machine is slow, which is no difference that a client sees.
      timeouts: { legacy: "20s", redis: "2s", acknowledge: "60s", drain: "60s" },
      // memcached counts time by ticks of a second, and a tick may be late there: what it is told then ends earlier.
      gates: { maxP95: "1m", minStay: { "full-redis": 0 }, ttlTolerance: "3s" },
      ramps: { "dual-write": [50, 100], "read-through": [50, 100], "redis-first": [50, 100] },
    };
    for (const [name, section] of Object.entries(changes)) base[name] = { ...(base[name] as object), ...section };
    writeFileSync(join(folder, "sessionferry.json"), JSON.stringify(base));
    return new DoorSite(memcached, redis, control, folder, base, transpiledPackage());
  }

  async close(): Promise<void> {
    await Promise.all(this.#proxies.map((proxy) => proxy.stop()));
    await Promise.all([this.memcached, this.redis, this.control].map((server) => server.stop()));
    rmSync(this.folder, { recursive: true, force: true });
    this.packaged.remove();
  }

  /** Runs one command to its end, and gives its document. Rejects where it fails. */
  async run(...words: string[]): Promise<Record<string, unknown>> {
    const child = this.#spawn([...words, "--json"]);
    let stdout = "";
    let stderr = "";
    child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk));
    child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk));
    const late = setTimeout(() => child.kill("SIGKILL"), PATIENCE);
    const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
    clearTimeout(late);
    if (code !== 0) throw new Error(`${words.join(" ")} ended with ${code}: ${stdout}\n${stderr}`);
    return JSON.parse(stdout) as Record<string, unknown>;
  }

  /** Sessions that nobody touches, so that the busy ones are few, as on a site. */
  async seed(prefix: string, count: number): Promise<void> {
    const value = "user|i:7;".padEnd(200, "x");
    const sets = Array.from(
      { length: count },
      (_, n) => `set ${prefix}quiet-${n} 0 86400 ${value.length}\r\n${value}\r\n`,
    );
    const stored = new RegExp(`(STORED\\r\\n){${count}}$`);
    await converse(this.memcached, sets.join(""), stored);
  }

  async startProxy(...words: string[]): Promise<ProxyProcess> {
    const child = this.#spawn(["proxy", "--json", ...words]);
    const lines: Record<string, unknown>[] = [];
    let stderr = "";
    let rest = "";
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk));
    const health = new Promise<void>((resolve, reject) => {
      child.stdout?.on("data", (chunk: Buffer) => {
        const complete = (rest + chunk).split("\n");
        rest = complete.pop() ?? "";
        lines.push(...complete.map((line) => JSON.parse(line) as Record<string, unknown>));
        if (lines.some(({ msg }) => msg === "health")) resolve();
      });
      void ended.then((code) => reject(new Error(`the proxy ended with ${code}: ${JSON.stringify(lines)} ${stderr}`)));
    });
    const addressIn = (msg: string) => String(lines.find((line) => line.msg === msg)?.listen);
    await health;
    const [host = "", port = ""] = addressIn("listening").split(":");
    const proxy: ProxyProcess = {
      place: { host, port: Number(port) },
      http: `http://${addressIn("health")}`,
      child,
      lines,
      stop: () => {
        child.kill("SIGTERM");
        return ended;
      },
    };
    this.#proxies.push(proxy);
    return proxy;
  }

  #spawn(words: readonly string[]): ChildProcess {
    const main = join(this.packaged.path, "src/cli/main.js");
    return spawn(process.execPath, [main, ...words], { cwd: this.folder, stdio: ["ignore", "pipe", "pipe"] });
  }
}

type Step = readonly [phase: string, percent: number];

/** Every phase and ramp step upwards from legacy, without the last. */
export const UP: readonly Step[] = [
  ["dual-write", 50],
  ["dual-write", 100],
  ["read-through", 50],
  ["read-through", 100],
  ["redis-first", 50],
  ["redis-first", 100],
  ["full-redis", 100],
];

/** The same without the ramps. */
export const UP_AT_ONCE: readonly Step[] = UP.filter(([, percent]) => percent === 100);

/**
 * Takes one step up, with the copy and the evidence that it asks for: clean evidence stands, so that one check before
 * Redis is read and one before memcached is no longer are enough.
 */
export async function stepUp(site: DoorSite, [phase, percent]: Step, way = UP): Promise<void> {
  const isFirst = percent === way.find(([name]) => name === phase)?.[1];
  if (phase === "read-through" && isFirst) await site.run("backfill");
  if ((phase === "read-through" && isFirst) || phase === "full-redis") await evidence(site);
  await site.run("phase", "advance", "--to", phase, "--percent", String(percent));
}

/** Applications that write without a pause may keep a check from seeing enough of their sessions at rest. */
const CHECKS = 4;

/** A whole check that is clean, and good for a gate. */
export async function evidence(site: DoorSite): Promise<void> {
  const refusals: unknown[] = [];
  while (refusals.length < CHECKS) {
    const { evidence, whyNot } = await site.run("check");
    if (evidence === true) return;
    refusals.push(whyNot);
  }
  throw new Error(`no check is evidence: ${refusals.join("; ")}`);
}
