import { FerryError } from "../../errors.js";
import { LegacyRefused, LegacyUnreachable, OutcomeUnknown } from "../../ports/legacy-store.js";
import type { Failure } from "./commands.js";

/** An error of the stores as a client may know it. Its text stays here: it is for the team, not for the application. */
export function failureOf(error: unknown): Failure {
  if (error instanceof FerryError) {
    const { code, retryable } = error;
    if (code === "VALUE_TOO_LARGE") return { kind: "too-large", code };
    if (code === "KEY_TOO_LONG") return { kind: "key", code };
    return { kind: retryable ? "later" : "never", code };
  }
  if (error instanceof OutcomeUnknown) return { kind: "later", code: "OUTCOME_UNKNOWN" };
  if (error instanceof LegacyUnreachable) return { kind: "later", code: "LEGACY_UNREACHABLE" };
  if (error instanceof LegacyRefused) return { kind: "later", code: "LEGACY_REFUSED" };
  return { kind: "never", code: "UNEXPECTED" };
}
