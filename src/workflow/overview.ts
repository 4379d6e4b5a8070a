import type { CheckResult } from "../core/check-result.js";
import type { Standing } from "../core/evidence.js";
import { type GateResult, judgeStep } from "../core/gates.js";
import type { Position } from "../core/phase.js";
import { nextPosition } from "../core/transition.js";
import type { Refusal } from "../ferry/refused.js";
import { type BackfillStatus, backfillStatus } from "../jobs/backfill-desk.js";
import { findCheck } from "../jobs/check-archive.js";
import type { ControlRecord, NodeInfo } from "../ports/control-store.js";
import type { RedisFacts, RedisRecords } from "../ports/redis-records.js";
import { advanceCommand, shown, type Way } from "./decide.js";
import { readStanding } from "./evidence.js";
import { type GateSources, gateFacts } from "./gate-facts.js";

export interface OverviewSources extends GateSources {
  readonly records: Pick<RedisRecords, "facts" | "dirtyState" | "generation">;
}

export interface Advice {
  /** The command to type; null where something else has to be done first. */
  readonly command: string | null;
  readonly why: string;
}

/** Where a migration stands, as far as it could be found out: Redis and the legacy store may be away. */
export interface Overview {
  readonly record: ControlRecord;
  readonly nodes: readonly NodeInfo[];
  /** By the control store's clock, as all times here. */
  readonly now: number;
  readonly backfill: BackfillStatus;
  readonly lastCheck: CheckResult | null;
  readonly standing: Standing;
  readonly redis: Pick<RedisFacts, "usedMemory" | "maxMemory" | "evictionPolicy"> | null;
  readonly dirty: { readonly count: number; readonly oldestAge: number } | null;
  /** What the legacy store never takes of that, as a process noted it last. */
  readonly refused: readonly Refusal[];
  /** The next step up and what it asks; null at the end of the way. */
  readonly next: { readonly target: Position; readonly gates: readonly GateResult[] } | null;
  readonly advice: Advice;
}

/** Rejects only when the control store cannot be read. */
export async function overview(sources: OverviewSources, way: Way): Promise<Overview> {
  const { control, records } = sources;
  const record = await control.read();
  records.generation = record.generation;
  const target = nextPosition(record.position, way.ramps);
  const [facts, nodes, backfill, lastCheck, standing] = await Promise.all([
    gateFacts(sources, target ?? record.position),
    control.nodes(),
    backfillStatus(control),
    findCheck(control),
    readStanding(control),
  ]);
  const next = target === null ? null : { target, gates: judgeStep(facts, "up") };
  const { now, redis, dirty, refused } = facts;
  const seen = { record, nodes, now, backfill, lastCheck, standing, redis, dirty, refused, next };
  return { ...seen, advice: advise(seen, way) };
}

/** What to do now, as an experienced colleague would say it. */
export function advise({ record, nodes, next }: Pick<Overview, "record" | "nodes" | "next">, way: Way): Advice {
  const { position, pending, interrupted, revision } = record;
  if (pending !== null) {
    const behind = nodes.filter(({ state, report }) => state !== "live" || report.acknowledged < revision);
    const waiting = behind.length === 0 ? "" : `; waiting for ${behind.map(({ id }) => id).join(", ")}`;
    const up = pending.direction === "up";
    return {
      command: up ? advanceCommand(pending.upper, way.ramps) : "sessionferry phase rollback",
      why: `a step ${up ? "up" : "down"} is pending: this finishes it${waiting}`,
    };
  }
  if (interrupted) {
    return { command: null, why: "no application was there for a while: start one, and it sets the position back" };
  }
  if (next === null)
    return { command: "sessionferry cleanup", why: "the migration is complete: this removes what is left" };
  const failing = next.gates.find(({ ok }) => !ok);
  if (failing !== undefined) {
    const remedy = failing.remedy ?? "";
    const command = /\bsessionferry (?:backfill|check)\b[^,;.:]*/.exec(remedy)?.[0].trim() ?? null;
    return { command, why: `${shown(next.target)} asks for ${failing.required}; now: ${failing.measured}` };
  }
  const stay = position.phase === "legacy" ? "" : " when it has stood long enough for you";
  return { command: advanceCommand(next.target, way.ramps), why: `every gate of ${shown(next.target)} passes${stay}` };
}
