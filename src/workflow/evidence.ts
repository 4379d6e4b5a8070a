import {
  type ChecksSummary,
  EVIDENCE_KIND,
  type EvidenceAnswer,
  type EvidenceQuestion,
  NO_CHECKS,
  RUNS_ID,
  type Standing,
  weigh,
} from "../core/evidence.js";
import { lastVoiding } from "../ferry/void.js";
import type { ControlRecord, ControlStore } from "../ports/control-store.js";

export { voidEvidence } from "../ferry/void.js";

/**
 * Evidence is what the checks have seen and nothing has made worthless since. `weigh` in core/evidence.ts tells which
 * runs stand; what voids them, and who says so:
 *
 * | event                                                | kept by                                                     |
 * | ---------------------------------------------------- | ----------------------------------------------------------- |
 * | a node evicted that may have held a gap              | `voidEvidence`, by who evicts it                            |
 * | a fleet that was away as a whole (rule 11)           | the ledger: `copiesSince` in gate-facts.ts                  |
 * | R's records dropped: dual-write left or lowered,     | the same                                                    |
 * | even if the step was turned round                    |                                                             |
 * | R emptied, lost, or armed anew                       | the generation in the control record differs from the run's |
 * | R restarted with its data (redis-first and above)    | its run differs from that of the run                        |
 * | L replaced, failed over, restarted (memcached)       | L's identity differs from the run's                         |
 * | any run that found faults beyond the gates           | the run itself, when it ends                                |
 * | age                                                  | never a full check; the youngest clean run must be fresh    |
 */
export async function readStanding(control: ControlStore): Promise<Standing> {
  const [runs, voided] = await Promise.all([
    control.getDocument<ChecksSummary>(EVIDENCE_KIND, RUNS_ID),
    lastVoiding(control),
  ]);
  return { ...(runs ?? NO_CHECKS), voided };
}

/** What the evidence is worth for moving the buckets below `question.below`, now. */
export async function evidenceFor(
  control: ControlStore,
  record: Pick<ControlRecord, "generation">,
  question: Omit<EvidenceQuestion, "generation">,
): Promise<EvidenceAnswer> {
  return weigh(await readStanding(control), { ...question, generation: record.generation });
}
