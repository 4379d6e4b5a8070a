import type { ControlChange, NodeReport } from "../ports/control-store.js";

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
