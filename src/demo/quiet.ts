import { randomBytes } from "node:crypto";

/** A session that no traffic touches: it must arrive in Redis by the backfill alone, unchanged. */
export interface QuietSession {
  readonly sid: string;
  /** The JSON text, byte for byte. */
  readonly value: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

const MINUTE = 60_000;
const DAY = 86_400_000;
const PEOPLE = ["Zoë", "Łukasz", "Ngũgĩ", "陳大文", "O'Hara", "d’Artagnan", 'Jo "the hat"', "tab\there", "🦊"];

/**
 * Sessions as a shop collects them: carts of all sizes, names from everywhere, lifetimes from ten minutes to 25 days,
 * some without an expiry of the cookie, some with a U+0000 in them, which PostgreSQL can store but not look into.
 */
export function quietSessions(count: number, now = Date.now()): QuietSession[] {
  return Array.from({ length: count }, (_, i) => {
    const lifetime = i % 10 === 0 ? 25 * DAY : i % 3 === 0 ? DAY : 10 * MINUTE + (i % 997) * 4 * MINUTE;
    const expiresAt = Math.ceil((now + lifetime) / 1000) * 1000;
    const session = {
      cookie: {
        originalMaxAge: i % 3 === 0 ? null : lifetime,
        // A touch moves the expiry in the store and leaves this one: about half of the sessions have a stale one.
        expires: i % 3 === 0 ? null : new Date(now + lifetime - (i % 2) * 5 * MINUTE).toISOString(),
        httpOnly: true,
        path: "/",
      },
      user: `quiet-${i}`,
      name: PEOPLE[i % PEOPLE.length],
      cart: { version: i % 7, items: Array.from({ length: i % 7 }, (_, n) => `quiet-${i}/${n}`) },
      ...(i % 50 === 0 ? { note: `before\u0000after` } : {}),
      ...(i % 200 === 0 ? { history: "page ".repeat(1500) } : {}),
    };
    return { sid: randomBytes(24).toString("base64url"), value: JSON.stringify(session), expiresAt };
  });
}
