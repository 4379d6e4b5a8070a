import { coveredBelow } from "../core/backfill-state.js";
import {
  type CheckLimits,
  type CheckResult,
  findingsOf,
  objectionsTo,
  type WitnessTally,
} from "../core/check-result.js";
import { expiryTolerance } from "../core/compare.js";
import type { IdSource } from "../core/ids.js";
import type { Sid } from "../core/session.js";
import { isSynthetic } from "../core/synthetic.js";
import type { Clock } from "../ports/clock.js";
import type { ControlRecord, ControlStore } from "../ports/control-store.js";
import type { Copier } from "../ports/copier.js";
import { type DestroyJournal, NO_JOURNAL } from "../ports/destroy-journal.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { RedisRecords } from "../ports/redis-records.js";
import { keepCheck, newCheckId } from "./check-archive.js";
import { duplicatesIn } from "./duplicates.js";
import { Examiner, onlyInRedis } from "./examiner.js";
import { Findings } from "./findings.js";
import { refuseWithoutCopies } from "./guards.js";
import { asCatalogued, DEFAULT_PATIENCE, Patience } from "./patience.js";
import { Planting } from "./plant.js";
import { type Progress, Pulse } from "./progress.js";
import { type Believed, refuseTowardLossy } from "./repair.js";
import { loadSecrets } from "./secrets.js";
import type { Dispatcher } from "./spread/dispatcher.js";
import { SpreadLooking } from "./spread/looking.js";
import { compareAll, compareSample, type Survey } from "./survey.js";
import { Tally } from "./tally.js";
import { Throttle } from "./throttle.js";
import { hearWitnesses, type Witnesses } from "./witness-check.js";

export interface CheckDeps {
  readonly legacy: LegacyStore;
  readonly records: RedisRecords;
  readonly control: ControlStore;
  readonly copier: Copier;
  readonly clock: Clock;
  readonly ids: IdSource;
  /** Plain clients of both sides; null makes the run worthless as evidence. */
  readonly witnesses: Witnesses | null;
  readonly journal?: DestroyJournal;
  /** Has the batches looked at by workers. */
  readonly dispatcher?: Dispatcher;
}

export interface CheckOptions {
  /** Sessions of each side to look at; null for all. */
  readonly sample: number | null;
  readonly batch: number;
  readonly concurrency: number;
  /** Sids a second; 0 for no limit. */
  readonly rate?: number;
  readonly limits: CheckLimits & { readonly ttlTolerance: number };
  /** Repairs what is found; then the run is no evidence. */
  readonly repair?: { readonly toward: Believed | null };
  /** Plants, copies and keeps nothing: only looks, and neither is evidence nor contradicts any. */
  readonly readOnly?: boolean;
  /** Sids that are no sessions (locks); L does not list them, R does. */
  readonly ignored?: (sid: Sid) => boolean;
  /** The flags that L's items carry (memcached). */
  readonly flags?: number;
  readonly patience?: number;
  /** Breaks the run off; what was planted is removed and the result tells so. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: CheckProgress) => void;
  readonly by: string;
}

export interface CheckProgress extends Progress {
  readonly equal: number;
  readonly copied: number;
  readonly differences: number;
  readonly busy: number;
}

/**
 * Compares both stores under live traffic: every session of L, and every one that only R holds (or a random sample of
 * both sides). It never raises a false alarm (two looks), proves that it can see (planted faults, coverage, plain
 * clients), and stores what it found. Where L is the authority, a session that R merely lacks is copied on the way.
 *
 * @throws FerryError GUARD_REFUSED, LEGACY_UNREACHABLE, REDIS_UNREACHABLE, REDIS_LOST, CONTROL_UNREACHABLE
 */
export async function runCheck(deps: CheckDeps, options: CheckOptions): Promise<CheckResult> {
  const patience = new Patience(deps.clock, options.patience ?? DEFAULT_PATIENCE, options.signal);
  const record = await patience.attempt(() => deps.control.read());
  refuseWithoutCopies(record, "compared");
  refuseTowardLossy(deps.legacy.lossy, options.repair?.toward ?? null);
  const tolerance = expiryTolerance(options.limits.ttlTolerance, deps.legacy.expiryGranularity);
  const planting = new Planting(deps, { tolerance, flags: options.flags ?? 0 });
  const check = new Check(deps, options, patience, planting, tolerance);
  try {
    return await check.run(record);
  } catch (error) {
    throw asCatalogued(error);
  }
}

/** What a survey does with the batches it lists; `look` and `lookBeyond` as in `Survey`. */
export interface Looking extends Pick<Survey, "look" | "lookBeyond"> {
  /** Looks again at what is not settled yet. */
  finish(): Promise<void>;
  /** Another generation of R than the run's, if somebody looked at a batch under it. */
  readonly strangeGeneration: string | null;
}

interface Surveyed {
  readonly listed: number;
  readonly whole: boolean;
  readonly strangeGeneration: string | null;
}

class Check {
  readonly #pulse: Pulse;
  #done = 0;
  #total = 0;

  constructor(
    readonly deps: CheckDeps,
    readonly options: CheckOptions,
    readonly patience: Patience,
    readonly planting: Planting,
    readonly tolerance: number,
  ) {
    this.#pulse = new Pulse(deps.clock);
  }

  async run(before: ControlRecord): Promise<CheckResult> {
    const { control, legacy, clock } = this.deps;
    const secrets = await this.patience.attempt(() => loadSecrets(control, clock));
    const tally = new Tally(secrets);
    const began = await this.#facts(before);
    let seen: Surveyed;
    let witness: WitnessTally | null = null;
    try {
      if (!this.options.readOnly) await this.patience.attempt(() => this.planting.plant());
      seen = await this.#survey(tally, began.counted);
      if (seen.whole) witness = await this.#witness(tally.forWitness);
    } finally {
      await this.planting.remove();
    }
    const ended = await this.#facts(await this.patience.attempt(() => control.read()));
    // Sessions come and go meanwhile: the smaller count is the one that a whole listing must reach.
    const counted = Math.min(began.counted, ended.counted);
    const { planted, found, missed } = this.planting;
    const facts = {
      id: newCheckId(began.at),
      mode: this.options.sample === null ? ("full" as const) : ("sample" as const),
      sample: this.options.sample,
      startedAt: began.at,
      endedAt: ended.at,
      revision: { before: before.revision, after: ended.record.revision },
      generation: { before: before.generation, after: seen.strangeGeneration ?? ended.record.generation },
      legacyIdentity: { before: began.identity, after: ended.identity },
      redisRun: { before: began.runId, after: ended.runId },
      position: { before: before.position, after: ended.record.position },
      coveredBelow: Math.min(coveredBelow(before), coveredBelow(ended.record)),
      lossy: legacy.lossy,
      ...tally.snapshot(),
      coverage: { counted, listed: seen.listed, share: counted === 0 ? 0 : Math.min(1, seen.listed / counted) },
      planted: { planted, found, missed },
      duplicates: await this.patience.attempt(() => duplicatesIn(legacy, secrets)),
      witness,
      repaired: this.options.repair === undefined ? null : tally.repaired,
      aborted: !seen.whole,
    };
    return this.#conclude(facts);
  }

  async #conclude(facts: Omit<CheckResult, "clean" | "findings" | "evidence" | "whyNot">): Promise<CheckResult> {
    const { control, clock } = this.deps;
    const findings = findingsOf(facts.counts, facts.lossy, this.options.limits);
    const whyNot = objectionsTo(facts, this.options.limits);
    const result = { ...facts, clean: findings.length === 0, findings, evidence: whyNot.length === 0, whyNot };
    if (this.options.readOnly) return result;
    await this.patience.attempt(() => keepCheck(control, clock, result));
    const { id, mode, clean, evidence, repaired } = result;
    // Samples are many and say the same; the ledger tells only of those that found something.
    if (mode === "full" || !clean || repaired !== null) {
      const entry = { by: this.options.by, action: "check", detail: { id, mode, clean, evidence, findings } };
      await this.patience.attempt(() => control.append(entry));
    }
    return result;
  }

  /** How a batch is looked at: here, or by whichever worker takes it. */
  async #looking(tally: Tally): Promise<Looking> {
    const { legacy, records, copier, clock, journal = NO_JOURNAL, dispatcher } = this.deps;
    const { batch, repair, readOnly = false, limits, signal } = this.options;
    if (dispatcher !== undefined) {
      const how = { ttlTolerance: limits.ttlTolerance, readOnly };
      return new SpreadLooking(dispatcher, tally, this.planting, records.generation, how, signal);
    }
    const redisEvicts = repair !== undefined && (await this.patience.attempt(() => records.facts())).evictedKeys > 0;
    const findings = new Findings({ legacy, records, copier, clock }, this.planting, tally, this.patience, {
      repair: repair ?? null,
      readOnly,
      redisEvicts,
    });
    const examiner = new Examiner(
      { legacy, records, copier, journal, clock, patience: this.patience },
      { batch, tolerance: this.tolerance },
      (found) => findings.take(found),
    );
    return {
      look: (sids) => examiner.submit(sids),
      // Records of buckets in legacy are nobody's copies, and no session of L: they are not counted.
      lookBeyond: async (sids) => {
        await examiner.submit(await onlyInRedis(sids, legacy, this.patience));
        return true;
      },
      finish: () => examiner.finish(),
      strangeGeneration: null,
    };
  }

  async #survey(tally: Tally, counted: number): Promise<Surveyed> {
    const { legacy, records, clock } = this.deps;
    const { batch, concurrency, rate = 0, signal, sample } = this.options;
    const looking = await this.#looking(tally);
    const survey = {
      legacy,
      records,
      patience: this.patience,
      pace: { batch, concurrency, throttle: new Throttle(rate, clock) },
      // Planted sessions are always part of a sample: it must find them as it must find any other.
      chosen: (sid: Sid) => this.planting.owns(sid),
      ignored: (sid: Sid) => (isSynthetic(sid) && !this.planting.owns(sid)) || this.options.ignored?.(sid) === true,
      look: (sids: Sid[]) => looking.look(sids),
      lookBeyond: (sids: Sid[]) => looking.lookBeyond(sids),
      goOn: async () => signal?.aborted !== true,
      progress: (more: number) => this.#tell(more, tally),
    };
    // Both sides are listed in either mode; a full run also looks at what it lists.
    this.#total = 2 * counted;
    const { listed, notYet, whole } = sample === null ? await compareAll(survey) : await compareSample(survey, sample);
    tally.counts["not-yet"] += notYet;
    if (whole) await looking.finish();
    this.#tell(0, tally);
    const { strangeGeneration } = looking;
    return { listed, whole: whole && signal?.aborted !== true, strangeGeneration };
  }

  async #witness(sids: readonly Sid[]): Promise<WitnessTally | null> {
    const { witnesses, records, clock } = this.deps;
    return witnesses === null ? null : this.patience.attempt(() => hearWitnesses(sids, witnesses, records, clock));
  }

  async #facts(
    record: ControlRecord,
  ): Promise<{ record: ControlRecord; at: number; identity: string; runId: string; counted: number }> {
    const { control, legacy, records } = this.deps;
    const [at, identity, { runId }, counted] = await this.patience.attempt(() =>
      Promise.all([control.now(), legacy.identity(), records.facts(), legacy.count()]),
    );
    return { record, at, identity, runId, counted };
  }

  #tell(more: number, tally: Tally): void {
    this.#done += more;
    const { equal, copied, busy } = tally.counts;
    const progress = this.#pulse.measure(this.#done, this.#total);
    this.options.onProgress?.({ ...progress, equal, copied, busy, differences: tally.differences });
  }
}
