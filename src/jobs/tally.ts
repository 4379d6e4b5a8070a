import { type CheckCounts, type CheckExample, type CheckResult, emptyCounts } from "../core/check-result.js";
import type { Authority, CheckClass, DifferenceClass } from "../core/compare.js";
import type { Sid } from "../core/session.js";
import type { Finding } from "./examiner.js";
import { Reservoir } from "./reservoir.js";
import type { Secrets } from "./secrets.js";

const EXAMPLES = 10;
const WITNESSED = 200;
/** Beyond so many sessions that only R holds, one that R's listing gives twice may be counted twice. */
const MAX_REMEMBERED = 100_000;

/** What a worker tells of a batch: see `Examined` in spread/pieces.ts. */
export interface Absorbed {
  readonly counts: Readonly<Record<string, number>>;
  readonly authority: Readonly<Record<Authority, number>>;
  readonly examples: Readonly<Record<string, readonly CheckExample[]>>;
  readonly onlyInRedis: readonly { readonly digest: string; readonly class: string; readonly authority: Authority }[];
  readonly equal: readonly Sid[];
}

/** What a check has found so far, in memory that does not grow with the number of sessions. */
export class Tally {
  readonly counts: Record<CheckClass, number> = emptyCounts();
  readonly authority = { L: 0, R: 0 };
  readonly examples: Partial<Record<DifferenceClass | "busy", CheckExample[]>> = {};
  readonly repaired: Partial<Record<DifferenceClass, { done: number; failed: number }>> = {};
  /** Sessions found equal, for the plain clients. */
  readonly #equal = new Reservoir<Sid>(WITNESSED);
  readonly #onlyInRedis = new Set<string>();

  constructor(readonly secrets: Secrets) {}

  get differences(): number {
    const { equal: _e, copied: _c, busy: _b, skipped: _s, "not-yet": _n, ...different } = this.counts;
    return Object.values(different).reduce((sum, count) => sum + count, 0);
  }

  get forWitness(): readonly Sid[] {
    return this.#equal.items;
  }

  /** Counts a finding under its own class, or another's. */
  count(finding: Finding, as: CheckClass = finding.class): void {
    this.counts[as]++;
    if (as === "skipped" || as === "not-yet") return;
    if (as === "equal") this.#equal.add(finding.sid);
    if (as !== "busy") this.authority[finding.authority]++;
    if (as !== "equal" && as !== "copied") this.#exemplify(finding, as);
  }

  /** Whether a finding of this class is about a session that only R holds: R's listing may give one more than once. */
  static mayRepeat(name: string): boolean {
    return ["extra", "resurrected", "behind"].includes(name);
  }

  /** True for a session that only R holds and that was counted already. */
  isRepetition(finding: Finding): boolean {
    return Tally.mayRepeat(finding.class) && this.#isKnown(finding.sid);
  }

  /** Adds what somebody else has found out about other sessions, who counted none of them twice. */
  absorb(found: Absorbed): void {
    for (const [name, count] of Object.entries(found.counts)) this.counts[name as CheckClass] += count;
    this.authority.L += found.authority.L;
    this.authority.R += found.authority.R;
    for (const { digest, class: name, authority } of found.onlyInRedis) {
      if (!this.#isKnown(digest)) continue;
      this.counts[name as CheckClass]--;
      this.authority[authority]--;
    }
    for (const [name, examples] of Object.entries(found.examples)) {
      this.examples[name as DifferenceClass] ??= [];
      const known = this.examples[name as DifferenceClass]!;
      known.push(...examples.slice(0, EXAMPLES - known.length));
    }
    for (const sid of found.equal) this.#equal.add(sid);
  }

  /** @param name a sid, or in a run that others take part in a digest */
  #isKnown(name: string): boolean {
    if (this.#onlyInRedis.has(name)) return true;
    if (this.#onlyInRedis.size < MAX_REMEMBERED) this.#onlyInRedis.add(name);
    return false;
  }

  countRepair(name: DifferenceClass, done: boolean): void {
    this.repaired[name] ??= { done: 0, failed: 0 };
    this.repaired[name][done ? "done" : "failed"]++;
  }

  snapshot(): { counts: CheckCounts; authority: Record<Authority, number>; examples: CheckResult["examples"] } {
    return { counts: { ...this.counts }, authority: { ...this.authority }, examples: { ...this.examples } };
  }

  #exemplify(finding: Finding, as: DifferenceClass | "busy"): void {
    this.examples[as] ??= [];
    const examples = this.examples[as];
    if (examples.length >= EXAMPLES) return;
    const digest = this.secrets.digest(finding.sid);
    if (as === "mismatched") examples.push({ digest, paths: finding.paths });
    else if (as === "expiry") {
      examples.push({ digest, laterBy: Number.isFinite(finding.later) ? Math.round(finding.later) : null });
    } else examples.push({ digest });
  }
}
