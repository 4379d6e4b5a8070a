import type { CasToken, Item, ItemResult, ItemVerb } from "../ports/items.js";

/** What a verb does to an item, or to none. */
export interface Applied {
  readonly result: ItemResult;
  /** What is there afterwards; absent where nothing changed. Whether it is still live is for the store to see. */
  readonly next?: Item | null;
}

export interface Terms {
  /** The token of an item that is changed; 0n for none. */
  readonly token: CasToken;
  /** Whether the answer tells the token. */
  readonly asked: boolean;
  /** Bytes that append and prepend may leave at most. */
  readonly largest?: number;
}

const ABSENT: Applied = { result: { result: "absent" } };
const CHANGED: Applied = { result: { result: "changed" } };
const MODULUS = 1n << 64n;

/** memcached's verbs as plainly as they can be written: the reference for the stores that carry them out. */
export function applyVerb(item: Item | null, verb: ItemVerb, terms: Terms): Applied {
  const { token, asked } = terms;
  const told = asked ? token : 0n;
  const put = (next: Item, answer: Item | null = null): Applied => ({
    result: { result: "done", token: told, item: answer },
    next,
  });
  switch (verb.verb) {
    case "set":
      return put({ ...verb.session, token });
    case "add":
      return item === null ? put({ ...verb.session, token }) : { result: { result: "present" } };
    case "replace":
      return item === null ? ABSENT : put({ ...verb.session, token });
    case "cas":
      if (item === null) return ABSENT;
      return verb.token === 0n || item.token !== verb.token ? CHANGED : put({ ...verb.session, token });
    case "append":
    case "prepend": {
      if (item === null) return ABSENT;
      if (isOther(item, verb.token)) return CHANGED;
      const value = Buffer.concat(verb.verb === "append" ? [item.value, verb.data] : [verb.data, item.value]);
      return value.length > (terms.largest ?? Number.POSITIVE_INFINITY) ? ABSENT : put({ ...item, value, token });
    }
    case "incr":
    case "decr": {
      if (item === null) {
        return verb.initial === null ? ABSENT : put({ ...verb.initial, token }, { ...verb.initial, token: told });
      }
      if (isOther(item, verb.token)) return CHANGED;
      const number = numberIn(item.value);
      if (number === null) return { result: { result: "not-a-number" } };
      const text = String(
        verb.verb === "incr" ? (number + verb.by) % MODULUS : number < verb.by ? 0n : number - verb.by,
      );
      const value = Buffer.from(text.padEnd(item.value.length));
      return put({ ...item, value, token }, { ...item, value: Buffer.from(text), token: told });
    }
    case "delete":
      if (item === null) return ABSENT;
      if (isOther(item, verb.token)) return CHANGED;
      return { result: { result: "done", token: 0n, item: null }, next: null };
    default: {
      if (item === null) return ABSENT;
      // A touch keeps the token; one that is asked for and was never given out is made now.
      const kept = item.token === 0n && asked ? token : item.token;
      const next = { ...item, expiresAt: verb.expiresAt, token: kept };
      const shown = asked ? kept : 0n;
      const answer = verb.verb === "touch" ? null : { ...next, token: shown };
      return { result: { result: "done", token: shown, item: answer }, next };
    }
  }
}

function isOther(item: Item, token: CasToken): boolean {
  return token !== 0n && item.token !== token;
}

/** As memcached reads it: digits up to a blank or the end, perhaps after blanks and a plus; null beyond 64 bits. */
function numberIn(value: Buffer): bigint | null {
  const found = /^[\t-\r ]*\+?(\d+)(?:[\t-\r ]|$)/.exec(value.toString("latin1"));
  if (found === null) return null;
  const number = BigInt(found[1]!);
  return number < MODULUS ? number : null;
}
