import type { CheckClass, DifferenceClass } from "../core/compare.js";
import type { CopyOutcome } from "../ports/copier.js";
import type { Finding } from "./examiner.js";
import type { Patience } from "./patience.js";
import type { Planting } from "./plant.js";
import { type Believed, isCopied, type Remedy, type RepairDeps, Repairer, remedyFor } from "./repair.js";
import type { Tally } from "./tally.js";

/** What is done with findings: planted ones are ticked off, missing ones copied, others repaired if asked; all counted. */
export class Findings {
  readonly #repairer: Repairer;

  constructor(
    readonly deps: RepairDeps,
    readonly planting: Pick<Planting, "owns" | "observe">,
    readonly tally: Tally,
    readonly patience: Patience,
    readonly options: {
      readonly repair: { readonly toward: Believed | null } | null;
      readonly readOnly: boolean;
      readonly redisEvicts: boolean;
    },
  ) {
    this.#repairer = new Repairer(deps);
  }

  async take(findings: readonly Finding[]): Promise<void> {
    const counted: Finding[] = [];
    for (const finding of findings) {
      if (this.planting.owns(finding.sid)) this.planting.observe(finding);
      else if (!this.tally.isRepetition(finding)) counted.push(finding);
    }
    const brought = counted.filter((finding) => this.#isBrought(finding));
    const rest = counted.filter((finding) => !brought.includes(finding));
    for (const finding of rest) this.tally.count(finding);
    await this.#bring(brought);
    if (this.options.repair !== null && !this.options.readOnly) await this.#repair(rest);
  }

  /**
   * Sessions that R merely lacks. That is no fault as long as R is read through: a close with none, after two writes
   * overlapped in mode L, leaves just that behind, also across the step to redis-first, and the next read copies it. A
   * session destroyed in redis-first is gone from L before its destroy is acknowledged, so nothing is brought back.
   */
  #isBrought({ class: name, sid }: Finding): boolean {
    if (this.options.readOnly) return false;
    return name === "missing" || (name === "leftover" && this.deps.copier.placement(sid).routes.read === "through");
  }

  /** Rule 3, which any read in read-through or redis-first would have run too. */
  async #bring(lacking: readonly Finding[]): Promise<void> {
    if (lacking.length === 0) return;
    const sids = lacking.map(({ sid }) => sid);
    const outcomes = await this.patience.attempt(() => this.#repairer.copy(sids, false));
    lacking.forEach((finding, i) => {
      this.tally.count(finding, classOfCopy(finding, outcomes[i]!));
    });
  }

  async #repair(findings: readonly Finding[]): Promise<void> {
    const byRemedy = new Map<Remedy, Finding[]>();
    for (const finding of findings) {
      if (!isRepairable(finding.class)) continue;
      const remedy = remedyFor(finding, {
        toward: this.options.repair?.toward ?? null,
        readsRedisAlone: this.deps.copier.placement(finding.sid).routes.read === "R",
        redisEvicts: this.options.redisEvicts,
      });
      byRemedy.set(remedy, [...(byRemedy.get(remedy) ?? []), finding]);
    }
    for (const [remedy, group] of byRemedy) {
      const sids = group.map(({ sid }) => sid);
      const repair = remedy === "leave" ? null : () => this.#repairer.apply(remedy, sids);
      const done = repair === null ? sids.map(() => false) : await this.patience.attempt(repair);
      group.forEach((finding, i) => {
        this.tally.countRepair(finding.class as DifferenceClass, done[i]!);
      });
    }
  }
}

/** Faults that a repair is about; `missing` is copied in any run, and `extra` is none. */
function isRepairable(name: CheckClass): boolean {
  return ["mismatched", "expiry", "resurrected", "behind", "leftover"].includes(name);
}

function classOfCopy(finding: Finding, outcome: CopyOutcome): CheckClass {
  if (isCopied(outcome)) return "copied";
  if (outcome === "not-yet") return "not-yet";
  // `absent`: it went from L meanwhile. `skipped`: it cannot move. Only a copy refused to the end is a fault.
  return outcome === "refused" ? finding.class : "skipped";
}
