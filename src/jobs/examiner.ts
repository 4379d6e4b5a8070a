import {
  type Authority,
  authorityOf,
  classify,
  type DifferenceClass,
  type Look,
  type RecordFace,
  type Sight,
} from "../core/compare.js";
import type { Session, Sid } from "../core/session.js";
import type { Clock } from "../ports/clock.js";
import type { Copier } from "../ports/copier.js";
import type { DestroyJournal } from "../ports/destroy-journal.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { RedisRecords } from "../ports/redis-records.js";
import { cut } from "./batches.js";
import type { Patience } from "./patience.js";
import type { Looked } from "./survey.js";

/** A sid that was marked or changed at every one of so many looks is `busy`. */
const MAX_LOOKS = 7;
/** Between the first two looks at one sid, in milliseconds; twice as long before each further one. */
const PAUSE = 200;
const LONGEST_PAUSE = 1_600;
/** When so many sids wait for another look, they get it before anything new is looked at. */
const MAX_WAITING = 2_000;

export interface ExaminerDeps {
  readonly legacy: LegacyStore;
  readonly records: RedisRecords;
  readonly copier: Copier;
  readonly journal: DestroyJournal;
  readonly clock: Clock;
  readonly patience: Patience;
}

export interface Finding {
  readonly sid: Sid;
  readonly authority: Authority;
  readonly class: "equal" | "skipped" | "busy" | DifferenceClass;
  /** What the last look saw, where it saw a difference. */
  readonly paths: readonly string[];
  readonly later: number;
}

interface Suspect {
  readonly sid: Sid;
  looks: number;
  /** When it may be looked at again, by the monotonic clock. */
  due: number;
  /** Looks at two stores that stood still and differed, since they were last seen equal. */
  differences: number;
}

/**
 * Looks at sessions until it knows what to say about them.
 *
 * The two-look rule: a difference is believed only when R's record stood unmarked and unchanged around the read of L
 * (see `classify`), and stood so, still differing, at another look after a pause. One look could be deceived by a write
 * that came and went between its two views of R; two in a row could not, short of the same accident twice.
 * Findings are handed on in batches, each sid once.
 */
export class Examiner {
  #waiting: Suspect[] = [];
  #round: Promise<void> | null = null;

  constructor(
    readonly deps: ExaminerDeps,
    readonly options: { readonly batch: number; readonly tolerance: number },
    readonly found: (findings: Finding[]) => Promise<void>,
  ) {}

  /** First looks, at sids whose bucket is compared; those that wait for another one go with them when it is due. */
  async submit(sids: readonly Sid[]): Promise<Looked> {
    const fresh: Suspect[] = [];
    for (const sid of sids) {
      if (authorityOf(this.deps.copier.placement(sid)) !== null) fresh.push({ sid, looks: 0, differences: 0, due: 0 });
    }
    const seen = await this.#look([...fresh, ...this.#takeDue(this.options.batch)]);
    while (this.#waiting.length > MAX_WAITING) await this.#again();
    const absent = seen.slice(0, fresh.length).filter(({ isInLegacy }) => !isInLegacy).length;
    return { notYet: sids.length - fresh.length, absent };
  }

  /** Further looks until nothing is left to find out. */
  async finish(): Promise<void> {
    while (this.#waiting.length > 0) await this.#again();
  }

  /** Waits until somebody may be looked at again, and does; callers that come together share it. */
  #again(): Promise<void> {
    this.#round ??= (async () => {
      const { clock } = this.deps;
      const next = this.#waiting.reduce((least, { due }) => Math.min(least, due), Number.POSITIVE_INFINITY);
      await clock.sleep(Math.max(0, next - clock.elapsed()));
      const suspects = this.#takeDue(Number.POSITIVE_INFINITY);
      for (const part of cut(suspects, () => this.options.batch)) await this.#look(part);
    })().finally(() => {
      this.#round = null;
    });
    return this.#round;
  }

  /** So many at most of those that wait no longer. */
  #takeDue(most: number): Suspect[] {
    const now = this.deps.clock.elapsed();
    const due = this.#waiting.filter((suspect) => suspect.due <= now).slice(0, most);
    const taken = new Set(due);
    if (due.length > 0) this.#waiting = this.#waiting.filter((suspect) => !taken.has(suspect));
    return due;
  }

  async #look(suspects: readonly Suspect[]): Promise<readonly Seen[]> {
    if (suspects.length === 0) return [];
    const sids = suspects.map(({ sid }) => sid);
    const sights = await this.deps.patience.attempt(() => this.#see(sids));
    const findings: Finding[] = [];
    suspects.forEach((suspect, i) => {
      const finding = this.#judge(suspect, sights[i]!);
      if (finding === null) this.#wait(suspect);
      else findings.push(finding);
    });
    if (findings.length > 0) await this.found(findings);
    return sights;
  }

  #wait(suspect: Suspect): void {
    const pause = Math.min(PAUSE * 2 ** (suspect.looks - 1), LONGEST_PAUSE);
    suspect.due = this.deps.clock.elapsed() + pause;
    this.#waiting.push(suspect);
  }

  #judge(suspect: Suspect, { sight, authority }: Seen): Finding | null {
    const { sid } = suspect;
    suspect.looks++;
    const plain = { sid, authority, paths: [], later: 0 };
    if (sight.kind === "equal") return { ...plain, class: "equal" };
    if (sight.kind === "gone") return { ...plain, class: "skipped" };
    if (sight.kind === "difference") {
      suspect.differences++;
      if (suspect.differences >= 2) return { ...plain, class: sight.class, paths: sight.paths, later: sight.later };
    }
    return suspect.looks >= MAX_LOOKS ? { ...plain, class: "busy" } : null;
  }

  /** One look at each: R, then L, then R again where they differ. */
  async #see(sids: readonly Sid[]): Promise<Seen[]> {
    const { legacy, records, clock, copier } = this.deps;
    const before = await records.view(sids);
    const sessions = await legacy.getMany(sids);
    const seen = sids.map((sid, i): Seen & { look: Look } => {
      const look: Look = { legacy: sessions[i] ?? null, before: before[i]!, now: clock.now() };
      const authority = authorityOf(copier.placement(sid)) ?? "L";
      return { look, authority, isInLegacy: look.legacy !== null, sight: this.#classify(look, authority, false) };
    });
    const unproven = sids.flatMap((_, i) => (seen[i]!.sight.kind === "unproven" ? [i] : []));
    if (unproven.length === 0) return seen;

    const after = await records.view(unproven.map((i) => sids[i]!));
    const destroyed = await this.#destroyed(unproven.map((i) => ({ sid: sids[i]!, legacy: sessions[i] ?? null })));
    unproven.forEach((i, n) => {
      const { look, authority } = seen[i]!;
      const whole = { ...look, after: after[n]! as RecordFace };
      seen[i] = { ...seen[i]!, look: whole, sight: this.#classify(whole, authority, destroyed[n]!) };
    });
    return seen;
  }

  #classify(look: Look, authority: Authority, destroyed: boolean): Sight {
    const { legacy, records } = this.deps;
    const rules = { lossy: legacy.lossy, flags: records.keepsFlags, tolerance: this.options.tolerance };
    return classify(look, { ...rules, authority, destroyed });
  }

  /** The journal is asked only where its answer matters: L, which loses sessions by itself, has none. */
  async #destroyed(cases: readonly { sid: Sid; legacy: Session | null }[]): Promise<boolean[]> {
    if (!this.deps.legacy.lossy) return cases.map(() => false);
    const absent = cases.filter(({ legacy }) => legacy === null).map(({ sid }) => sid);
    const remembered = absent.length === 0 ? [] : await this.deps.journal.remembers(absent);
    const known = new Set(absent.filter((_, i) => remembered[i]));
    return cases.map(({ sid }) => known.has(sid));
  }
}

interface Seen {
  readonly sight: Sight;
  readonly authority: Authority;
  readonly isInLegacy: boolean;
}

/** Of a batch that R listed, the sessions that L does not hold. */
export async function onlyInRedis(
  sids: readonly Sid[],
  legacy: Pick<LegacyStore, "holds">,
  patience: Patience,
): Promise<Sid[]> {
  const held = await patience.attempt(() => legacy.holds(sids));
  return sids.filter((_, i) => !held[i]);
}
