import type { ControlStore } from "../ports/control-store.js";

/** The locks under which R is worked on as a whole. */
const LOCKS = ["phase", "rearm"] as const;
export type RedisLock = (typeof LOCKS)[number];

/** The kind of documents that name who took this lock, and did not give it back (succession.ts). */
export function holdersOf(lock: RedisLock): string {
  return `holders:${lock}`;
}

/** Whoever reaches R no more is nobody's ghost: the next holder need not ask R for him, which may be away by then. */
export async function forgetHolder(control: ControlStore, node: string): Promise<void> {
  for (const lock of LOCKS) await control.deleteDocument(holdersOf(lock), node);
}
