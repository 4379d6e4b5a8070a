import type { Sid } from "../core/session.js";
import type { CallLimits } from "../ports/redis-records.js";
import type { FerryContext } from "./context.js";

/** What is known of a session by now. */
export interface Learned {
  /** `known` to R, which was told by somebody else meanwhile; else what L said. */
  readonly state: "known" | "present" | "absent";
  /** Under which L was read as absent, where R was not told; null otherwise. */
  readonly lease: string | null;
}

/**
 * Rule 13 (3): makes known to R what L holds, by rule 2. Of an absence R is told nothing where the caller goes on under
 * the lease itself: a verb that makes a session where there is none.
 */
export async function learn(
  { records, legacy, ids }: FerryContext,
  sid: Sid,
  limits: CallLimits,
  { keepsLease = false } = {},
): Promise<Learned> {
  const answer = await records.read(sid, ids.next(), limits);
  if (answer.from === "R") return { state: "known", lease: null };
  const { lease } = answer;
  const session = await legacy.get(sid);
  if (session === null && keepsLease) return { state: "absent", lease };
  if (lease !== null) await records.fill(sid, lease, session, limits);
  return { state: session === null ? "absent" : "present", lease: null };
}
