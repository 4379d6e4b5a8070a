import { FerryError } from "../errors.js";
import type { ControlRecord } from "../ports/control-store.js";

/** Backfill and check have something to do only while two stores hold copies of the same sessions. */
export function refuseWithoutCopies({ position, pending }: ControlRecord, what: "copied" | "compared"): void {
  if (position.phase === "legacy" && pending === null) {
    throw new FerryError("GUARD_REFUSED", `No session is in dual-write yet, so nothing may be ${what}.`, {
      remedy: "Enter dual-write first: sessionferry phase advance",
      next: "sessionferry phase advance",
    });
  }
  if (position.phase === "complete") {
    throw new FerryError("GUARD_REFUSED", `The migration is complete: nothing is ${what} any more.`, {
      remedy: "Nothing needs to be done.",
    });
  }
}
