import { randomBytes } from "node:crypto";
import type { Job, Queue, QueueEvents } from "bullmq";
import { Redis } from "ioredis";
import { redisOptionsOf } from "../control/redis-url.js";
import { CATALOGUE, type ErrorCode, FerryError } from "../errors.js";
import type { Perform, WorkEngine, WorkQueue, WorkTaker } from "../ports/work-queue.js";
import { LATE, within } from "./deadline.js";
import { isAtLeast, parseInfo } from "./redis/info.js";

export interface BullmqOptions {
  /** `redis://`, `rediss://` or `redis-sentinel://`. */
  readonly url: string;
  readonly tls?: Readonly<Record<string, unknown>>;
  readonly migration: string;
  /** One queue for each kind of job. */
  readonly name: string;
}

/** A worker that has not renewed its lock on a piece for so long (milliseconds) has lost it to another. */
const LOCK = 6_000;
/** How often workers look for such pieces. */
const LOOK_FOR_STALLED = 2_000;
/** Pieces under way are looked after this often, whatever events have told. */
const SWEEP = 2_000;
/** What nobody has collected, because who handed it out has died, is forgotten after so many seconds. */
const KEPT = 3_600;
/** So many seconds the queue's own few keys outlive its last job. */
const REMEMBERED = 86_400;
const EVENTS = 1_000;
const ATTEMPTS = { attempts: 10, backoff: { type: "fixed", delay: 500 } } as const;
/** For the first connection, in milliseconds. */
const CONNECT = 5_000;
/** For a question, in milliseconds: commands wait in the driver for as long as Redis is away. */
const ANSWER = 2_000;
/** So long (milliseconds) a queue takes leave; its connections are dropped then, whatever they wait for. */
const GOODBYE = 2_000;
/** What a closing worker has in hand is broken off, which takes as long as its stores' deadlines. */
const LAST_PIECES = 30_000;

/**
 * BullMQ as the engine. All keys begin with `{sf:<migration>:queue}`, as no session's key can; the braces keep them in
 * one slot of a Redis Cluster.
 */
export function bullmqEngine(options: BullmqOptions): WorkEngine {
  const prefix = `{sf:${options.migration}:queue}`;
  return {
    async openQueue() {
      const { bullmq, client } = await connect(options);
      const common = { connection: client, prefix, skipVersionCheck: true };
      const queue = new bullmq.Queue(options.name, { ...common, streams: { events: { maxLen: EVENTS } } });
      const events = new bullmq.QueueEvents(options.name, common);
      // Connections mend themselves; what that costs is seen by the sweeps.
      queue.on("error", () => {});
      events.on("error", () => {});
      await readyIn(events.waitUntilReady(), client);
      return new BullmqQueue(queue, events, client, prefix);
    },

    async take(perform, concurrency, onError): Promise<WorkTaker> {
      const { bullmq, client } = await connect(options);
      const worker = new bullmq.Worker(options.name, (job) => performed(perform, job.data, bullmq), {
        ...{ connection: client, prefix, skipVersionCheck: true, concurrency },
        ...{ lockDuration: LOCK, stalledInterval: LOOK_FOR_STALLED, maxStalledCount: Number.MAX_SAFE_INTEGER },
      });
      worker.on("error", onError);
      await readyIn(worker.waitUntilReady(), client);
      return {
        async close() {
          // A connection that is being made anew never tells that it has ended; its pieces go to others in any case.
          await within(worker.close(), LAST_PIECES).catch(onError);
          client.disconnect();
        },
      };
    },
  };
}

class BullmqQueue implements WorkQueue {
  readonly #run = randomBytes(6).toString("hex");
  readonly #outstanding = new Map<string, Outstanding>();
  readonly #collecting = new Set<string>();
  readonly #sweeping: NodeJS.Timeout;
  #count = 0;

  constructor(
    readonly queue: Queue,
    readonly events: QueueEvents,
    readonly client: Redis,
    readonly prefix: string,
  ) {
    for (const event of ["completed", "failed"] as const) {
      events.on(event, ({ jobId }: { jobId: string }) => void this.#collect(jobId));
    }
    // An event may have passed while its reader was connecting again, and a piece may be gone with its Redis.
    this.#sweeping = setInterval(() => {
      for (const id of this.#outstanding.keys()) void this.#collect(id);
    }, SWEEP);
  }

  async submit(piece: object, signal?: AbortSignal): Promise<unknown> {
    signal?.throwIfAborted();
    const id = `${this.#run}-${this.#count++}`;
    return new Promise((resolve, reject) => {
      const abort = () => reject(signal?.reason);
      signal?.addEventListener("abort", abort, { once: true });
      const settle = () => {
        signal?.removeEventListener("abort", abort);
        this.#outstanding.delete(id);
      };
      this.#outstanding.set(id, { piece, resolve, reject, settle });
      this.#add(id, piece).catch(() => {
        // The sweep finds that it is not there and adds it then.
      });
    });
  }

  async workers(): Promise<number | null> {
    const told = await within(
      this.queue.getWorkersCount().catch(() => null),
      ANSWER,
    );
    if (told === LATE) throw away();
    return told;
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeping);
    await within(this.#takeLeave(), GOODBYE);
    this.client.disconnect();
  }

  async #takeLeave(): Promise<void> {
    const own = [...this.#outstanding.keys()];
    await Promise.allSettled(own.map(async (id) => (await this.queue.getJob(id))?.remove()));
    // `stalled-check` is not among them: while it stands nobody looks for the batches of dead workers.
    const names = ["meta", "events", "id"].map((name) => `${this.prefix}:${this.queue.name}:${name}`);
    await Promise.allSettled(names.map((name) => this.client.expire(name, REMEMBERED)));
    await Promise.allSettled([this.events.close(), this.queue.close()]);
  }

  async #add(id: string, piece: object): Promise<void> {
    await this.queue.add("piece", piece, {
      ...ATTEMPTS,
      ...{ jobId: id, stackTraceLimit: 0, removeOnComplete: { age: KEPT }, removeOnFail: { age: KEPT } },
    });
  }

  /** Takes the answer to a piece of ours once, if there is one; hands the piece out anew if the queue has lost it. */
  async #collect(id: string): Promise<void> {
    const piece = this.#outstanding.get(id);
    if (piece === undefined || this.#collecting.has(id)) return;
    this.#collecting.add(id);
    try {
      const job: Job | undefined = await this.queue.getJob(id);
      if (job === undefined) return await this.#add(id, piece.piece);
      const state = await job.getState();
      if (state !== "completed" && state !== "failed") return;
      // Only now is what was answered there for certain.
      const ended = await this.queue.getJob(id);
      if (ended === undefined || !this.#outstanding.has(id)) return;
      piece.settle();
      if (state === "completed") piece.resolve(ended.returnvalue);
      else piece.reject(errorOf(ended.failedReason));
      await ended.remove();
    } catch {
      // The Redis of the queue is away for the moment: the next sweep asks again.
    } finally {
      this.#collecting.delete(id);
    }
  }
}

interface Outstanding {
  readonly piece: object;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly settle: () => void;
}

function away(): FerryError {
  return new FerryError("REDIS_UNREACHABLE", "The Redis of the queue cannot be reached.", {
    remedy: "Bring it back or correct `workers.queue`; nothing was changed.",
  });
}

async function readyIn(ready: Promise<unknown>, client: Redis): Promise<void> {
  if ((await within(ready, CONNECT)) !== LATE) return;
  client.disconnect();
  throw away();
}

type Bullmq = typeof import("bullmq");

async function connect({ url, tls }: BullmqOptions): Promise<{ bullmq: Bullmq; client: Redis }> {
  const bullmq = await import("bullmq").catch((cause: unknown) => {
    throw new FerryError("USAGE", "Jobs are spread over workers by bullmq, which is not installed.", {
      cause,
      remedy: "Install it beside sessionferry: npm install bullmq",
    });
  });
  const client = new Redis({
    ...redisOptionsOf(url, tls, "workers.queue"),
    ...{ maxRetriesPerRequest: null, connectTimeout: CONNECT, lazyConnect: true },
  });
  client.on("error", () => {});
  try {
    await client.connect();
    await requireFit(client);
    return { bullmq, client };
  } catch (error) {
    client.disconnect();
    if (error instanceof FerryError) throw error;
    const denied = /WRONGPASS|NOAUTH|NOPERM/.test(String(error));
    throw denied
      ? new FerryError("AUTHENTICATION_FAILED", "The Redis of the queue refuses the user of workers.queue.")
      : away();
  }
}

/** A queue that loses pieces under memory pressure would let a job wait for answers that never come. */
async function requireFit(client: Redis): Promise<void> {
  const info = parseInfo(await client.info());
  const version = info.get("redis_version") ?? "0";
  if (!isAtLeast(version, 6, 2)) {
    throw new FerryError("VERSION_UNSUPPORTED", `The Redis of the queue is ${version}; 6.2 or later is needed.`);
  }
  const policy = info.get("maxmemory_policy");
  if (policy !== undefined && policy !== "noeviction") {
    throw new FerryError("EVICTION_POLICY", `The Redis of the queue evicts (${policy}): batches would be lost.`, {
      remedy: "Set its maxmemory-policy to noeviction, or name another Redis in `workers.queue`.",
    });
  }
}

/** What a failed attempt leaves in the queue is for people to read: a code and our own words, or a class's name. */
async function performed(perform: Perform, piece: unknown, { UnrecoverableError }: Bullmq): Promise<object> {
  try {
    return await perform(piece);
  } catch (error) {
    if (!(error instanceof FerryError)) throw new Error(error instanceof Error ? error.name : "error");
    const told = JSON.stringify({ code: error.code, message: error.message });
    throw error.retryable ? new Error(told) : new UnrecoverableError(told);
  }
}

function errorOf(reason: string): FerryError {
  try {
    const { code, message } = JSON.parse(reason) as { code: ErrorCode; message: string };
    if (code in CATALOGUE) return new FerryError(code, message);
  } catch {
    // Not in our words.
  }
  return new FerryError("UNEXPECTED", `A worker failed: ${/^[A-Za-z]{1,40}$/.test(reason) ? reason : "it stalled"}.`);
}
