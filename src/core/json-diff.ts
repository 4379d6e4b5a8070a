/** How many differing paths of one session are told. */
const MAX_PATHS = 12;
/** An object with more keys than this is a table of data (carts by user, say), so its keys are data too. */
const MAX_FIELDS = 64;

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/**
 * Where two session values differ.
 *
 * - `equal`: the same bytes, or JSON texts of the same meaning (order of keys, white space and the spelling of numbers
 *   and strings do not matter; every digit of a number does).
 * - `paths`: where two JSON texts differ, safe to show to people: what looks like data is `*`. Empty where one of them
 *   is not JSON.
 */
export type ValueDifference = { readonly equal: true } | { readonly equal: false; readonly paths: readonly string[] };

export function compareValues(left: Buffer, right: Buffer): ValueDifference {
  if (left.equals(right)) return { equal: true };
  const leftText = textOf(left);
  const rightText = textOf(right);
  if (leftText === null || rightText === null) return { equal: false, paths: [] };
  try {
    const paths = new Set<string>();
    collect(JSON.parse(leftText) as Json, JSON.parse(rightText) as Json, "", paths);
    if (paths.size > 0) return { equal: false, paths: [...paths].sort() };
    // Equal as JavaScript reads them; numbers with more digits than a double holds may still differ.
    return sameNumbers(leftText, rightText) ? { equal: true } : { equal: false, paths: ["*"] };
  } catch {
    return { equal: false, paths: [] };
  }
}

/** The text of bytes that are UTF-8, else null: replaced characters would make different bytes look alike. */
function textOf(bytes: Buffer): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

function collect(left: Json, right: Json, path: string, paths: Set<string>): void {
  const both = isContainer(left) && isContainer(right) && Array.isArray(left) === Array.isArray(right);
  if (!both) {
    if (left !== right) paths.add(path === "" ? "*" : path);
    return;
  }
  const keys = new Set([...Object.keys(left), ...Object.keys(right)]);
  const fields = !Array.isArray(left) && keys.size <= MAX_FIELDS;
  for (const key of keys) {
    if (paths.size >= MAX_PATHS) return;
    const segment = fields && !looksLikeData(key) ? key : "*";
    const deeper = path === "" ? segment : `${path}.${segment}`;
    // Own properties only: a key `__proto__` of one side must not meet the other's prototype.
    if (!Object.hasOwn(left, key) || !Object.hasOwn(right, key)) paths.add(deeper);
    else collect((left as Record<string, Json>)[key]!, (right as Record<string, Json>)[key]!, deeper, paths);
  }
}

function isContainer(value: Json): value is Json[] | { [key: string]: Json } {
  return typeof value === "object" && value !== null;
}

/** Numbers as their digits: where two texts mean the same doubles, these tell whether they mean the same numbers. */
function sameNumbers(left: string, right: string): boolean {
  const a = exactNumbers(left);
  const b = exactNumbers(right);
  return a.length === b.length && a.every((number, i) => number === b[i]);
}

function exactNumbers(text: string): string[] {
  const numbers: string[] = [];
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g)) {
    if (token.startsWith('"')) continue;
    const exact = exactNumber(token);
    if (exact !== null) numbers.push(exact);
  }
  return numbers.sort();
}

/** Sign, significant digits and exponent of a JSON number; null where a double holds it exactly enough (15 digits). */
function exactNumber(token: string): string | null {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(token);
  if (match === null) return token;
  const [, sign, whole, fraction = "", exponent = "0"] = match;
  const digits = `${whole}${fraction}`.replace(/^0+/, "");
  const significant = digits.replace(/0+$/, "");
  if (significant.length <= 15) return null;
  return `${sign}${significant}e${Number(exponent) - fraction.length + digits.length - significant.length}`;
}

/** Field names that people write are short words; whatever else a key is, it may be an id, an address or a secret. */
const WORDS = /^[A-Za-z_$][A-Za-z_$.-]*\d{0,2}$/;
/** Eighteen random bytes in base64 have as many letters, and one token in two thousand looks like words. */
const MAX_NAME = 23;
const MAX_WORD = 16;

/**
 * True unless a key of an object looks like a field's name: letters in words of a natural length, perhaps a number of
 * two digits at the end. Ids, numbers, addresses, tokens, hashes and whole sentences do not.
 */
export function looksLikeData(key: string): boolean {
  if (key.length > MAX_NAME || !WORDS.test(key)) return true;
  if (/^[0-9a-f]{6,}$/i.test(key)) return true;
  const words = key.split(/[_$.\-\d]+|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/).filter((word) => word !== "");
  if (words.some((word) => word.length > MAX_WORD)) return true;
  const letters = words.reduce((sum, word) => sum + word.length, 0);
  // Random letters change their case all the time; camelCase and snake_case do not.
  return words.length > 2 && letters / words.length < 3;
}
