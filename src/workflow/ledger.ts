import type { Position } from "../core/phase.js";
import { comparePositions, samePosition } from "../core/transition.js";
import type { ControlRecord, ControlStore, LedgerEntry } from "../ports/control-store.js";

/** Entries of the ledger that are read at one time; those of checks, backfills and evictions are among them. */
const LEDGER_PAGE = 2_000;

/** Where every migration begins, which no entry tells. */
const BEGINNING: Position = { phase: "legacy", percent: 100 };

/** The newest entries up to one of each of these sorts, or all of them. */
export async function ledgerSince(
  control: Pick<ControlStore, "ledger">,
  ...sought: ((entry: LedgerEntry) => boolean)[]
): Promise<LedgerEntry[]> {
  const entries: LedgerEntry[] = [];
  for (;;) {
    const page = await control.ledger(LEDGER_PAGE, entries.length);
    entries.push(...page);
    if (page.length < LEDGER_PAGE || sought.every((is) => entries.some(is))) return entries;
  }
}

/** Where the fleet went, by one entry of the ledger; null for entries that tell of no move. */
export function arrival({ action, detail }: LedgerEntry): Position | "away" | null {
  if (action === "settled") return detail.position as Position;
  if (action === "interrupted") return detail.to as Position;
  // Redis was left behind: whatever was held before is over, wherever the walk down ends.
  return action === "demote" || action === "redis-lost" ? "away" : null;
}

/**
 * Tells of the settled position of this record where nobody has: whoever settled it may have been killed before he could, or
 * never heard that he had. The gates count from what is told.
 */
export async function tellArrival(
  control: Pick<ControlStore, "ledger" | "append">,
  { position }: ControlRecord,
  by: string,
): Promise<void> {
  const entries = await ledgerSince(control, (entry) => arrival(entry) !== null);
  const last = entries.map(arrival).find((at) => at !== null) ?? BEGINNING;
  if (last === "away" || !samePosition(last, position)) {
    await control.append({ by, action: "settled", detail: { position } });
  }
}

/** Whether the fleet came there from above, or began there: what it held of `position` until then is over. */
export function isBelow(at: Position | "away" | null, position: Position): boolean {
  return at === "away" || (at !== null && comparePositions(at, position) < 0);
}

/**
 * Since when the migration has stood at `position` or above without a break, by the ledger (newest entry first);
 * milliseconds by the control store's clock. Null: not now, or since before the ledger begins.
 */
export function heldSince(ledger: readonly LedgerEntry[], position: Position): number | null {
  let since: number | null = null;
  for (const entry of ledger) {
    const at = arrival(entry);
    if (at === null) continue;
    if (isBelow(at, position)) break;
    since = entry.at;
  }
  return since;
}

/** What an entry tells of the records of buckets that `position` keeps in R. */
type Fate =
  | "kept"
  /** They may have been dropped, and are kept again from the next arrival on. */
  | "dropped"
  /** They were dropped, and are kept again from this very moment on: the position was not left for it. */
  | "begun-anew";

export function fateAt(entry: LedgerEntry, position: Position): Fate {
  const { action, detail } = entry;
  // The walk down from a lost Redis ends in one that is emptied.
  if (action === "redis-lost") return "dropped";
  if (action === "rearm") return "begun-anew";
  // A step down that was begun and turned round drops on its way back up.
  const reached = action === "begin" ? (detail.to as Position) : arrival(entry);
  if (reached !== null && reached !== "away" && comparePositions(reached, position) < 0) return "dropped";
  return action === "interrupted" ? "begun-anew" : "kept";
}

/**
 * Since when R has kept the copies that `position` asks for, by the ledger (newest entry first): the first time it was
 * reached after they may last have been dropped, or that very drop where the migration stood there all the while (an R
 * armed anew). Null: as long as the ledger goes back.
 */
export function copiesSince(ledger: readonly LedgerEntry[], position: Position): number | null {
  let reached: number | null = null;
  let anew: number | null = null;
  for (const entry of ledger) {
    const fate = fateAt(entry, position);
    if (fate === "dropped") return Math.max(reached ?? entry.at, anew ?? 0);
    if (fate === "begun-anew") anew ??= entry.at;
    else if (entry.action === "settled") reached = entry.at;
  }
  return anew;
}
