import { type CallLimits, RedisLost } from "../../ports/redis-records.js";
import type { Conversation } from "./connection.js";
import { SealMismatch } from "./failures.js";
import { parseInfo } from "./info.js";
import type { KeyNames } from "./key-names.js";
import type { Call } from "./link.js";
import { flagOf, listOf } from "./replies.js";
import { decodeSeal, encodeSeal, runsOf, type Seal, sealBeginning, withRun } from "./seal.js";
import type { Perform, PerformAt, Shards } from "./shards.js";

/**
 * Rule 10: nothing is done in an R that is not the one that was armed.
 *
 * Each slot has a seal, and every script looks at the one of its slot: it must name the trusted generation, and the very
 * run of the server that the script runs in. A server that restarted, or took the place of one that died, has another
 * run, and may lack the last that was acknowledged; its slots are then as lost as an R by itself would be, and with them
 * all of R, since the fleet trusts one generation.
 *
 * In a Redis Cluster slots also move from server to server, and that loses nothing. So there a seal names the runs of all
 * masters that were armed: a slot that comes to one of these is trusted as before. A master that was not among them is
 * either a *newcomer*, empty when it joined, which has all it holds from armed ones; or it has taken over from one that
 * failed. It is a newcomer while every server that the seal names is still there: the same run, a master, in touch with
 * the majority. (A slot that went on to an armed server from one that had taken over is not told from others; but one
 * that has taken over is found out at the next look at it, within a second, and then all of R is armed anew.)
 */
export class Trust {
  generation = "";
  trustRestarts = false;
  #expected = { generation: "", run: "", beginning: "" };
  /** Generation and run of servers of which every seal was found as it should be. */
  readonly #whole = new Set<string>();
  /** Verdicts on servers that no seal names, by generation and run. */
  readonly #newcomers = new Map<string, Promise<boolean>>();

  constructor(
    private readonly names: KeyNames,
    private readonly shards: Shards,
    private readonly limits: { readonly call: CallLimits; readonly batch: CallLimits },
  ) {}

  /** Only while R is trusted, for commands that ask for the seal themselves. */
  run<T>(slot: number, limits: CallLimits, perform: Perform<T>): Promise<T> {
    return this.shards.run(slot, limits, (call) => this.#unlessLost(slot, call, perform));
  }

  runReplicated<T>(slot: number, limits: CallLimits, replicas: number, perform: Perform<T>): Promise<T> {
    return this.shards.runReplicated(slot, limits, replicas, (call) => this.#unlessLost(slot, call, perform));
  }

  runEach<T>(slots: readonly number[], limits: CallLimits, perform: PerformAt<T>): Promise<T[]> {
    return this.shards.runEach(slots, limits, (call, slot) =>
      this.#unlessLost(slot, call, (again) => perform(again, slot)),
    );
  }

  /** What the scripts ask the seal to begin with; the same for as long as a connection lasts. */
  beginning({ run }: Conversation): string {
    if (this.#expected.run !== run || this.#expected.generation !== this.generation) {
      const beginning = sealBeginning(this.generation, run, this.names.prefix);
      this.#expected = { generation: this.generation, run, beginning };
    }
    return this.#expected.beginning;
  }

  /** As the scripts do. */
  expectSeal(connection: Conversation, seal: unknown): void {
    if (!(seal instanceof Buffer)) throw new SealMismatch();
    const text = this.names.cluster ? withRun(seal.toString(), connection.run) : seal.toString();
    if (!text.startsWith(this.beginning(connection))) throw new SealMismatch();
  }

  /**
   * Looks at one seal of each server; at every one of a server that was not looked at yet, or of which a script has found
   * a seal missing.
   */
  async ping(limits: CallLimits): Promise<void> {
    await Promise.all(
      this.shards.samples().map(async (slot) => {
        const run = await this.run(slot, limits, (call) => this.#seen(call, slot));
        const server = `${this.generation} ${run}`;
        if (this.#whole.has(server)) return;
        const patient = { ...limits, deadline: Math.max(limits.deadline, this.limits.batch.deadline) };
        const others = this.shards.beside(slot).filter((other) => other !== slot);
        await this.runEach(others, patient, (call, other) => this.#seen(call, other));
        this.#whole.add(server);
      }),
    );
  }

  /** Whether every seal of this server was found as it should be, by `ping`. */
  isWhole({ run }: Conversation): boolean {
    return this.#whole.has(`${this.generation} ${run}`);
  }

  /** Whether some server is not the one that was armed, though what it holds is of the trusted generation. */
  async hasRestarted(): Promise<boolean> {
    const found = await this.shards.runEach(this.names.slots, this.limits.call, async ({ connection }, slot) => {
      const text = await this.sealIn(connection, slot);
      const seal = text === null ? null : decodeSeal(String(text));
      if (seal === null || !this.#isOurs(seal) || runsOf(seal).includes(connection.run)) return false;
      return !(await this.#isNewcomer(seal, connection));
    });
    return found.includes(true);
  }

  /** Seals R otherwise, where it is trusted at this very moment; else rejects with RedisLost. */
  async rewrite(change: (seal: Seal) => Seal): Promise<void> {
    await this.runEach(this.names.slots, this.limits.batch, async (call, slot) => {
      const text = await this.sealIn(call.connection, slot);
      this.expectSeal(call.connection, text);
      const next = encodeSeal(change(decodeSeal(String(text))!));
      if (!(await this.#reseal(slot, call, String(text), next))) throw new SealMismatch();
    });
  }

  /** The text of the seal; null where there is none, and where a key of another type stands in its place. */
  async sealIn(connection: Conversation, slot: number): Promise<unknown> {
    return listOf(await connection.send("MGET", this.names.seal(slot)), 1)[0];
  }

  /** The run of the server that has this slot, where its seal is as it should be. */
  async #seen({ connection }: Call, slot: number): Promise<string> {
    this.expectSeal(connection, await this.sealIn(connection, slot));
    return connection.run;
  }

  /** A mismatch of the seal did nothing, so the call may be made again once the run is accepted. */
  async #unlessLost<T>(slot: number, call: Call, perform: Perform<T>): Promise<T> {
    try {
      return await perform(call);
    } catch (error) {
      if (!(error instanceof SealMismatch)) throw error;
      this.#whole.clear();
      call.check();
      if (!(await this.#acceptRun(slot, call))) throw lost();
      call.check();
      return perform(call).catch((again: unknown) => {
        throw again instanceof SealMismatch ? lost() : again;
      });
    }
  }

  async #acceptRun(slot: number, call: Call): Promise<boolean> {
    if (!this.trustRestarts && !this.names.cluster) return false;
    const { connection } = call;
    const text = await this.sealIn(connection, slot);
    call.check();
    const seal = text === null ? null : decodeSeal(String(text));
    if (seal === null || !this.#isOurs(seal)) return false;
    const { run } = connection;
    // Somebody else was faster.
    if (runsOf(seal).includes(run)) return true;
    if (!this.trustRestarts && !(await this.#isNewcomer(seal, connection))) return false;
    call.check();
    await this.#reseal(slot, call, String(text), encodeSeal(this.names.cluster ? joined(seal, run) : { ...seal, run }));
    return true;
  }

  /** False: somebody changed the seal meanwhile. */
  async #reseal(slot: number, call: Call, from: string, to: string): Promise<boolean> {
    return flagOf(await call.connection.script("reseal", [this.names.seal(slot)], [from, to], () => call.check()));
  }

  #isOurs({ generation, prefix }: Seal): boolean {
    return generation === this.generation && prefix === this.names.prefix;
  }

  /** Once found to be one, a server stays one for as long as it runs: what it lacks nobody has lost. */
  async #isNewcomer(seal: Seal, { run }: Conversation): Promise<boolean> {
    if (!this.names.cluster) return false;
    const server = `${seal.generation} ${run}`;
    let verdict = this.#newcomers.get(server);
    if (verdict === undefined) {
      verdict = this.#areAllThere(runsOf(seal));
      this.#newcomers.set(server, verdict);
      const forget = () => this.#newcomers.delete(server);
      verdict.then((isOne) => isOne || setTimeout(forget, 1_000).unref(), forget);
    }
    return verdict;
  }

  async #areAllThere(runs: readonly string[]): Promise<boolean> {
    const masters = (await this.shards.all()).map((shard) =>
      shard.run(this.limits.call, async ({ connection }) => {
        const [role, state] = await Promise.all([
          connection.send("INFO", "replication"),
          connection.send("CLUSTER", "INFO"),
        ]);
        const isMaster = parseInfo(String(role)).get("role") === "master";
        return isMaster && parseInfo(String(state)).get("cluster_state") === "ok" ? connection.run : null;
      }),
    );
    const there = await Promise.all(masters);
    return runs.every((run) => there.includes(run));
  }
}

/** Runs that a seal names at most; of those who took over from each other the last are kept. */
const MOST_RUNS = 64;

function joined(seal: Seal, run: string): Seal {
  return { ...seal, run: [...runsOf(seal), run].slice(-MOST_RUNS).join(",") };
}

const lost = () =>
  new RedisLost("Redis does not carry the seal of the trusted generation, of its own present run and of this prefix.");
