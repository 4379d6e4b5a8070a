import { FerryError } from "../../errors.js";
import { LegacyUnreachable, OutcomeUnknown } from "../../ports/legacy-store.js";
import { type Reply, said } from "./protocol.js";

/**
 * Waits for changes on several servers. If one fails after another succeeded, or its outcome is unknown, that is what is
 * told: something may have changed.
 */
export async function together(batches: readonly Promise<void>[]): Promise<void> {
  const outcomes = await Promise.allSettled(batches);
  const failures = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason as unknown] : []));
  if (failures.length === 0) return;
  const unknown = failures.filter((failure) => failure instanceof OutcomeUnknown);
  if (unknown.length === 0 && batches.length === failures.length) throw failures[0];
  if (unknown.length === 1 && batches.length === 1) throw unknown[0];
  const settled = Promise.all(unknown.map((failure) => failure.settled)).then(() => {});
  throw new OutcomeUnknown("Not every memcached server answered; some changes may have been made.", settled, {
    cause: failures[0],
  });
}

/** A placeholder that may or may not have been made changes nothing for anybody. */
export function harmless(error: unknown): never {
  throw error instanceof OutcomeUnknown ? new LegacyUnreachable(error.message) : error;
}

export function first(replies: readonly Reply[] | null): Reply {
  const reply = replies?.[0];
  if (reply === undefined) throw new LegacyUnreachable("The connection to memcached ended before it was used.");
  return reply;
}

export function keyTooLong(): FerryError {
  return new FerryError("KEY_TOO_LONG", "A session id cannot be a key in memcached: it is empty or too long.");
}

export function noRoom(reply: Reply): FerryError {
  return new FerryError("VALUE_TOO_LARGE", `memcached refused a session: ${said(reply)}.`);
}
