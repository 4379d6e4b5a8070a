import { BUCKETS, bucketsBelow } from "../core/cohort.js";
import type { Config } from "../core/config.js";
import { type GateFacts, type GateResult, judgeStep } from "../core/gates.js";
import { type Position, phaseBelow } from "../core/phase.js";
import { comparePositions } from "../core/transition.js";
import { notedDirty } from "../ferry/drainer.js";
import type { Refusal } from "../ferry/refused.js";
import { readCheckpoint } from "../jobs/backfill-desk.js";
import type { ControlStore } from "../ports/control-store.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { RedisRecords } from "../ports/redis-records.js";
import { readStanding } from "./evidence.js";
import { arrival, copiesSince, fateAt, heldSince, isBelow, ledgerSince } from "./ledger.js";

export interface GateSources {
  readonly control: ControlStore;
  readonly legacy: Pick<LegacyStore, "identity">;
  readonly records: Pick<RedisRecords, "facts" | "dirtyState">;
  readonly config: Pick<Config, "gates" | "accept">;
}

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
  const below = target.phase === "legacy" ? 0 : bucketsBelow(target.percent);
  const copied: Position = { phase: "dual-write", percent: (below * 100) / BUCKETS };
  const held: Position = target.phase === "legacy" ? target : { phase: phaseBelow(target.phase), percent: 100 };
  const [record, now, standing, backfill, nodes, ledger, legacyIdentity, redis, dirty, note] = await Promise.all([
    control.read(),
    control.now(),
    readStanding(control),
    readCheckpoint(control),
    control.nodes(),
    ledgerSince(
      control,
      (entry) => isBelow(arrival(entry), held),
      (entry) => fateAt(entry, copied) === "dropped",
    ),
    legacy.identity().catch(() => null),
    records.facts().catch(() => null),
    records.dirtyState().catch(() => null),
    notedDirty(control),
  ]);
  return {
    target,
    below,
    copiesSince: copiesSince(ledger, copied),
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
    below100Since: target.phase === "legacy" ? null : heldSince(ledger, held),
  };
}
