import { randomBytes } from "node:crypto";
import {
  type BackfillCheckpoint,
  type BackfillCounts,
  type BackfillState,
  coveredBelow,
  NO_COUNTS,
} from "../core/backfill-state.js";
import { PHASE_NAMES, type PhaseName } from "../core/phase.js";
import type { Sid } from "../core/session.js";
import { FerryError } from "../errors.js";
import type { Clock } from "../ports/clock.js";
import type { ControlRecord, ControlStore } from "../ports/control-store.js";
import type { Copier } from "../ports/copier.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import { BackfillDesk, doneOf, wishOfBackfill } from "./backfill-desk.js";
import { patiently, real } from "./batches.js";
import { type Carrier, Copying } from "./copying.js";
import { type Duplicates, duplicatesIn } from "./duplicates.js";
import { refuseWithoutCopies } from "./guards.js";
import { asCatalogued, DEFAULT_PATIENCE, Patience } from "./patience.js";
import { type Progress, Pulse } from "./progress.js";
import { loadSecrets, type Secrets } from "./secrets.js";
import { Throttle } from "./throttle.js";

const LOCK = "backfill";
const LOCK_TTL = 15_000;
const LOOK_EVERY = 1_000;
/** The lock is renewed, and the checkpoint written in any case, on every so many looks. */
const RENEW_EVERY = 5;

export interface BackfillDeps {
  readonly legacy: LegacyStore;
  readonly control: ControlStore;
  readonly copier: Copier;
  readonly clock: Clock;
  /** Has the batches copied by workers. */
  readonly carrier?: Carrier;
}

export interface BackfillOptions {
  readonly batch: number;
  readonly concurrency: number;
  /** Sids a second; 0 for no limit. */
  readonly rate: number;
  /**
   * Copies also what R holds already: a repair where L is the authority. Begins anew, unless it goes on with one that did
   * so as well, which whoever goes on with it does without being told.
   */
  readonly force?: boolean;
  /** Milliseconds that a store may be away before the backfill gives up. */
  readonly patience?: number;
  /** Ends it after the batches under way, with the checkpoint kept. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: BackfillProgress) => void;
  /** Who runs it, for the ledger. */
  readonly by: string;
}

export interface BackfillProgress extends Progress, BackfillCounts {
  readonly state: BackfillState;
}

export interface BackfillResult extends BackfillProgress {
  /** Whether it went on from an earlier checkpoint. */
  readonly resumed: boolean;
  readonly milliseconds: number;
  /** Null where there are none. */
  readonly duplicates: Duplicates | null;
}

/**
 * Copies every live session of L to R, under live traffic, as often as it takes.
 *
 * One process at a time holds the lock `backfill`. After each page the sealed cursor goes into the checkpoint, from
 * which the next process goes on if this one dies. What a checkpoint says is worth nothing once R was armed anew, or
 * more buckets have come under dual-write since it began, or a step down may have dropped records: then the backfill
 * begins anew, and also when it has come to the end of its listing.
 *
 * @throws FerryError HELD, GUARD_REFUSED, LEGACY_UNREACHABLE, REDIS_UNREACHABLE, REDIS_LOST, CONTROL_UNREACHABLE
 */
export async function runBackfill(deps: BackfillDeps, options: BackfillOptions): Promise<BackfillResult> {
  const record = await deps.control.read();
  refuseWithoutCopies(record, "copied");
  const holder = randomBytes(8).toString("hex");
  if (!(await deps.control.lock(LOCK, holder, LOCK_TTL))) {
    throw new FerryError("HELD", "Another backfill is running.", { next: "sessionferry backfill status" });
  }
  try {
    const secrets = await loadSecrets(deps.control, deps.clock);
    const desk = new BackfillDesk(deps.control, secrets);
    return await new Backfill(deps, options, holder, desk, secrets).run(record);
  } finally {
    await deps.control.unlock(LOCK, holder).catch(() => {});
  }
}

/** `--dry-run`: live sessions of L by the phase of their bucket. Those from dual-write up would be copied. */
export async function countForBackfill(
  deps: Pick<BackfillDeps, "legacy" | "copier" | "clock">,
  signal?: AbortSignal,
): Promise<{ byPhase: Partial<Record<PhaseName, number>>; wouldCopy: number; notYet: number }> {
  const byPhase: Partial<Record<PhaseName, number>> = {};
  const list = (after: Sid | undefined) =>
    deps.legacy.list(after === undefined ? { pageSize: 5000 } : { pageSize: 5000, after });
  for await (const page of patiently(list, undefined, new Patience(deps.clock, DEFAULT_PATIENCE, signal))) {
    if (signal?.aborted) throw new FerryError("INTERRUPTED", "The count was broken off.");
    for (const sid of real(page)) {
      const { phase } = deps.copier.placement(sid);
      byPhase[phase] = (byPhase[phase] ?? 0) + 1;
    }
  }
  const notYet = byPhase.legacy ?? 0;
  const all = PHASE_NAMES.reduce((sum, phase) => sum + (byPhase[phase] ?? 0), 0);
  return { byPhase, wouldCopy: all - notYet, notYet };
}

class Backfill {
  readonly #patience: Patience;
  readonly #throttle: Throttle;
  readonly #pulse: Pulse;
  readonly #stop = new AbortController();
  #copying!: Copying;
  #checkpoint!: Omit<BackfillCheckpoint, "cursor">;
  #cursor: Sid | undefined;
  #written: Sid | undefined;
  #paused = false;
  #stopped = false;
  #failure: { error: unknown } | null = null;

  constructor(
    readonly deps: BackfillDeps,
    readonly options: BackfillOptions,
    readonly holder: string,
    readonly desk: BackfillDesk,
    readonly secrets: Secrets,
  ) {
    this.#patience = new Patience(deps.clock, options.patience ?? DEFAULT_PATIENCE, options.signal);
    this.#throttle = new Throttle(options.rate, deps.clock);
    this.#pulse = new Pulse(deps.clock);
  }

  async run(record: ControlRecord): Promise<BackfillResult> {
    const began = this.deps.clock.now();
    await wishOfBackfill(this.deps.control, { command: "run" });
    const resumed = await this.#takeUp(record);
    const keeper = this.#keep();
    let state: BackfillState = "stopped";
    try {
      let ended = await this.#pass();
      while (ended && (await this.#isUndone())) {
        const now = await this.#patience.attempt(() => this.deps.control.read());
        await this.#beginAnew(now, this.#checkpoint.force ?? false);
        ended = await this.#pass();
      }
      if (ended) state = this.#copying.counts.failed > 0 ? "incomplete" : "complete";
    } catch (error) {
      this.#failure ??= { error };
    }
    this.#stop.abort();
    await keeper;
    if (this.#failure !== null) {
      // The checkpoint is kept as far as the control store can be reached; the last one written holds otherwise. Who
      // has taken the lock over writes his own.
      if (!this.#lostLock()) await this.#settle("stopped", new Patience(this.deps.clock, 0)).catch(() => {});
      throw asCatalogued(this.#failure.error);
    }
    await this.#settle(state);
    const duplicates = await this.#patience.attempt(() => duplicatesIn(this.deps.legacy, this.secrets));
    const result = { ...this.#progress(), resumed, milliseconds: this.deps.clock.now() - began, duplicates };
    const entry = { by: this.options.by, action: "backfill", detail: { ...result } };
    await this.#patience.attempt(() => this.deps.control.append(entry));
    return result;
  }

  async #takeUp(record: ControlRecord): Promise<boolean> {
    const old = await this.desk.checkpoint();
    const cursor = old === null ? null : await this.desk.placeToGoOn(old, record);
    const { force = false } = this.options;
    if (old === null || cursor === null || (force && !old.force)) {
      await this.#beginAnew(record, force);
      return false;
    }
    this.#cursor = cursor;
    this.#copying = new Copying({ ...this.deps, patience: this.#patience }, old.counts);
    const { cursor: _sealed, ...rest } = old;
    this.#checkpoint = { ...rest, state: "running", endedAt: null };
    return true;
  }

  async #beginAnew(record: ControlRecord, force: boolean): Promise<void> {
    const { legacy, control } = this.deps;
    const total = await this.#patience.attempt(() => legacy.count());
    const startedAt = await this.#patience.attempt(() => control.now());
    this.#cursor = undefined;
    this.#copying = new Copying({ ...this.deps, patience: this.#patience }, NO_COUNTS);
    this.#checkpoint = {
      state: "running",
      startedAt,
      updatedAt: startedAt,
      endedAt: null,
      generation: record.generation,
      coveredBelow: coveredBelow(record),
      counts: NO_COUNTS,
      total,
      rate: 0,
      force,
    };
    await this.#write();
  }

  /** Whether what was copied may have been dropped since, the last moment included; a drop it began with is none. */
  #isUndone(): Promise<boolean> {
    const checkpoint = { ...this.#checkpoint, startedAt: this.#checkpoint.startedAt + 1 };
    return this.#patience.attempt(async () => this.desk.isUndone(checkpoint, await this.deps.control.read()));
  }

  #pass(): Promise<boolean> {
    const { batch, concurrency } = this.options;
    const { force = false } = this.#checkpoint;
    return this.#copying.run(
      { after: this.#cursor, force, pace: { batch, concurrency, throttle: this.#throttle } },
      {
        goOn: () => this.#goOn(),
        pageDone: (last) => {
          this.#cursor = last;
          this.options.onProgress?.(this.#progress());
        },
      },
    );
  }

  async #goOn(): Promise<boolean> {
    while (this.#paused && !this.#ending()) await this.deps.clock.sleep(LOOK_EVERY / 4, this.options.signal);
    if (this.#failure !== null) throw this.#failure.error;
    return !this.#ending();
  }

  #ending(): boolean {
    return this.#stopped || this.options.signal?.aborted === true || this.#failure !== null;
  }

  /** Beside the copying: looks for wishes, renews the lock, writes the checkpoint. */
  async #keep(): Promise<void> {
    const { control, clock } = this.deps;
    const strain = this.#patience.strain();
    for (let look = 1; !this.#stop.signal.aborted; look++) {
      await clock.sleep(LOOK_EVERY, this.#stop.signal);
      if (this.#stop.signal.aborted) return;
      try {
        const wish = await this.desk.wish();
        const hasTurned = this.#heed(wish.command, wish.rate);
        const due = look % RENEW_EVERY === 0;
        if (due && !(await control.lock(LOCK, this.holder, LOCK_TTL))) {
          throw new FerryError("HELD", "Another backfill has taken over while this one was held up.");
        }
        if (due || hasTurned || this.#cursor !== this.#written) await this.#write();
        strain.relieve();
      } catch (error) {
        await strain.endure(error).catch((final) => {
          this.#failure ??= { error: final };
        });
        if (this.#failure !== null) return;
      }
      this.options.onProgress?.(this.#progress());
    }
  }

  /** @returns whether it pauses, or goes on, from now on: others are told at once. */
  #heed(command: "run" | "pause" | "stop", rate: number | undefined): boolean {
    if (command === "stop") this.#stopped = true;
    const paused = command === "pause";
    const hasTurned = paused !== this.#paused && !this.#stopped;
    if (hasTurned) {
      this.#paused = paused;
      this.#checkpoint = { ...this.#checkpoint, state: paused ? "paused" : "running" };
    }
    if (rate !== undefined && rate !== this.#throttle.rate) this.#throttle.setRate(rate);
    return hasTurned;
  }

  #lostLock(): boolean {
    const error = this.#failure?.error;
    return error instanceof FerryError && error.code === "HELD";
  }

  async #settle(state: BackfillState, patience = this.#patience): Promise<void> {
    const endedAt = await patience.attempt(() => this.deps.control.now());
    this.#checkpoint = { ...this.#checkpoint, state, endedAt };
    await patience.attempt(() => this.#write());
  }

  async #write(): Promise<void> {
    const { counts } = this.#copying;
    const { rate } = this.#progress();
    const updatedAt = await this.deps.control.now();
    this.#checkpoint = { ...this.#checkpoint, updatedAt, counts: { ...counts }, rate };
    const cursor = this.#cursor;
    await this.desk.write(this.#checkpoint, cursor);
    this.#written = cursor;
  }

  #progress(): BackfillProgress {
    const { counts } = this.#copying;
    const { total, state } = this.#checkpoint;
    return { ...this.#pulse.measure(doneOf(counts), total), ...counts, state };
  }
}
