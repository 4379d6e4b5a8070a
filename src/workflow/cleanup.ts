import { ALL_BUCKETS } from "../core/cohort.js";
import { newNodeId } from "../core/ids.js";
import { FerryError } from "../errors.js";
import type { ControlRecord, ControlStore, NodeInfo } from "../ports/control-store.js";
import type { RedisRecords } from "../ports/redis-records.js";
import { recordIfAny } from "./standing.js";

/** Milliseconds that the lock outlives its holder. */
const LOCK_TTL = 15_000;

export type CleanupStep = "drop-records" | "remove-marks" | "remove-items" | "remove-seal" | "destroy-control";

export interface CleanupState {
  /** Null: nothing of ours is in the control store (any more). */
  readonly record: ControlRecord | null;
  readonly seal: { readonly state: "active" | "complete" } | null;
  /** App and proxy nodes that are live. */
  readonly serving: readonly NodeInfo[];
}

export async function cleanupState(
  control: ControlStore,
  records: Pick<RedisRecords, "seal">,
  presence: number,
): Promise<CleanupState> {
  const record = await recordIfAny(control);
  const seal = await records.seal();
  if (record === null) return { record, seal, serving: [] };
  const [nodes, now] = await Promise.all([control.nodes(), control.now()]);
  const serving = nodes.filter(
    ({ role, state, renewedAt }) => role !== "job" && state === "live" && now - renewedAt < presence,
  );
  return { record, seal, serving };
}

/**
 * What is left to remove, in the order in which it may be broken off and begun again: the record goes last.
 *
 * After complete, the seal stays: nodes that run without a control store believe Redis because of it. What only
 * memcached's clients know of a session, its flags and its token, goes when no proxy serves them any more; while one
 * does, it stays and goes with its session. Back in legacy
 * everything goes, which takes the control record from under every node: they must be gone first.
 *
 * @param keepsItems whether Redis holds flags and tokens beside the values.
 * @throws FerryError GUARD_REFUSED anywhere between, and in legacy while nodes serve
 */
export function planCleanup({ record, seal, serving }: CleanupState, keepsItems: boolean): CleanupStep[] {
  if (record === null) {
    if (seal?.state !== "active") return [];
    throw new FerryError("GUARD_REFUSED", "Redis is sealed for this migration, but its control record is gone.", {
      remedy: "Point `control.url` at the control store that holds it, or run setup --adopt and then clean up.",
    });
  }
  const { position, pending } = record;
  if (pending !== null) {
    throw new FerryError("GUARD_REFUSED", "A step is pending.", {
      remedy: "Finish or reverse it first.",
      next: "sessionferry status",
    });
  }
  if (position.phase === "complete") {
    const nobodysItems = keepsItems && !serving.some(({ role }) => role === "proxy");
    return nobodysItems ? ["remove-marks", "remove-items", "destroy-control"] : ["remove-marks", "destroy-control"];
  }
  if (position.phase !== "legacy") {
    throw new FerryError("GUARD_REFUSED", `The migration stands at ${position.phase} ${position.percent} %.`, {
      remedy: "cleanup is for after complete, or back in legacy.",
      next: "sessionferry status",
    });
  }
  if (serving.length > 0) {
    throw new FerryError("GUARD_REFUSED", `${serving.length} applications still run with sessionferry.`, {
      remedy: "Deploy the applications without it first; see them with: sessionferry nodes",
      next: "sessionferry nodes",
    });
  }
  return ["drop-records", "remove-seal", "destroy-control"];
}

/**
 * May be repeated from the start. Removing millions of records takes minutes, in which an application may have started: so
 * no command steers meanwhile, and it is looked again before each step.
 *
 * @param plan what is left to remove, as of now
 * @throws FerryError HELD, and what `plan` throws
 */
export async function runCleanup(
  plan: () => Promise<readonly CleanupStep[]>,
  control: ControlStore,
  records: RedisRecords,
): Promise<void> {
  const steps = await plan();
  if (steps.length === 0) return;
  const holder = newNodeId();
  if (!(await control.lock("phase", holder, LOCK_TTL))) throw held();
  let isLost = false;
  const renewing = setInterval(async () => {
    isLost ||= !(await control.lock("phase", holder, LOCK_TTL).catch(() => true));
  }, LOCK_TTL / 3);
  try {
    for (const step of steps) {
      if (isLost || !(await plan()).includes(step)) throw held();
      if (step === "drop-records") await records.drop(ALL_BUCKETS);
      else if (step === "remove-marks") await records.clearMarks();
      else if (step === "remove-items") await records.clearItems();
      else if (step === "remove-seal") await records.removeSeal();
      else await control.destroy();
    }
  } finally {
    clearInterval(renewing);
    await control.unlock("phase", holder).catch(() => {});
  }
}

function held(): FerryError {
  return new FerryError("HELD", "Another command steers this migration.");
}
