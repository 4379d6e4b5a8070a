import type { Item, ItemResult, ItemVerb } from "../../ports/items.js";
import type { SaslAccount } from "./options.js";
import type { Output } from "./output.js";
import type { ReplyKind } from "./relay-replies.js";

/**
 * What the three protocols are parsed into. A command knows how its own protocol answers it, so whoever carries it out
 * needs to know of no protocol.
 *
 * A key is a string of which each character is one byte, as the client sent it: replies repeat it, and it need not be
 * UTF-8. `size` is the bytes that a command keeps in memory while it waits.
 */
export type Command = Read | Change | Said | Flush | Version | Stats | Quit;

/** Items of these keys: all of one command. Neighbouring reads are asked for together. */
export interface Read {
  readonly kind: "read";
  readonly keys: readonly string[];
  readonly token: boolean;
  readonly size: number;
  /** How memcached would reply to the very bytes; absent where they must not reach it. */
  readonly relay?: ReplyKind | undefined;
  /** @param items those of this command's keys begin at `from`; called with parts of the keys, in order. */
  answer(out: Output, items: readonly (Item | null)[], from: number, keyFrom: number, keys: number): void;
  fail(out: Output, failure: Failure): void;
}

/** One verb, of each of these keys (only get-and-touch has more than one). */
export interface Change {
  readonly kind: "change";
  readonly keys: readonly string[];
  readonly verb: ItemVerb;
  /** Done after the verb, if that was: for meta's `ma`, which may move the expiry, too. */
  readonly after: ItemVerb | null;
  readonly token: boolean;
  readonly size: number;
  /** As that of a read. */
  readonly relay?: ReplyKind | undefined;
  /** @param results those of the keys from this one on; called with parts of the keys, in order. */
  answer(out: Output, results: readonly ItemResult[], keyFrom: number): void;
  fail(out: Output, failure: Failure): void;
}

/** The answer is known already. */
export interface Said {
  readonly kind: "said";
  readonly size: number;
  answer(out: Output): void;
}

export interface Flush {
  readonly kind: "flush";
  /** Allowed, it would not be understood. */
  readonly malformed: boolean;
  /** It asks for a later time. */
  readonly delayed: boolean;
  readonly size: number;
  answer(out: Output): void;
  refuse(out: Output, why: "forbidden" | "malformed" | "delayed"): void;
  fail(out: Output, failure: Failure): void;
}

export interface Version {
  readonly kind: "version";
  readonly size: number;
  answer(out: Output, version: string): void;
}

export interface Stats {
  readonly kind: "stats";
  readonly which: string;
  readonly size: number;
  /** @param lines as memcached's text protocol has them, with the last. */
  answer(out: Output, lines: string): void;
  fail(out: Output, failure: Failure): void;
}

/** The connection ends after what was answered before. */
export interface Quit {
  readonly kind: "quit";
  readonly size: number;
  /** The client did not ask for it. */
  readonly malformed: boolean;
  answer(out: Output): void;
}

/** A command that could not be carried out, as its client may know it: neither a key nor a value. */
export interface Failure {
  /** What the client can do about it. */
  readonly kind: "too-large" | "key" | "later" | "never" | "memory";
  /** A code of the catalogue. */
  readonly code: string;
}

/** What a parser needs to know, and who takes what it finds. */
export interface ParserContext {
  /** Milliseconds since the epoch. */
  now(): number;
  /** memcached's `-I`. */
  readonly itemSize: number;
  /** False: no CAS number is given out. */
  readonly tokens: boolean;
  /** Whether a value of so many bytes may be kept until it is there. */
  admit(size: number): boolean;
  /** Whether clients may, and must, say who they are. */
  readonly accounts: boolean;
  /** False until the client has said who it is, where it must. */
  readonly authenticated: boolean;
  /**
   * Looks at once, since what follows in the same packet depends on it.
   * @param who null where that could not even be read
   */
  authenticate(who: SaslAccount | null): boolean;
  /** As many commands wait as may: no more are taken now. */
  readonly full: boolean;
  /**
   * @param from where its bytes begin in the chunk that is being pushed, -1 where they began earlier
   * @param to where they end there
   */
  take(command: Command, from: number, to: number): void;
  /** Of a chunk at the beginning of a command: what goes to memcached as it is; where the rest begins. */
  pass(chunk: Buffer, from: number): number;
}

export interface Parser {
  /**
   * Takes what came, however it was cut, until it makes no more commands now. The commands keep views of it.
   * @returns where the rest begins, to be given again.
   */
  push(chunk: Buffer, from: number): number;
  /** Whether a command has begun and is not whole. */
  readonly partial: boolean;
  /** Bytes kept for it. */
  readonly held: number;
}

/** What a line asks for: a command that is whole, or the block that belongs to it. */
export interface Block {
  /** Bytes of the value. */
  readonly length: number;
  /** False: it is dropped, and `finish` gets nothing. */
  readonly keep: boolean;
  /** @param whole whether the block's own line end stood where it must; one that is dropped is only counted. */
  finish(value: Buffer | null, whole: boolean): Command | null;
}

/** memcached's longest key. */
export const LONGEST_KEY = 250;

/** Bytes of an item beside key, value and flags: its header, the CAS number, the end of the key and of the value. */
const HEADER = 48 + 8 + 1 + 2;

/** Whether memcached has room for such an item at all. */
export function fits(itemSize: number, key: number, flags: number, value: number): boolean {
  return HEADER + key + (flags === 0 ? 0 : 4) + value <= itemSize;
}
