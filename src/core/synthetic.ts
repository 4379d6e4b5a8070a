import { randomBytes } from "node:crypto";
import { restOf } from "./place.js";
import type { Sid } from "./session.js";

/**
 * Sessions that a check plants to prove that it would have seen a fault. No application makes ids like these; whoever
 * lists, counts or copies sessions leaves them out.
 */
export const SYNTHETIC_PREFIX = "sessionferry-planted-";

export function isSynthetic(sid: Sid): boolean {
  return restOf(sid).startsWith(SYNTHETIC_PREFIX);
}

export function newSyntheticSid(): Sid {
  return SYNTHETIC_PREFIX + randomBytes(16).toString("hex");
}
