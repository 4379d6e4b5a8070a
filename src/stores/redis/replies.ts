import { ID_LENGTH } from "../../core/ids.js";
import { NEVER, type Session } from "../../core/session.js";
import { FerryError } from "../../errors.js";
import type { CasToken, Item } from "../../ports/items.js";
import type { GetsAnswer, LeaseAnswer, Outcome, ReadAnswer, RecordView } from "../../ports/redis-records.js";
import { NoAnswer } from "./failures.js";

import type { ItemKeys } from "./item-keys.js";

/** What one string of R may hold. */
const LARGEST_VALUE = 512 * 1024 * 1024;

/**
 * The kind, value and expiry that the scripts take for a session or none. With items the kind carries what the item key
 * is to hold.
 */
export function sessionArguments(
  session: Session | null,
  items: ItemKeys,
  token: CasToken = 0n,
): [kind: Buffer | string, value: Buffer | string, expiry: string] {
  if (session === null) return ["none", "", ""];
  if (session.value.length > LARGEST_VALUE) {
    throw new FerryError("VALUE_TOO_LARGE", "A session is larger than the 512 MB that Redis takes.");
  }
  return [items.kindOf(session.flags, token), session.value, expiryArgument(session.expiresAt)];
}

/** The kind, value and expiry that `close` takes; the mark of the server in the value's place, or in that of the expiry. */
export function outcomeArguments(
  outcome: Outcome,
  items: ItemKeys,
): [kind: Buffer | string, value: Buffer | string, expiry: Buffer | string] {
  switch (outcome.kind) {
    case "value":
      return sessionArguments(outcome.session, items);
    case "keep":
      return outcome.expiresAt === undefined
        ? ["keep", items.mark, ""]
        : ["keep-until", items.mark, expiryArgument(outcome.expiresAt)];
    case "revalue":
      return ["revalue", outcome.value, items.mark];
    default:
      return [outcome.kind, "", ""];
  }
}

/** Milliseconds since the epoch, "" for never. R takes no time before the epoch: any that has passed does as well. */
export function expiryArgument(expiresAt: number): string {
  return expiresAt === NEVER ? "" : String(Math.max(1, Math.round(expiresAt)));
}

// Each of these throws `NoAnswer` at a reply of another shape: better none than one for somebody else's question.

export function listOf(reply: unknown, length?: number): unknown[] {
  if (Array.isArray(reply) && (length === undefined || reply.length === length)) return reply;
  throw new NoAnswer();
}

function bytesOf(reply: unknown): Buffer {
  if (Buffer.isBuffer(reply)) return reply;
  throw new NoAnswer();
}

export function bytesOrNull(reply: unknown): Buffer | null {
  return reply === null || reply === undefined ? null : bytesOf(reply);
}

export function wholeOf(reply: unknown, least = 0): number {
  if (typeof reply === "number" && Number.isSafeInteger(reply) && reply >= least) return reply;
  throw new NoAnswer();
}

/** One of the words that a script answers with. */
export function wordOf<const T extends string>(reply: unknown, words: readonly T[]): T {
  const word = words.find((known) => known === bytesOf(reply).toString());
  if (word === undefined) throw new NoAnswer();
  return word;
}

/** Of the answer of SCAN and its like. */
export function pageOf(reply: unknown): { cursor: string; found: Buffer[] } {
  const [cursor, found] = listOf(reply, 2);
  const next = bytesOf(cursor).toString();
  if (!/^\d{1,20}$/.test(next)) throw new NoAnswer();
  return { cursor: next, found: listOf(found).map(bytesOf) };
}

/** @param expiry milliseconds since the epoch, -1 for never, -2 where there is no key. */
export function sessionOf(value: unknown, expiry: unknown, flags: number): Session | null {
  const [bytes, at] = [bytesOrNull(value), wholeOf(expiry, -2)];
  if (bytes === null || at === -2) return null;
  return { value: bytes, flags, expiresAt: at === -1 ? NEVER : at };
}

/** What the read script answers for one session. */
export function readAnswerOf(reply: unknown, items: ItemKeys): ReadAnswer {
  const answer = getsAnswerOf(reply, items);
  if (answer.from === "dirty") throw new NoAnswer();
  if (answer.from === "L") return answer;
  const { item, ahead } = answer;
  return { from: "R", session: item && { value: item.value, flags: item.flags, expiresAt: item.expiresAt }, ahead };
}

/** As the gets script answers: also that R is ahead. */
export function getsAnswerOf(reply: unknown, items: ItemKeys): GetsAnswer {
  const [tag, first, expiry, kept, ahead] = listOf(reply);
  switch (wordOf(tag, ["V", "D", "T", "L", "B"])) {
    case "V":
      return { from: "R", item: itemOf(first, expiry, kept, items), ahead: ahead === 1 };
    case "D":
      return { from: "R", item: null, ahead: true };
    case "T":
      return { from: "L", lease: bytesOf(first).toString() };
    case "L":
      return { from: "L", lease: null };
    case "B":
      return { from: "dirty" };
  }
}

export function itemOf(value: unknown, expiry: unknown, kept: unknown, items: ItemKeys): Item | null {
  const bytes = bytesOrNull(kept);
  const session = sessionOf(value, expiry, items.flagsIn(bytes));
  return session && { ...session, token: items.tokenIn(bytes) };
}

/** As the read script answers where values are not wanted. */
export function leaseAnswerOf(reply: unknown): LeaseAnswer {
  const [tag, lease] = listOf(reply);
  switch (wordOf(tag, ["V", "D", "T", "L"])) {
    case "V":
      return { state: "hit" };
    case "D":
      return { state: "dirty" };
    case "T":
      return { state: "leased", lease: bytesOf(lease).toString() };
    case "L":
      return { state: "intents" };
  }
}

/** What the view script answers for one session. */
export function viewReplyOf(
  reply: unknown,
  items: ItemKeys,
): { mark: Buffer; session: Session | null; elsewhere: boolean; seen: number } {
  const [mark, value, expiry, item, seen] = listOf(reply, 5);
  const kept = bytesOrNull(item);
  const session = sessionOf(value, expiry, items.flagsIn(kept));
  return { mark: bytesOf(mark), session, elsewhere: items.isElsewhere(kept), seen: wholeOf(seen, 0) };
}

export function viewOf(reply: unknown, items: ItemKeys): RecordView {
  const { mark, session: found, elsewhere } = viewReplyOf(reply, items);
  const state = mark.toString();
  const session = elsewhere && state[0] !== "D" ? null : found;
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

const WHOLE = new RegExp(`^(?:[LD][0-9a-z]{${ID_LENGTH}}|[IJ](?:[0-9a-z]{${ID_LENGTH}})+)$`);

/** Whether a sidecar is one of ours; the scripts know what to think of another. */
export function isWhole(mark: Buffer): boolean {
  return WHOLE.test(mark.toString("latin1"));
}

/** The intent ids in a sidecar; none in one that holds something else, or is broken. */
export function intentsOf(state: string): string[] {
  const ids: string[] = [];
  if ((state[0] !== "I" && state[0] !== "J") || !WHOLE.test(state)) return ids;
  for (let at = 1; at < state.length; at += ID_LENGTH) ids.push(state.slice(at, at + ID_LENGTH));
  return ids;
}

/** The first byte of a sidecar. */
export const TAG = { I: 0x49, J: 0x4a, D: 0x44 } as const;

/** The nonce of a dirty mark, else null. */
export function dirtyNonceOf(mark: Buffer): string | null {
  return mark[0] === TAG.D ? mark.toString("latin1", 1) : null;
}

export function flagOf(reply: unknown): boolean {
  return wholeOf(reply) === 1;
}

/** Of the answer of TIME: milliseconds since the epoch. */
export function millisecondsOf(time: unknown): number {
  const [seconds = Number.NaN, micros = Number.NaN] = listOf(time, 2).map((part) => Number(bytesOf(part)));
  return wholeOf(seconds * 1000 + Math.floor(micros / 1000));
}
