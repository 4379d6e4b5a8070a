import { PHASE_NAMES, type Position, type Transition } from "../core/phase.js";
import { FerryError } from "../errors.js";
import type { ControlChange, ControlRecord, NodeReport } from "../ports/control-store.js";
import { decode } from "./json.js";

/** Where nothing depends on R, an empty fleet interrupts nothing: legacy for all sessions and no transition under way. */
export function isGround({ position, pending }: Pick<ControlChange, "position" | "pending">): boolean {
  return position.phase === "legacy" && position.percent === 100 && pending === null;
}

/** What a node counts as having reported before its first renewal. */
export const NO_REPORT: NodeReport = {
  acknowledged: 0,
  gap: 0,
  redis: "unused",
  operations: 0,
  errors: 0,
  p95: null,
  endpoints: [],
};

/** The longest span that stores calculate with, in milliseconds: about 31 years, so that Infinity is a valid answer. */
export function span(milliseconds: number): number {
  return Math.min(Math.max(milliseconds, 0), 1e12);
}

/**
 * What steers a fleet is read with suspicion: a record that was damaged, or written by a later release in words that
 * this one does not know, must not become routes. A node that meets one keeps those it has.
 */
export function soundRecord(
  migration: string,
  found: Readonly<Record<Exclude<keyof ControlRecord, "migration">, unknown>>,
): ControlRecord {
  const { revision, position, pending, generation, interrupted } = found;
  const isWhole = Number.isSafeInteger(revision) && (revision as number) >= 1;
  const isSound = isPosition(position) && (pending === null || isTransition(pending));
  if (!isWhole || !isSound || typeof generation !== "string" || typeof interrupted !== "boolean") {
    throw unreadable(`record of ${migration}`);
  }
  return {
    migration,
    revision: revision as number,
    position,
    pending: pending as Transition | null,
    generation,
    interrupted,
  };
}

/** JSON as the stores keep it; what cannot be read is told as what it is. */
export function decoded<T>(text: unknown, what: string): T {
  try {
    return decode<T>(text as string);
  } catch {
    // The parser's error quotes the text.
    throw unreadable(what);
  }
}

/** Of a list that a store gives, such as a line of the ledger: an object, whatever it holds. */
export function decodedObject<T extends object>(text: unknown, what: string): T {
  const found = decoded<unknown>(text, what);
  if (typeof found !== "object" || found === null || Array.isArray(found)) throw unreadable(what);
  return found as T;
}

export function unreadable(what: string): FerryError {
  return new FerryError("PROTOCOL_MISMATCH", `The control store holds a ${what} that this release cannot read.`, {
    remedy:
      "Bring this process to the release that wrote it; if it is the newest, the control store is damaged: see RUNBOOK.md, Control store.",
  });
}

function isPhase(value: unknown): boolean {
  return (PHASE_NAMES as readonly unknown[]).includes(value);
}

function isPosition(value: unknown): value is Position {
  const { phase, percent } = (value ?? {}) as Partial<Record<keyof Position, unknown>>;
  const isShare = typeof percent === "number" && percent > 0 && percent <= 100;
  return isPhase(phase) && isShare && ((phase !== "legacy" && phase !== "complete") || percent === 100);
}

function isTransition(value: unknown): boolean {
  const { lower, upper, ladder, buckets, rung, direction } = (value ?? {}) as Partial<
    Record<keyof Transition, unknown>
  >;
  const isRange = Array.isArray(buckets) && buckets.length === 2 && buckets.every(Number.isInteger);
  const isRung = Number.isInteger(rung) && (rung as number) >= 0;
  const climbs = isPhase(ladder) && (direction === "up" || direction === "down");
  return isPosition(lower) && isPosition(upper) && isRange && isRung && climbs;
}
