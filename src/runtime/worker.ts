import type { Config } from "../core/config.js";
import { FerryError } from "../errors.js";
import { DrainRate } from "../ferry/drain-rate.js";
import { drainIndex } from "../ferry/drainer.js";
import { loadSecrets } from "../jobs/secrets.js";
import { Performer } from "../jobs/spread/performer.js";
import type { Observer } from "../ports/observer.js";
import type { WorkEngine, WorkTaker } from "../ports/work-queue.js";
import { LATE, within } from "../stores/deadline.js";
import { systemClock } from "./clock.js";
import { Loop } from "./loop.js";
import { FerryNode } from "./node.js";
import { rejoin } from "./rejoin.js";
import { redisTls } from "./tls.js";

/** The jobs that are handed out, each over a queue of its own. */
export const SPREAD_JOBS = ["backfill", "check"] as const;
export type SpreadJob = (typeof SPREAD_JOBS)[number];

/**
 * Milliseconds for one batch: several times what its own tries and the stores' deadlines allow. What should hang here all
 * the same is tried again by another worker, since its lock in the queue would be renewed for ever.
 */
const PIECE = 180_000;

/** The engine over which one kind of job is handed out; only the driver in use is loaded. */
export async function openEngine(config: Config, job: SpreadJob): Promise<WorkEngine> {
  const { bullmqEngine } = await import("../stores/bullmq.js");
  const { workers, migration } = config;
  return bullmqEngine({ url: workers.queue, tls: redisTls(config, workers.queue), migration, name: job });
}

interface Joined {
  readonly node: FerryNode;
  readonly performer: Performer;
  readonly drain: Loop;
  close(): Promise<void>;
}

/**
 * A process that does batches of jobs which others hand out, and drains beside that: a node of the role job. Evicted,
 * it gives back what it had taken and joins again as a new node; killed, its batches go to others when its locks in the
 * queue run out, and what it owed the stores is swept as any node's.
 */
export class WorkerProcess {
  #current: Joined | null = null;
  readonly #closing = new AbortController();
  #rejoining: Promise<unknown> = Promise.resolve();
  #takers: WorkTaker[] = [];
  #batches = 0;

  private constructor(
    readonly config: Config,
    readonly observer: Observer,
  ) {}

  /** Resolves when it takes work. @throws FerryError NOT_SET_UP, CONTROL_UNREACHABLE, USAGE, EVICTION_POLICY, ... */
  static async open(config: Config, observer: Observer, concurrency: number): Promise<WorkerProcess> {
    const worker = new WorkerProcess(config, observer);
    try {
      await worker.#join();
      const onError = (error: unknown) => observer.event({ type: "background-error", task: "queue", error });
      for (const job of SPREAD_JOBS) {
        const engine = await openEngine(config, job);
        worker.#takers.push(await engine.take((piece) => worker.#perform(piece), concurrency, onError));
      }
      return worker;
    } catch (error) {
      await worker.close();
      throw error;
    }
  }

  /** The node that it is at the moment; null while it joins again. */
  get node(): FerryNode | null {
    return this.#current?.node ?? null;
  }

  /** Batches that it has done. */
  get batches(): number {
    return this.#batches;
  }

  /** Gives back what is not done within a moment, leaves the fleet, and closes everything. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#takers.map((taker) => taker.close()));
    const current = this.#current;
    this.#current = null;
    await Promise.all([current?.close(), this.#rejoining]);
  }

  async #perform(piece: unknown): Promise<object> {
    const current = this.#current;
    if (current === null) throw new FerryError("NODE_EVICTED", "This worker was fenced off and joins again.");
    const answer = await within(current.performer.perform(piece), PIECE);
    if (answer === LATE) throw new FerryError("DEADLINE", "A batch was not done in time; another worker tries it.");
    this.#batches++;
    return answer;
  }

  async #join(): Promise<Joined> {
    const gone = new AbortController();
    const node = await FerryNode.open(this.config, {
      role: "job",
      observer: this.observer,
      onEvicted: () => {
        gone.abort();
        if (this.#current?.node === node) this.#rejoin();
      },
    });
    const { legacy, records, control, ferry, ctx } = node;
    const secrets = await loadSecrets(control, systemClock).catch(async (error: unknown) => {
      await node.close();
      throw error;
    });
    if (gone.signal.aborted) {
      void node.abandon();
      throw new FerryError("NODE_EVICTED", "This worker was fenced off while it joined.");
    }
    const signal = AbortSignal.any([gone.signal, this.#closing.signal]);
    const performer = new Performer(
      {
        ...{ legacy, records, copier: ferry, clock: systemClock, ids: ctx.ids, secrets },
        revision: () => ctx.routing.record.revision,
      },
      signal,
    );
    const rate = new DrainRate(control, systemClock, this.config.drain);
    const drain = new Loop(
      async () => void (await drainIndex(ctx, rate, () => !signal.aborted)),
      () => this.config.drain.every,
      (error) => this.observer.event({ type: "background-error", task: "drain", error }),
    ).start();
    const close = async () => {
      await drain.stop();
      await node.close();
    };
    this.#current = { node, performer, drain, close };
    return this.#current;
  }

  #rejoin(): void {
    const old = this.#current;
    this.#current = null;
    const abandoned = [old?.drain.stop(), old?.node.abandon()];
    const joined = rejoin(() => this.#join(), this.observer, this.#closing.signal);
    this.#rejoining = Promise.all([...abandoned, joined]);
  }
}
