import type { Phases } from "../core/phase.js";
import { type Steering, someBucket } from "../core/transition.js";
import type { ControlStore } from "../ports/control-store.js";

/** What ended the worth of every check that began before it. */
export interface Voiding {
  /** Milliseconds since the epoch by the control store's clock. */
  readonly at: number;
  readonly by: string;
  readonly why: string;
}

const KIND = "evidence-void";
const ID = "latest";

/** From now on a check that began earlier is no evidence (PROTOCOL.md, Evidence). */
export async function voidEvidence(control: ControlStore, why: string, by: string): Promise<void> {
  const voiding: Voiding = { at: await control.now(), by, why };
  await control.putDocument(KIND, ID, voiding);
  await control.append({ by, action: "void", detail: { why } });
}

export async function lastVoiding(control: ControlStore): Promise<Voiding | null> {
  return control.getDocument<Voiding>(KIND, ID);
}

/** Whether a node that is lost now may have taken a gap with it that nobody else knows of. */
export function gapMayBeLost(record: Steering, phases: Phases): boolean {
  return record.pending?.ladder === "read-through" || someBucket(record, phases, ({ liberty }) => liberty === "gap");
}
