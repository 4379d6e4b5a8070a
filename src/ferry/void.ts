import { randomBytes } from "node:crypto";
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
const KEPT = 20;

/**
 * From now on a check that began earlier is no evidence (PROTOCOL.md, Evidence). Each voiding is a document of its own:
 * whoever was frozen between asking for the time and telling it takes nobody else's word back.
 */
export async function voidEvidence(control: ControlStore, why: string, by: string): Promise<void> {
  const voiding: Voiding = { at: await control.now(), by, why };
  await control.putDocument(KIND, randomBytes(8).toString("hex"), voiding);
  await control.append({ by, action: "void", detail: { why } });
  const told = await control.listDocuments<Voiding>(KIND, KEPT * 2);
  for (const { id } of told.slice(KEPT)) await control.deleteDocument(KIND, id);
}

export async function lastVoiding(control: ControlStore): Promise<Voiding | null> {
  const told = await control.listDocuments<Voiding>(KIND, KEPT);
  return told.reduce<Voiding | null>((last, { body }) => (last !== null && last.at >= body.at ? last : body), null);
}

/** Whether a node that is lost now may have taken a gap with it that nobody else knows of. */
export function gapMayBeLost(record: Steering, phases: Phases): boolean {
  return record.pending?.ladder === "read-through" || someBucket(record, phases, ({ liberty }) => liberty === "gap");
}
