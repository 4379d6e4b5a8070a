import { type BackfillCheckpoint, type BackfillCounts, coveredBelow } from "../core/backfill-state.js";
import type { Position } from "../core/phase.js";
import type { Sid } from "../core/session.js";
import type { ControlRecord, ControlStore, LedgerEntry } from "../ports/control-store.js";
import type { Secrets } from "./secrets.js";

const KIND = "backfill";
const CHECKPOINT = "current";
const WISH = "wish";

/** A running backfill writes its checkpoint at least every few seconds; one older than this has no process. */
export const STALE_AFTER = 15_000;

/** What somebody wants of the running backfill; it looks every second. */
export interface BackfillWish {
  readonly command: "run" | "pause" | "stop";
  /** Sids a second, 0 for no limit; absent: as it is. */
  readonly rate?: number;
}

export interface BackfillStatus {
  readonly checkpoint: BackfillCheckpoint | null;
  /** Whether a process is at it. */
  readonly alive: boolean;
  readonly done: number;
  readonly etaSeconds: number | null;
}

/** The documents by which a backfill, its operators and its successor after a crash speak with each other. */
export class BackfillDesk {
  constructor(
    readonly control: ControlStore,
    readonly secrets: Secrets,
  ) {}

  checkpoint(): Promise<BackfillCheckpoint | null> {
    return readCheckpoint(this.control);
  }

  /**
   * The sid to go on after, if the checkpoint has an unfinished listing and R still holds what it says; null: from the
   * beginning.
   */
  async placeToGoOn(old: BackfillCheckpoint, record: ControlRecord): Promise<Sid | null> {
    const unfinished = old.state !== "complete" && old.state !== "incomplete";
    if (!unfinished || old.cursor === null || (await this.isUndone(old, record))) return null;
    return this.secrets.unseal(old.cursor);
  }

  /** Whether R may hold what the checkpoint says no more. */
  async isUndone(
    checkpoint: Pick<BackfillCheckpoint, "generation" | "coveredBelow" | "startedAt">,
    record: ControlRecord,
  ): Promise<boolean> {
    if (isOutdated(checkpoint, record)) return true;
    return (await this.control.ledger(500)).some((entry) => entry.at >= checkpoint.startedAt && mayHaveDropped(entry));
  }

  /** A listing goes on only from a whole sid, and a sid is a credential: it is sealed. */
  async write(checkpoint: Omit<BackfillCheckpoint, "cursor">, cursor: Sid | undefined): Promise<void> {
    const sealed = cursor === undefined ? null : this.secrets.seal(cursor);
    await this.control.putDocument(KIND, CHECKPOINT, { ...checkpoint, cursor: sealed });
  }

  wish(): Promise<BackfillWish> {
    return readWish(this.control);
  }
}

/** R was armed anew, or more buckets have come under dual-write, since the backfill began. */
function isOutdated(
  checkpoint: Pick<BackfillCheckpoint, "generation" | "coveredBelow">,
  record: ControlRecord,
): boolean {
  return checkpoint.generation !== record.generation || checkpoint.coveredBelow < coveredBelow(record);
}

/** Whether records may have been dropped then, so that they are missing again though the listing has passed them. */
function mayHaveDropped({ action, detail }: LedgerEntry): boolean {
  if (["reverse", "interrupted", "rearm", "redis-lost"].includes(action)) return true;
  const to = detail.to as Position | undefined;
  return action === "begin" && (to?.phase === "legacy" || to?.phase === "dual-write");
}

export function readCheckpoint(control: ControlStore): Promise<BackfillCheckpoint | null> {
  return control.getDocument<BackfillCheckpoint>(KIND, CHECKPOINT);
}

/** What was wished of it last. */
export async function readWish(control: ControlStore): Promise<BackfillWish> {
  return (await control.getDocument<BackfillWish>(KIND, WISH)) ?? { command: "run" };
}

/** `backfill pause|resume|stop`, and a change of the rate, for whichever process is at it. */
export async function wishOfBackfill(control: ControlStore, wish: BackfillWish): Promise<void> {
  await control.putDocument(KIND, WISH, wish);
}

export async function backfillStatus(control: ControlStore): Promise<BackfillStatus> {
  const checkpoint = await readCheckpoint(control);
  if (checkpoint === null) return { checkpoint, alive: false, done: 0, etaSeconds: null };
  const moving = checkpoint.state === "running" || checkpoint.state === "paused";
  const done = doneOf(checkpoint.counts);
  const left = Math.max(0, checkpoint.total - done);
  return {
    checkpoint,
    alive: moving && (await control.now()) - checkpoint.updatedAt < STALE_AFTER,
    done,
    etaSeconds: checkpoint.state === "running" && checkpoint.rate > 0 ? Math.ceil(left / checkpoint.rate) : null,
  };
}

/** Sids that are behind us, however they ended. Refusals are tries, not sids. */
export function doneOf(counts: BackfillCounts): number {
  const { refused: _tries, ...ended } = counts;
  return Object.values(ended).reduce((sum, count) => sum + count, 0);
}
