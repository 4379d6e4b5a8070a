import type { Sid } from "../core/session.js";
import type { Relayed } from "./relay.js";

/** Named points of the protocol, where a test may hold an operation and a tracer may look. */
export type Point =
  | "write:opened" // intent stands, L not yet written
  | "write:written" // L written, intent not yet closed
  | "read:leased" // lease taken, L not yet read
  | "read:loaded" // L read, not yet filled
  | "copy:leased"
  | "copy:loaded"
  | "drain:token" // token taken, R not yet read
  | "drain:read" // R read, L not yet changed
  | "drain:applied" // L changed, mark not yet removed
  | "transition:published"
  | "transition:acknowledged"
  | "transition:work";

export type StoreName = "legacy" | "redis" | "control";
export type VerbName = "get" | "set" | "touch" | "destroy";

/** What happened, for metrics and logs. Never carries a sid, a key or a value. */
export type FerryEvent =
  | {
      readonly type: "operation";
      readonly verb: VerbName;
      /** The authority that the routes name for it; absent where nobody tells. */
      readonly store?: StoreName;
      readonly milliseconds: number;
      readonly result: "ok" | "error";
    }
  /** Commands that went to L as they came, and were answered together; a door knows no verb of theirs. */
  | ({ readonly type: "relayed" } & Relayed)
  | { readonly type: "mirror-failure"; readonly failedOn: StoreName; readonly verb: string; readonly error: unknown }
  | { readonly type: "read-through"; readonly result: "hit" | "miss" | "fallback" }
  | { readonly type: "gap"; readonly size: number }
  | { readonly type: "drained"; readonly count: number; readonly refused: number }
  | { readonly type: "swept"; readonly count: number }
  | { readonly type: "redis"; readonly state: "up" | "down" | "lost" }
  | { readonly type: "control"; readonly state: "up" | "down" }
  | { readonly type: "routes"; readonly revision: number; readonly phase: string; readonly percent: number }
  | { readonly type: "acknowledged"; readonly revision: number }
  | { readonly type: "evicted" }
  | { readonly type: "background-error"; readonly task: string; readonly error: unknown };

export interface Observer {
  event(event: FerryEvent): void;
  /** Absent in production. A promise holds the operation at that point. */
  at?(point: Point, sid: Sid | null): Promise<void> | undefined;
}

export const SILENT: Observer = { event() {} };
