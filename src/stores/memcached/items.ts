import type { Session } from "../../core/session.js";
import { FerryError } from "../../errors.js";
import type { Item } from "../../ports/items.js";
import { LegacyRefused } from "../../ports/legacy-store.js";
import { fromRemaining, toExptime } from "./expiry.js";
import type { Key } from "./keys.js";
import { type Command, classicStore, flag, metaDelete, metaGet, metaSet, type Reply, said } from "./protocol.js";

/**
 * Sessions as memcached items, and rule 4's tokens as their CAS numbers. One counter gives a server's every change a
 * CAS of its own, so that an equal CAS on an unbroken connection proves that nothing was written. (A touch keeps it.)
 *
 * A sid without an item gets an empty one for ten seconds, stored by `add`, whose CAS stands for the absence. No reader
 * takes an empty item for a session: not we, whoever made it, nor connect-memcached and connect-memjs. The flags tell
 * people who look at the server whose it is. Where memcached's own clients are served, empty items of other flags are
 * *real*, and kept.
 */
const PLACEHOLDER_FLAGS = 0xfe44_1e55;
const PLACEHOLDER_SECONDS = 10;
const NOTHING = Buffer.alloc(0);

/** What an item takes besides its key and value: header, CAS, flags, and the ends of both. */
const ITEM_OVERHEAD = 48 + 8 + 1 + 2;
const FLAGS_OVERHEAD = 4;

/** Which items are sessions: those with a value, or, where empty ones are real, all but placeholders. */
export type Kind = "with-value" | "real";

/** `quiet` leaves the server's order of use alone: a job that reads everything says nothing about use. */
export function readCommand(key: Key, quiet: boolean): Command {
  return metaGet(key, "vft", quiet ? "u" : "");
}

/** Size and flags alone. */
export function lookCommand(key: Key): Command {
  return metaGet(key, "sf", "u");
}

/** The item's CAS alone. */
export function identifyCommand(key: Key): Command {
  return metaGet(key, "c", "u");
}

/** Size, flags, seconds since a client used it, and remaining life. */
export function ageCommand(key: Key): Command {
  return metaGet(key, "sflt", "u");
}

/** Seconds; null where there is no item, or a placeholder. */
export function ageOf(reply: Reply): { readonly idle: number; readonly left: number } | null {
  if (!hit(reply) || metPlaceholder(reply)) return null;
  const left = Number(flag(reply, "t"));
  return { idle: Number(flag(reply, "l")), left: left < 0 ? Number.POSITIVE_INFINITY : left };
}

/** Whether a look, or a touch, met a session. */
export function metSession(reply: Reply, kind: Kind): boolean {
  return hit(reply) && (kind === "real" ? !metPlaceholder(reply) : flag(reply, "s") !== "0");
}

export function metPlaceholder(reply: Reply): boolean {
  const empty = reply.value === null ? flag(reply, "s") === "0" : reply.value.length === 0;
  return hit(reply) && empty && flag(reply, "f") === String(PLACEHOLDER_FLAGS);
}

export function sessionOf(reply: Reply, now: number, kind: Kind): Session | null {
  if (!hit(reply) || reply.value === null) return null;
  const flags = Number(flag(reply, "f"));
  if (reply.value.length === 0 && (kind === "with-value" || flags === PLACEHOLDER_FLAGS)) return null;
  return { value: reply.value, flags, expiresAt: fromRemaining(flag(reply, "t") ?? "-1", now) };
}

/** Whether it tells of a life that ends, which is counted from the moment of the answer. */
export function tellsExpiry(reply: Reply): boolean {
  return reply.value !== null && flag(reply, "t") !== "-1";
}

/** As memcached's own clients see it. */
export function itemOf(reply: Reply, now: number): Item | null {
  const session = sessionOf(reply, now, "real");
  return session === null ? null : { ...session, token: BigInt(flag(reply, "c") ?? 0) };
}

export function writeCommand(key: Key, { value, flags, expiresAt }: Session, now: number): Command {
  return metaSet(key, value, `F${flags} T${toExptime(expiresAt, now)}`);
}

/** Only if the item has this CAS still. Where there is no room for it the item stays as it is, but for an encoded key. */
export function changeCommand(key: Key, { value, flags, expiresAt }: Session, now: number, cas: string): Command {
  const exptime = toExptime(expiresAt, now);
  if (key.base64) return metaSet(key, value, `F${flags} T${exptime} C${cas}`);
  return classicStore("cas", key, { value, flags, exptime, cas });
}

export function deleteCommand(key: Key, cas: string | null = null): Command {
  return metaDelete(key, cas === null ? "" : `C${cas}`);
}

export function touchCommand(key: Key, expiresAt: number, now: number): Command {
  return metaGet(key, "sfc", `T${toExptime(expiresAt, now)}`);
}

/**
 * Takes away a placeholder that was met by a verb of a client: one that was touched would live too long, and one that was
 * to be deleted would let somebody who still holds its CAS store the item after that. By its CAS, for by now an item may
 * stand there. Whoever holds it finds that it is no token any more.
 */
export function removePlaceholder(key: Key, reply: Reply): Command {
  return deleteCommand(key, flag(reply, "c"));
}

/**
 * Two commands that bring a token in one round trip: a placeholder is made where nothing is, and then the CAS is asked for of
 * what is there. A memcached that has no room for the placeholder must leave the item as it is; so `ms` has to do for keys
 * that only it can name.
 */
export function tokenCommands(key: Key): Command[] {
  const placeholder = { value: NOTHING, flags: PLACEHOLDER_FLAGS, exptime: PLACEHOLDER_SECONDS };
  const make = key.base64
    ? metaSet(key, NOTHING, `ME T${PLACEHOLDER_SECONDS} F${PLACEHOLDER_FLAGS}`)
    : classicStore("add", key, placeholder);
  return [make, identifyCommand(key)];
}

/** Throws before anything is sent: a refused `ms` would take the old item with it. */
export function assertFits(key: Key, session: Session, itemSizeMax: number, kind: Kind): void {
  if (session.value.length === 0 && kind === "with-value") {
    throw new FerryError("VALUE_INVALID", "An empty value cannot be kept in memcached.", {
      remedy: "Store a value of at least one byte: an empty item is nobody's session.",
    });
  }
  if (session.value.length > roomFor(key, session.flags, itemSizeMax)) throw tooLarge(itemSizeMax);
}

/** Bytes that a value may have; somewhat fewer than is true where an encoded key is longer than the key itself. */
export function roomFor(key: Key, flags: number, itemSizeMax: number): number {
  return itemSizeMax - ITEM_OVERHEAD - (flags === 0 ? 0 : FLAGS_OVERHEAD) - key.token.length;
}

export function tooLarge(itemSizeMax: number): FerryError {
  return new FerryError("VALUE_TOO_LARGE", `A session is larger than the ${itemSizeMax} bytes that memcached takes.`);
}

/** True for HD, false for NS, EX and NF. */
export function stored(reply: Reply): boolean {
  if (reply.code === "HD") return true;
  if (["NS", "EX", "NF"].includes(reply.code)) return false;
  throw refusal(reply);
}

export function hit(reply: Reply): boolean {
  if (reply.code === "VA" || reply.code === "HD") return true;
  if (reply.code === "EN") return false;
  throw refusal(reply);
}

/** What the server said instead. */
export function refusal(reply: Reply): LegacyRefused {
  return new LegacyRefused(`memcached refused a command: ${said(reply)}.`, reply.code);
}

/** The server has no room for a value; the item that was there before is gone. */
export function droppedOld(reply: Reply): boolean {
  return reply.code === "SERVER_ERROR";
}
