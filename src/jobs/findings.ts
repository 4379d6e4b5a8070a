import type { CheckClass, DifferenceClass } from "../core/compare.js";
import type { CopyOutcome } from "../ports/copier.js";
import type { Finding } from "./examiner.js";
import type { Patience } from "./patience.js";
import type { Planting } from "./plant.js";
import { isCopied, type Remedy, type RepairDeps, Repairer, remedyFor } from "./repair.js";
import type { Tally } from "./tally.js";

/** What is done with findings: planted ones are ticked off, missing ones copied, others repaired if asked; all counted. */
export class Findings {
  readonly #repairer: Repairer;

  constructor(
    readonly deps: RepairDeps,
    readonly planting: Planting,
    readonly tally: Tally,
    readonly patience: Patience,
    readonly options: {
      readonly repair: { readonly towardLegacy: boolean } | null;
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
    const isBrought = ({ class: name }: Finding) => name === "missing" && !this.options.readOnly;
    for (const finding of counted) if (!isBrought(finding)) this.tally.count(finding);
    await this.#bring(counted.filter(isBrought));
    if (this.options.repair !== null && !this.options.readOnly) await this.#repair(counted);
  }

  /** Sessions that R merely lacks: rule 3, which any read in read-through would have run too. */
  async #bring(missing: readonly Finding[]): Promise<void> {
    if (missing.length === 0) return;
    const sids = missing.map(({ sid }) => sid);
    const outcomes = await this.patience.attempt(() => this.#repairer.copy(sids, false));
    missing.forEach((finding, i) => {
      this.tally.count(finding, classOfCopy(outcomes[i]!));
    });
  }

  async #repair(findings: readonly Finding[]): Promise<void> {
    const byRemedy = new Map<Remedy, Finding[]>();
    for (const finding of findings) {
      if (!isRepairable(finding.class)) continue;
      const remedy = remedyFor(finding, {
        towardLegacy: this.options.repair?.towardLegacy ?? false,
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

function classOfCopy(outcome: CopyOutcome): CheckClass {
  if (isCopied(outcome)) return "copied";
  if (outcome === "not-yet") return "not-yet";
  // `absent`: it went from L meanwhile. `skipped`: it cannot move. Only a copy refused to the end is a fault.
  return outcome === "refused" ? "missing" : "skipped";
}
