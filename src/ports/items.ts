import type { Session, Sid } from "../core/session.js";

/**
 * Proof that an item is still the one that was read: what memcached calls its CAS number. 64 bits; 0n where none was
 * asked for or given. Those that R gives out are 2^62 at least, which memcached's counter never reaches, so
 * neither store ever takes the other's for its own.
 */
export type CasToken = bigint;

/** The least token that R gives out; the largest is below 2^63, since many clients read it as a signed number. */
export const TOKEN_OF_REDIS: CasToken = 1n << 62n;

/** A session as memcached's clients see it: with the token, where it was asked for. */
export interface Item extends Session {
  readonly token: CasToken;
}

/**
 * memcached's verbs. Those of which the new value, or the answer, depends on what is there are decided where the truth
 * is, in one atomic step (rule 13). A session whose expiry has passed when the verb arrives is stored and at once gone:
 * what was there is removed, and the answer is that of a store.
 *
 * A token of 0n, where a verb may carry one, asks for nothing; otherwise the verb changes only the item that has it.
 */
export type ItemVerb =
  | { readonly verb: "set"; readonly session: Session }
  | { readonly verb: "add"; readonly session: Session }
  | { readonly verb: "replace"; readonly session: Session }
  | { readonly verb: "cas"; readonly session: Session; readonly token: CasToken }
  /** Flags and expiry stay as they are. */
  | { readonly verb: "append" | "prepend"; readonly data: Buffer; readonly token: CasToken }
  /**
   * The value is the text of an unsigned 64-bit number. incr wraps around, decr stops at 0; a shorter number that decr
   * leaves is padded with blanks to the old length, as memcached does. Where there is no item, `initial` (of which the
   * value is such a text) is stored, and null leaves it absent.
   */
  | {
      readonly verb: "incr" | "decr";
      readonly by: bigint;
      readonly initial: Session | null;
      readonly token: CasToken;
    }
  | { readonly verb: "delete"; readonly token: CasToken }
  | { readonly verb: "touch"; readonly expiresAt: number }
  | { readonly verb: "get-and-touch"; readonly expiresAt: number };

export type ItemResult =
  /**
   * Carried out. `token` is the item's new one where it was asked for, else 0n. `item`: what get-and-touch found, or
   * for incr and decr the new value (with a length without the blanks; flags and expiry as far as they are known).
   */
  | { readonly result: "done"; readonly token: CasToken; readonly item: Item | null }
  /** Nothing changed: there is no such item. */
  | { readonly result: "absent" }
  /** Nothing changed: add found an item. */
  | { readonly result: "present" }
  /** Nothing changed: the item has another token. */
  | { readonly result: "changed" }
  /** Nothing changed: incr or decr found a value that is no number. */
  | { readonly result: "not-a-number" };

export interface ItemWishes {
  /** Whether tokens are wanted: `gets`, `gats`, and writes that are answered with one. They cost a little more. */
  readonly token: boolean;
}

/**
 * A store with memcached's verbs. L has them where it is memcached; the ferry has them over both stores; a door for
 * memcached's clients sees nothing else. Each call rejects as those of its store do (`LegacyStore` for L, `Sessions`
 * for the ferry). A verb that was refused because a value is too large for the store rejects with VALUE_TOO_LARGE, and
 * `set` has removed the old item then, as memcached does.
 */
export interface ItemStore {
  /** Live items, null where there is none, in the order of the sids; one round trip to a store. */
  read(sids: readonly Sid[], wishes: ItemWishes): Promise<(Item | null)[]>;
  perform(sid: Sid, verb: ItemVerb, wishes: ItemWishes): Promise<ItemResult>;
}

/** The ferry's, as the door sees it. */
export interface Items extends ItemStore {
  /** Removes every item from both stores; for tests and emergencies, since it ends everybody's session. */
  flush(): Promise<void>;
}
