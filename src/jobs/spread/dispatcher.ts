import { setMaxListeners } from "node:events";
import { type BackfillCounts, NO_COUNTS } from "../../core/backfill-state.js";
import type { Sid } from "../../core/session.js";
import { FerryError } from "../../errors.js";
import type { Clock } from "../../ports/clock.js";
import type { ControlStore } from "../../ports/control-store.js";
import type { LegacyStore } from "../../ports/legacy-store.js";
import type { WorkEngine, WorkQueue } from "../../ports/work-queue.js";
import { loadSecrets, type Secrets } from "../secrets.js";
import { copiedSchema, type Examined, examinedSchema, type Piece, sealSids, type Terms } from "./pieces.js";

/** Batches that are handed out and not answered yet: work for so many hands, and no more memory in the queue. */
export const HANDED_OUT = 48;
const LOOK_FOR_WORKERS = 2_000;
/** So long (milliseconds) a job waits for a first worker, for another when the last has gone, and for the queue's store. */
const PATIENCE = 60_000;
/** A worker that stands elsewhere may only be behind: it is asked again this often, in these milliseconds. */
const AGAIN = { times: 40, pause: 250 };

export interface DispatcherDeps {
  readonly legacy: Pick<LegacyStore, "identity">;
  readonly control: ControlStore;
  readonly clock: Clock;
}

/** Hands batches out to workers, under the terms of the day, and brings their answers. */
export class Dispatcher {
  readonly #ended = new AbortController();
  #watching: Promise<void> = Promise.resolve();

  private constructor(
    readonly deps: DispatcherDeps,
    readonly queue: WorkQueue,
    readonly secrets: Secrets,
    private terms: Terms,
    readonly onAlone: (message: string) => void,
  ) {
    setMaxListeners(0, this.#ended.signal);
  }

  /** @param onAlone is told once for each time that no worker is there, or the queue's store is away */
  static async open(
    engine: WorkEngine,
    deps: DispatcherDeps,
    options: { readonly signal?: AbortSignal; readonly patience?: number; readonly onAlone: (message: string) => void },
  ): Promise<Dispatcher> {
    const secrets = await loadSecrets(deps.control, deps.clock);
    const terms = await termsOf(deps);
    const dispatcher = new Dispatcher(deps, await engine.openQueue(), secrets, terms, options.onAlone);
    const interrupt = () =>
      dispatcher.#end(new FerryError("INTERRUPTED", "The job was broken off; batches under way go on."));
    options.signal?.addEventListener("abort", interrupt, { once: true });
    if (options.signal?.aborted) interrupt();
    dispatcher.#watching = dispatcher.#watch(options.patience ?? PATIENCE);
    return dispatcher;
  }

  /** Copies one batch somewhere; how its sids ended. */
  async copy(sids: readonly Sid[], force: boolean): Promise<BackfillCounts> {
    if (sids.length === 0) return NO_COUNTS;
    const sealed = sealSids(this.secrets, sids);
    return copiedSchema.parse(await this.#ask((terms) => ({ kind: "copy", terms, sids: sealed, force })));
  }

  /** Looks at one batch somewhere. */
  async examine(
    sids: readonly Sid[],
    how: { readonly side: "legacy" | "redis"; readonly ttlTolerance: number; readonly readOnly: boolean },
  ): Promise<Examined> {
    const sealed = sealSids(this.secrets, sids);
    return examinedSchema.parse(await this.#ask((terms) => ({ kind: "examine", terms, sids: sealed, ...how })));
  }

  /** Forgets what is still waiting. */
  async close(): Promise<void> {
    this.#end(new FerryError("CLOSED", "The job has ended."));
    await this.#watching;
    await this.queue.close();
  }

  async #ask(pieceUnder: (terms: Terms) => Piece): Promise<unknown> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.queue.submit(pieceUnder(this.terms), this.#ended.signal);
      } catch (error) {
        const elsewhere = error instanceof FerryError && error.code === "OVERTAKEN";
        if (!elsewhere || tries >= AGAIN.times) throw error;
        await this.deps.clock.sleep(AGAIN.pause, this.#ended.signal);
        this.terms = await termsOf(this.deps);
      }
    }
  }

  #end(reason: FerryError): void {
    if (!this.#ended.signal.aborted) this.#ended.abort(reason);
  }

  /** Ends the job when it has waited too long for what it cannot do without. */
  async #watch(patience: number): Promise<void> {
    const { clock } = this.deps;
    const { signal } = this.#ended;
    let lacking = null as { readonly what: "workers" | "queue"; readonly since: number } | null;
    while (!signal.aborted) {
      const what = await this.#lacks();
      if (what === null) lacking = null;
      else if (lacking?.what !== what) {
        lacking = { what, since: clock.elapsed() };
        this.onAlone(LACKING[what]);
      } else if (clock.elapsed() - lacking.since > patience) return this.#end(gaveUp(what));
      await clock.sleep(LOOK_FOR_WORKERS, signal);
    }
  }

  async #lacks(): Promise<"workers" | "queue" | null> {
    try {
      return (await this.queue.workers()) === 0 ? "workers" : null;
    } catch {
      return "queue";
    }
  }
}

const LACKING = {
  workers: "No worker is there yet; start as many as you like: sessionferry worker",
  queue: "The Redis of the queue does not answer; the job goes on when it does.",
} as const;

function gaveUp(what: "workers" | "queue"): FerryError {
  if (what === "queue") {
    return new FerryError("REDIS_UNREACHABLE", "The Redis of the queue did not come back.", {
      remedy: "Bring it back or correct `workers.queue`, then repeat the command; a backfill goes on where it stood.",
    });
  }
  return new FerryError("GUARD_REFUSED", "No worker is there to do the job.", {
    remedy: "Start one or more, then repeat the command: sessionferry worker",
    next: "sessionferry worker",
  });
}

async function termsOf({ control, legacy }: DispatcherDeps): Promise<Terms> {
  const [record, identity] = await Promise.all([control.read(), legacy.identity()]);
  return { revision: record.revision, generation: record.generation, legacy: identity };
}
