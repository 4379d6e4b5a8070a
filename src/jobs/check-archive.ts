import { randomBytes } from "node:crypto";
import type { CheckResult } from "../core/check-result.js";
import { type ChecksSummary, EVIDENCE_KIND, NO_CHECKS, RUNS_ID, summarize } from "../core/evidence.js";
import type { Clock } from "../ports/clock.js";
import type { ControlStore } from "../ports/control-store.js";

const KIND = "check";
const KEPT = 50;
const LOCK = "evidence";
/** Milliseconds. */
const LOCK_TTL = 5_000;

/** A name that sorts by time: 20250131-081502-123-k3x9 (UTC). */
export function newCheckId(at: number): string {
  const [date, time] = new Date(at).toISOString().split("T");
  const clock = time!.replace("Z", "").replaceAll(":", "").replace(".", "-");
  const suffix = (randomBytes(3).readUIntBE(0, 3) % 36 ** 4).toString(36).padStart(4, "0");
  return `${date!.replaceAll("-", "")}-${clock}-${suffix}`;
}

/** Stores a result, and what it says as evidence; forgets all but the last ones and those that evidence rests on. */
export async function keepCheck(control: ControlStore, clock: Clock, result: CheckResult): Promise<void> {
  await control.putDocument(KIND, result.id, result);
  const summary = await summarizeUnderLock(control, clock, result);
  const needed = new Set([summary.full?.id, summary.fresh?.id, summary.contradicted?.id]);
  const stored = await control.listDocuments<CheckResult>(KIND, KEPT * 2);
  for (const { id } of stored.slice(KEPT)) if (!needed.has(id)) await control.deleteDocument(KIND, id);
}

/** The result of that id, or the newest one; null where there is none. */
export async function findCheck(control: ControlStore, id?: string): Promise<CheckResult | null> {
  if (id !== undefined) return control.getDocument<CheckResult>(KIND, id);
  return (await newest(control, 1))[0] ?? null;
}

/**
 * Two checks may end at once; each must see what the other has said. Whoever was frozen until its lock had run out may
 * have taken another's word back: it tells anew, from the results, each of which is a document of its own.
 */
async function summarizeUnderLock(control: ControlStore, clock: Clock, result: CheckResult): Promise<ChecksSummary> {
  const holder = randomBytes(8).toString("hex");
  for (let results = [result]; ; results = await newest(control, KEPT)) {
    let until = clock.elapsed() + LOCK_TTL;
    while (!(await control.lock(LOCK, holder, LOCK_TTL))) {
      await clock.sleep(50);
      until = clock.elapsed() + LOCK_TTL;
    }
    try {
      const old = (await control.getDocument<ChecksSummary>(EVIDENCE_KIND, RUNS_ID)) ?? NO_CHECKS;
      const summary = results.reduce(summarize, old);
      await control.putDocument(EVIDENCE_KIND, RUNS_ID, summary);
      if (clock.elapsed() < until) return summary;
    } finally {
      await control.unlock(LOCK, holder);
    }
  }
}

async function newest(control: ControlStore, count: number): Promise<CheckResult[]> {
  return (await control.listDocuments<CheckResult>(KIND, count)).map(({ body }) => body);
}
