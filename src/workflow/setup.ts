import { newGeneration } from "../core/ids.js";
import type { Position } from "../core/phase.js";
import { FerryError } from "../errors.js";
import type { ControlRecord, ControlStore } from "../ports/control-store.js";
import type { RedisRecords } from "../ports/redis-records.js";
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
