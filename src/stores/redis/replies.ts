import { ID_LENGTH } from "../../core/ids.js";
import { NEVER, type Session } from "../../core/session.js";
import { FerryError } from "../../errors.js";
import type { LeaseAnswer, Outcome, ReadAnswer, RecordView } from "../../ports/redis-records.js";

/** What one string of R may hold. */
const LARGEST_VALUE = 512 * 1024 * 1024;

/** The kind, value and expiry that the scripts take for a session or none. */
export function sessionArguments(session: Session | null): [kind: string, value: Buffer | string, expiry: string] {
  if (session === null) return ["none", "", ""];
  if (session.value.length > LARGEST_VALUE) {
    throw new FerryError("VALUE_TOO_LARGE", "A session is larger than the 512 MB that Redis takes.");
  }
  return ["value", session.value, expiryArgument(session.expiresAt)];
}

/** The kind, value and expiry that `close` takes. */
export function outcomeArguments(outcome: Outcome): [kind: string, value: Buffer | string, expiry: string] {
  switch (outcome.kind) {
    case "value":
      return sessionArguments(outcome.session);
    case "keep":
      return outcome.expiresAt === undefined ? ["keep", "", ""] : ["keep-until", "", expiryArgument(outcome.expiresAt)];
    default:
      return [outcome.kind, "", ""];
  }
}

/** Milliseconds since the epoch, "" for never. R takes no time before the epoch: any that has passed does as well. */
export function expiryArgument(expiresAt: number): string {
  return expiresAt === NEVER ? "" : String(Math.max(1, Math.round(expiresAt)));
}

/** @param expiry milliseconds since the epoch, -1 for never, -2 where there is no key. */
export function sessionOf(value: Buffer | null, expiry: number): Session | null {
  if (value === null || expiry === -2) return null;
  return { value, flags: 0, expiresAt: expiry === -1 ? NEVER : expiry };
}

/** What the read script answers for one session. */
export type ReadReply = [tag: Buffer, first?: Buffer, expiry?: number];

export function readAnswerOf([tag, first, expiry]: ReadReply): ReadAnswer {
  switch (tag.toString()) {
    case "V":
      return { from: "R", session: sessionOf(first ?? null, expiry ?? -2) };
    case "D":
      return { from: "R", session: null };
    case "T":
      return { from: "L", lease: first!.toString() };
    default:
      return { from: "L", lease: null };
  }
}

/** As the read script answers where values are not wanted. */
export function leaseAnswerOf([tag, lease]: ReadReply): LeaseAnswer {
  switch (tag.toString()) {
    case "V":
      return { state: "hit" };
    case "D":
      return { state: "dirty" };
    case "T":
      return { state: "leased", lease: lease!.toString() };
    default:
      return { state: "intents" };
  }
}

/** What the view script answers for one session. */
export type ViewReply = [mark: Buffer, value: Buffer | null, expiry: number];

export function viewOf([mark, value, expiry]: ViewReply): RecordView {
  const state = mark.toString();
  const session = sessionOf(value, expiry);
  switch (state[0]) {
    case "I":
    case "J":
      return { session, mark: "intents", intents: intentsOf(state), state };
    case "D":
      return { session, mark: "dirty", intents: [], state };
    case "L":
      return { session, mark: "lease", intents: [], state };
    default:
      return { session, mark: "none", intents: [], state: "" };
  }
}

/** The intent ids in a sidecar; none in one that holds something else. */
export function intentsOf(state: string): string[] {
  const ids: string[] = [];
  if (state[0] !== "I" && state[0] !== "J") return ids;
  for (let at = 1; at < state.length; at += ID_LENGTH) ids.push(state.slice(at, at + ID_LENGTH));
  return ids;
}

/** The first byte of a sidecar. */
export const TAG = { I: 0x49, J: 0x4a, D: 0x44 } as const;

/** The nonce of a dirty mark, else null. */
export function dirtyNonceOf(mark: Buffer): string | null {
  return mark[0] === TAG.D ? mark.toString("latin1", 1) : null;
}

export function flagsOf(reply: readonly unknown[]): boolean[] {
  return reply.map((flag) => flag === 1);
}

/** Of the answer of TIME: milliseconds since the epoch. */
export function millisecondsOf(time: unknown): number {
  const [seconds, micros] = (time as Buffer[]).map(Number);
  return seconds! * 1000 + Math.floor(micros! / 1000);
}
