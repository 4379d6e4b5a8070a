/**
 * JSON as the control stores keep it. Plain JSON turns Infinity and NaN into null, and a report or a check result may
 * well hold an endless expiry; so these travel as `{"$number": "Infinity"}`, and a key that looks like that is escaped
 * by one more `$`.
 */

const ESCAPED = /^\$\$+number$/;
const RESERVED = /^\$+number$/;

export function encode(value: unknown): string {
  return JSON.stringify(value ?? null, (_key, item: unknown) => {
    if (typeof item === "number" && !Number.isFinite(item)) return { $number: String(item) };
    if (isObject(item) && Object.keys(item).some((key) => RESERVED.test(key))) {
      return rename(item, (key) => (RESERVED.test(key) ? `$${key}` : key));
    }
    return item;
  });
}

export function decode<T>(text: string): T {
  return JSON.parse(text, (_key, item: unknown) => {
    if (!isObject(item)) return item;
    const keys = Object.keys(item);
    if (keys.length === 1 && keys[0] === "$number") return Number(item.$number);
    if (keys.some((key) => ESCAPED.test(key))) {
      return rename(item, (key) => (ESCAPED.test(key) ? key.slice(1) : key));
    }
    return item;
  }) as T;
}

function isObject(item: unknown): item is Record<string, unknown> {
  return typeof item === "object" && item !== null && !Array.isArray(item);
}

function rename(item: Record<string, unknown>, change: (key: string) => string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(item).map(([key, value]) => [change(key), value]));
}
