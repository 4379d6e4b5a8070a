import { newGeneration } from "../core/ids.js";
import type { Position } from "../core/phase.js";
import { FerryError } from "../errors.js";
import type { ControlRecord, ControlStore } from "../ports/control-store.js";
import type { RedisRecords, SealState } from "../ports/redis-records.js";
import type { Examination } from "./doctor.js";
import type { Facts } from "./doctor-facts.js";

export interface SetupOptions {
  /** Takes a prefix over though live keys or another seal lie there; its keys go when dual-write is entered. */
  readonly adopt: boolean;
  readonly by: string;
}

export type SetupStep = "install-control" | "adopt-prefix" | "seal-redis";

const LEGACY: Position = { phase: "legacy", percent: 100 };

/**
 * Refuses what the doctor's guarding probes refuse, as the one error that a script sees.
 * @throws FerryError with the code of the first finding that stands in the way.
 */
export function refuseUnfit(examinations: readonly Examination[], { adopt }: Pick<SetupOptions, "adopt">): void {
  for (const { guardsSetup, ok, code, detail, remedy } of examinations) {
    const stands = guardsSetup && (ok === "refused" || ok === "unreachable");
    if (!stands || (adopt && code === "PREFIX_IN_USE")) continue;
    throw new FerryError(code ?? "GUARD_REFUSED", detail, { ...(remedy === null ? {} : { remedy }) });
  }
}

/** What is left to do, in its order; empty when everything stands already. */
export function planSetup({ control, redis, redisRights }: Facts, { adopt }: Pick<SetupOptions, "adopt">): SetupStep[] {
  const record = control.facts?.record ?? null;
  const seal = redis.facts?.seal ?? null;
  const steps: SetupStep[] = [];
  if (record === null) steps.push("install-control");
  const taken = redis.facts?.occupied === true || (redisRights.facts?.strangers.length ?? 0) > 0;
  if (record === null && adopt && taken) steps.push("adopt-prefix");
  if (record === null || isUnsealed(record, seal)) steps.push("seal-redis");
  return steps;
}

/** Arming by hand is for the ground alone: above it the nodes arm R anew themselves, and drop what it holds first. */
function isUnsealed(record: ControlRecord, seal: { readonly generation: string } | null): boolean {
  return record.position.phase === "legacy" && record.pending === null && seal?.generation !== record.generation;
}

/**
 * Makes the control record, at legacy 100 %, and seals R for it. May be repeated: what stands already is left alone. If
 * it dies between the two, the next run seals R for the generation that the record names.
 *
 * @returns the record, and whether it was made now.
 */
export async function runSetup(
  control: ControlStore,
  records: RedisRecords,
  steps: readonly SetupStep[],
  { by, adopt }: SetupOptions,
): Promise<{ readonly record: ControlRecord; readonly created: boolean }> {
  const initial = { position: LEGACY, pending: null, generation: newGeneration(), interrupted: false };
  // Also when the record stands: our schema may have grown since.
  const created = await control.setup(initial);
  const record = await control.read();
  if (created) await control.append({ by, action: "setup", detail: { adopt } });
  if (steps.includes("seal-redis")) {
    await records.arm(record.generation, "active");
    if (!created) await control.append({ by, action: "seal", detail: {} });
  }
  return { record, created };
}

/** What `setup --redis-lost` finds. `record` null: the migration was cleaned up. */
export interface LostFacts {
  readonly record: ControlRecord | null;
  readonly seal: { readonly generation: string; readonly state: SealState } | null;
  /** Whether live keys lie under the prefix. */
  readonly occupied: boolean;
}

/**
 * After `complete`, where Redis alone had the sessions and came back without them: there is nothing to go back to, and
 * nothing to repair. An empty Redis is sealed as complete, so that the applications serve again and users log in anew.
 * The seal is what keeps them from believing whatever Redis lies at that address, so this is a decision of the operator.
 *
 * @param adopt the sessions that lie there are to be believed: a backup without the seal.
 * @returns the generation to seal Redis for, or null where it carries its seal and nothing is lost.
 * @throws FerryError GUARD_REFUSED below complete, PREFIX_IN_USE where keys lie there and nobody answers for them
 */
export function planRedisLost({ record, seal, occupied }: LostFacts, { adopt }: Pick<SetupOptions, "adopt">) {
  if (record !== null && (record.position.phase !== "complete" || record.pending !== null)) {
    const { phase, percent } = record.position;
    throw new FerryError("GUARD_REFUSED", `The migration stands at ${phase} ${percent} %, not at complete.`, {
      remedy: "Below redis-first the processes seal Redis anew by themselves; from there on leave it behind.",
      next: "sessionferry phase rollback --to dual-write --redis-lost --reason TEXT",
    });
  }
  const isWhole = seal?.state === "complete" && (record === null || seal.generation === record.generation);
  if (isWhole) return null;
  if (occupied && !adopt) {
    throw new FerryError("PREFIX_IN_USE", "Sessions lie in this Redis, but not the seal that they were kept under.", {
      remedy: "Restore the backup with its seal, drop these keys, or add --adopt if these sessions may live.",
    });
  }
  return record?.generation ?? newGeneration();
}
