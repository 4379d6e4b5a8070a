import type { CheckResult } from "../core/check-result.js";

export interface Advice {
  /** The outcome in a few words. */
  readonly verdict: "CLEAN" | "CLEAN, BUT NO EVIDENCE" | "FAULTS FOUND" | "BROKEN OFF";
  /** What it means, in a sentence or two. */
  readonly meaning: string;
  /** What to type next, in order; `why` says when, or what for. */
  readonly next: readonly { readonly command: string; readonly why: string }[];
}

const CHECK = "sessionferry check";
const REPAIR = "sessionferry check --repair";

/** What a check means for whoever is on call, and what to do about it. */
export function adviceFor(result: CheckResult): Advice {
  if (!result.clean) return faults(result);
  const again = { command: CHECK, why: "a whole run, not broken off, is needed before the next phase" };
  if (result.aborted) {
    return { verdict: "BROKEN OFF", meaning: "Nothing bad was found as far as it came.", next: [again] };
  }
  if (result.evidence) {
    return {
      verdict: "CLEAN",
      meaning: "The two stores agree. There is nothing to do.",
      next: [{ command: "sessionferry status", why: "to see what the next phase still asks" }],
    };
  }
  const meaning = "Nothing bad was found, but this run does not open a gate: see the reasons below.";
  return { verdict: "CLEAN, BUT NO EVIDENCE", meaning, next: reasons(result) };
}

function reasons(result: CheckResult): Advice["next"] {
  if (result.repaired !== null) return [{ command: CHECK, why: "a run without repair proves that all is well now" }];
  const blind = result.planted.missed.length > 0 || (result.witness?.disagreed ?? 0) > 0;
  if (blind) {
    return [
      { command: "sessionferry doctor", why: "the check cannot see what it should: wrong table, prefix or server?" },
      { command: CHECK, why: "after that" },
    ];
  }
  if (result.counts["not-yet"] > 0 && result.coveredBelow === 0) {
    return [{ command: "sessionferry phase advance", why: "no session is in dual-write yet" }];
  }
  return [{ command: CHECK, why: "once the reasons below are gone" }];
}

function faults(result: CheckResult): Advice {
  const { counts, repaired } = result;
  const next: { command: string; why: string }[] = [];
  if (counts.missing > 0) next.push({ command: "sessionferry backfill", why: "some sessions could not be copied" });
  const left = (name: "mismatched" | "expiry" | "behind" | "leftover") =>
    repaired === null ? counts[name] > 0 : (repaired[name]?.failed ?? 0) > 0;
  if (left("mismatched") || left("expiry") || left("behind")) {
    next.push({ command: REPAIR, why: "brings the other store back to what the authority holds" });
  }
  if (left("leftover")) {
    next.push(
      {
        command: "sessionferry phase rollback --to redis-first",
        why: "where Redis has lost them (a restart, an eviction): a check there copies them back",
      },
      {
        command: `${REPAIR} --toward redis`,
        why: "decide first: where their users logged out; it destroys what may be the last copies",
      },
    );
  }
  if (counts.resurrected > (repaired?.resurrected?.done ?? 0)) {
    next.push({
      command: `${REPAIR} --toward legacy`,
      why: "decide first: it logs out for good whom somebody deleted in the legacy store behind our back",
    });
  }
  next.push({ command: CHECK, why: "a second, clean run is the proof" });
  const harm = harmOf(result);
  return { verdict: "FAULTS FOUND", meaning: `${result.findings.join(" ")} ${harm}`, next };
}

/** Who is hurt at this moment: the authority is right, and most readers read it. */
function harmOf({ position, authority, counts }: CheckResult): string {
  const { phase } = position.after;
  if (counts.leftover > 0)
    return "What only the legacy store has is either logged out, or lost in Redis: nobody can tell.";
  if (phase === "dual-write") return "Nobody is hurt: in dual-write all reads come from the legacy store.";
  if (authority.L > 0) {
    return "Users may see the wrong session where Redis answers; if it is many, go back: sessionferry phase rollback.";
  }
  return "Users see Redis, which is right; a rollback would bring the wrong sessions back.";
}
