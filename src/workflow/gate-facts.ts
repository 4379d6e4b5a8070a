import { BUCKETS, bucketsBelow } from "../core/cohort.js";
import type { Config } from "../core/config.js";
import { type GateFacts, type GateResult, judgeStep } from "../core/gates.js";
import { type Position, phaseBelow } from "../core/phase.js";
import { comparePositions } from "../core/transition.js";
import { notedDirty } from "../ferry/drainer.js";
import type { Refusal } from "../ferry/refused.js";
import { readCheckpoint } from "../jobs/backfill-desk.js";
import type { ControlStore, LedgerEntry } from "../ports/control-store.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { RedisRecords } from "../ports/redis-records.js";
import { readStanding } from "./evidence.js";

export interface GateSources {
  readonly control: ControlStore;
  readonly legacy: Pick<LegacyStore, "identity">;
  readonly records: Pick<RedisRecords, "facts" | "dirtyState">;
  readonly config: Pick<Config, "gates" | "accept">;
}

/** Enough of the ledger to find when a phase was entered; the entries of checks and backfills are among them. */
const LEDGER = 2_000;

/** Judges a step from the present position to `target`. Rejects only when the control store cannot be reached. */
export async function judge(sources: GateSources, target: Position): Promise<GateResult[]> {
  const record = await sources.control.read();
  const direction = comparePositions(target, record.position) > 0 ? "up" : "down";
  return judgeStep(await gateFacts(sources, target), direction);
}

/** A store that cannot be asked yields null, which no gate passes. */
export async function gateFacts(
  { control, legacy, records, config }: GateSources,
  target: Position,
): Promise<GateFacts & { readonly refused: readonly Refusal[] }> {
  const [record, now, standing, backfill, nodes, ledger, legacyIdentity, redis, dirty, note] = await Promise.all([
    control.read(),
    control.now(),
    readStanding(control),
    readCheckpoint(control),
    control.nodes(),
    control.ledger(LEDGER),
    legacy.identity().catch(() => null),
    records.facts().catch(() => null),
    records.dirtyState().catch(() => null),
    notedDirty(control),
  ]);
  const below = target.phase === "legacy" ? 0 : bucketsBelow(target.percent);
  return {
    target,
    below,
    copiesSince: copiesSince(ledger, { phase: "dual-write", percent: (below * 100) / BUCKETS }),
    limits: config.gates,
    accept: config.accept,
    now,
    generation: record.generation,
    legacyIdentity,
    standing,
    backfill,
    nodes,
    redis,
    dirty,
    // A note stays behind when everything has been drained.
    refused: dirty === null || dirty.count > 0 ? (note?.refused ?? []) : [],
    below100Since:
      target.phase === "legacy" ? null : heldSince(ledger, { phase: phaseBelow(target.phase), percent: 100 }),
  };
}

/** Where the fleet went, by one entry of the ledger; null for entries that tell of no move. */
function arrival({ action, detail }: LedgerEntry): Position | "away" | null {
  if (action === "settled") return detail.position as Position;
  if (action === "interrupted") return detail.to as Position;
  // Redis was left behind: whatever was held before is over, wherever the walk down ends.
  return action === "demote" || action === "redis-lost" ? "away" : null;
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
    if (at === "away" || comparePositions(at, position) < 0) break;
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

function fateAt(entry: LedgerEntry, position: Position): Fate {
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
