import type { Sid } from "../core/session.js";
import { FerryError } from "../errors.js";
import type { Clock } from "../ports/clock.js";
import type { Copier, CopyOutcome } from "../ports/copier.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { RecordView, RedisRecords } from "../ports/redis-records.js";
import type { Finding } from "./examiner.js";

const MAX_TRIES = 6;
const PAUSE = 100;

export interface RepairDeps {
  readonly legacy: LegacyStore;
  readonly records: RedisRecords;
  readonly copier: Copier;
  readonly clock: Clock;
}

/** Which store is right about a session that only one of the two has. */
export type Believed = "legacy" | "redis";

/** What is done about a fault; `leave`: nothing that could not also destroy a living session. */
export type Remedy = "copy" | "replace" | "push" | "destroy" | "leave";

/**
 * How faults are repaired, always with the verbs of the protocol and always towards the authority:
 *
 * | class                    | L is authority                                  | R is authority                      |
 * | ------------------------ | ----------------------------------------------- | ----------------------------------- |
 * | `missing`                | copied by rule 3 (in every run)                 | –                                   |
 * | `mismatched`, `expiry`   | forced copy: `mark`, then rule 3                | marked dirty, drained by rule 4     |
 * | `behind`                 | –                                               | marked dirty, drained by rule 4     |
 * | `resurrected`            | only `--toward legacy`: forced copy of nothing  | –                                   |
 * | `extra`                  | left: memcached merely lost it                  | –                                   |
 * | `leftover`, redis-first  | –                                               | copied by rule 3 (in every run)     |
 * | `leftover`, full-redis   | –                                               | only `--toward legacy`: copied to R; only `--toward redis`, and unless R evicts: destroyed in L by rule 4 |
 *
 * Where only one has a session, and the one that has the say may have lost it, nobody can tell whether it was logged out: a
 * repair that is not told whom to believe leaves the last copy where it is.
 */
export function remedyFor(
  finding: Pick<Finding, "class" | "authority">,
  how: { readonly toward: Believed | null; readonly readsRedisAlone: boolean; readonly redisEvicts: boolean },
): Remedy {
  switch (finding.class) {
    case "missing":
      return "copy";
    case "mismatched":
    case "expiry":
      return finding.authority === "L" ? "replace" : "push";
    case "behind":
      return "push";
    case "resurrected":
      return how.toward === "legacy" ? "replace" : "leave";
    case "leftover":
      if (!how.readsRedisAlone || how.toward === "legacy") return "copy";
      return how.toward === null || how.redisEvicts ? "leave" : "destroy";
    default:
      return "leave";
  }
}

export class Repairer {
  constructor(readonly deps: RepairDeps) {}

  /** In the order of the sids: whether it is repaired now. `remedy` is not `leave`. */
  async apply(remedy: Exclude<Remedy, "leave">, sids: readonly Sid[]): Promise<boolean[]> {
    switch (remedy) {
      case "copy":
        return (await this.copy(sids, false)).map(isCopied);
      case "replace":
        // `absent`: L holds nothing, and neither does R now, which is what was wanted of a resurrected session.
        return (await this.copy(sids, true)).map((outcome) => isCopied(outcome) || outcome === "absent");
      case "push":
        return this.#push(sids);
      case "destroy":
        return this.#destroy(sids);
    }
  }

  /** Rule 3, with refused copies repeated; those refused to the end stay `refused`. */
  async copy(sids: readonly Sid[], force: boolean): Promise<CopyOutcome[]> {
    const { copier, clock } = this.deps;
    const outcomes = await copier.copy(sids, { force });
    for (let tries = 2; tries <= MAX_TRIES; tries++) {
      const refused = outcomes.flatMap((outcome, i) => (outcome === "refused" ? [i] : []));
      if (refused.length === 0) break;
      await clock.sleep(PAUSE * tries);
      const again = await copier.copy(refused.map((i) => sids[i]!));
      refused.forEach((i, n) => {
        outcomes[i] = again[n]!;
      });
    }
    return outcomes;
  }

  /**
   * As rule 4 would carry a logout over: L's token first, then a look that R knows nothing of the session, then L's row
   * goes if the token still stands. Whoever writes the session anew after the look makes it dirty, and is drained.
   */
  async #destroy(sids: readonly Sid[]): Promise<boolean[]> {
    const { legacy, records } = this.deps;
    const tokens = await legacy.tokens(sids);
    const views = await records.view(sids);
    const places = sids.flatMap((_, i) => (tokens[i] && isUnknown(views[i]!) ? [i] : []));
    const applied = await legacy.applyIf(places.map((i) => ({ token: tokens[i]!, session: null })));
    const done = new Set(places.filter((_, n) => applied[n] === "applied"));
    return sids.map((_, i) => done.has(i));
  }

  async #push(sids: readonly Sid[]): Promise<boolean[]> {
    const { copier, records, clock } = this.deps;
    const pushed = await copier.push(sids);
    let left: readonly Sid[] = pushed;
    for (let tries = 1; tries <= MAX_TRIES && left.length > 0; tries++) {
      if (tries > 1) await clock.sleep(PAUSE * tries);
      await copier.drain(left);
      const views = await records.view(left);
      left = left.filter((_, i) => views[i]!.mark === "dirty");
    }
    const done = new Set(pushed);
    for (const sid of left) done.delete(sid);
    return sids.map((sid) => done.has(sid));
  }
}

/** Under a lease somebody may have read L, and would fill R with what he found there. */
function isUnknown({ session, mark }: RecordView): boolean {
  return session === null && mark === "none";
}

/** Rule 3: what counts as copied. */
export function isCopied(outcome: CopyOutcome): boolean {
  return outcome === "hit" || outcome === "dirty" || outcome === "filled";
}

/** `--toward legacy` is refused where L forgets by itself: what it lost would be taken for what users logged out. */
export function refuseTowardLossy(lossy: boolean, toward: Believed | null): void {
  if (lossy && toward === "legacy") {
    throw new FerryError(
      "GUARD_REFUSED",
      "memcached loses sessions by itself, so nothing is removed from Redis for it.",
      {
        remedy: "Run the repair without --toward legacy.",
        next: "sessionferry check --repair",
      },
    );
  }
}
