import type { Sid } from "../core/session.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { Secrets } from "./secrets.js";

/** Old copies of sessions on other servers of a pool. They are neither copied nor compared; people should know of them. */
export interface Duplicates {
  readonly count: number;
  /** Of some of the sessions. */
  readonly digests: readonly string[];
}

const TOLD = 20;

/** As the last listing of L found them; null where L is no pool. */
export async function duplicatesIn(legacy: LegacyStore, secrets: Secrets): Promise<Duplicates | null> {
  const found: readonly Sid[] | undefined = await legacy.duplicates?.();
  if (found === undefined || found.length === 0) return null;
  return { count: found.length, digests: [...new Set(found.slice(0, TOLD).map((sid) => secrets.digest(sid)))] };
}

/** A sentence for people. */
export function toldDuplicates({ count }: Pick<Duplicates, "count">): string {
  const copies = count === 1 ? "1 old copy of a session lies" : `${count} old copies of sessions lie`;
  return `${copies} on another server than the session's own, and did not move.`;
}
