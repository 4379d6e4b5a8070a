import type { Session } from "../../core/session.js";
import type { CasToken, ItemResult } from "../../ports/items.js";
import type { ConditionalVerb } from "../../ports/redis-records.js";
import type { Argument } from "./connection.js";
import { NoAnswer } from "./failures.js";
import { type ItemKeys, tokenBytes } from "./item-keys.js";
import { expiryArgument, itemOf, listOf, sessionArguments, wordOf } from "./replies.js";

/** What stands for a value that is not sent yet. */
const LATER = ["later", "", ""] as const;
const NONE = ["none", "", ""] as const;

/** More than one string of R may hold. */
const NO_LIMIT = 1e9;

/**
 * A verb as the scripts take it: its name, then kind, value and expiry, the token that the item must have, the token
 * that it gets, the usual flags, and a number; what a verb does not need at its end is left out.
 *
 * @param sends whether the value goes along
 */
export function verbArguments(verb: ConditionalVerb, items: ItemKeys, sends: boolean): Argument[] {
  const { newToken = 0n } = verb;
  const fresh = tokenBytes(newToken);
  const usual = items.usualBytes;
  if (!sends) return [verb.verb, ...LATER];
  const written = (session: Session) => sessionArguments(session, items, newToken);
  switch (verb.verb) {
    case "set":
    case "add":
    case "replace":
      return [verb.verb, ...written(verb.session)];
    case "cas":
      return [verb.verb, ...written(verb.session), tokenBytes(verb.token) || NOBODYS];
    case "append":
    case "prepend":
      return [verb.verb, "value", verb.data, "", tokenBytes(verb.token), fresh, usual, verb.largest ?? NO_LIMIT];
    case "incr":
    case "decr": {
      const initial = verb.initial === null ? NONE : sessionArguments(verb.initial, items, newToken);
      return [verb.verb, ...initial, tokenBytes(verb.token), fresh, usual, String(verb.by)];
    }
    case "delete":
      return [verb.verb, ...NONE, tokenBytes(verb.token)];
    default:
      return [verb.verb, "none", "", expiryArgument(verb.expiresAt), "", fresh, usual];
  }
}

/** A token that no item has: what a cas with token 0 asks for. */
const NOBODYS = Buffer.alloc(8);

/** Whether the verb has a value that is sent only when it is wanted. */
export function hasValue({ verb }: ConditionalVerb): boolean {
  return ["set", "add", "replace", "cas", "append", "prepend"].includes(verb);
}

const REFUSALS = ["absent", "present", "changed", "not-a-number"] as const;

/** What a verb answered. */
export function resultOf(answer: unknown, verb: ConditionalVerb, items: ItemKeys): ItemResult {
  const asked: CasToken = verb.newToken ?? 0n;
  if (!Array.isArray(answer)) {
    const word = wordOf(answer, ["done", ...REFUSALS]);
    if (word !== "done") return { result: word };
    return { result: "done", token: verb.verb === "delete" ? 0n : asked, item: null };
  }
  const [, value, expiry, kept] = listOf(answer, 4);
  if (verb.verb === "touch") {
    const token = asked === 0n ? 0n : items.tokenIn(kept as Buffer);
    return { result: "done", token, item: null };
  }
  const item = itemOf(value, expiry, kept, items);
  if (item === null) throw new NoAnswer();
  const token = asked === 0n ? 0n : item.token;
  return { result: "done", token, item: { ...item, token } };
}
