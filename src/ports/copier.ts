import type { Placement } from "../core/phase.js";
import type { Sid } from "../core/session.js";

/**
 * How the copy of one sid ended. Done are `hit`, `dirty`, `filled` and `absent` (the lease stood while L held nothing);
 * `refused` must be repeated (a write came between), `not-yet` is a bucket below dual-write, `skipped` cannot move.
 */
export type CopyOutcome = "hit" | "dirty" | "filled" | "absent" | "refused" | "not-yet" | "skipped";

/** Rule 3, as the jobs use it. */
export interface Copier {
  /**
   * Copies L to R in one pipelined batch; outcomes in the order of the sids. `force` marks first, so that whatever R
   * holds is replaced by what L holds (a repair where L is the authority).
   */
  copy(sids: readonly Sid[], options?: { force?: boolean }): Promise<CopyOutcome[]>;
  /** Where this session's bucket stands now. */
  placement(sid: Sid): Placement;
  /** Makes dirty what R holds of these sids, where R is the authority: the drain carries it to L. The sids of which it is. */
  push(sids: readonly Sid[]): Promise<Sid[]>;
  /** Rule 4 for these sids: carries what is dirty to L; how many are clean now. */
  drain(sids: readonly Sid[]): Promise<number>;
}
