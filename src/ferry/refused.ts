import type { Sid } from "../core/session.js";
import type { Clock } from "../ports/clock.js";

/** What L refused is tried again with every drain: who is not heard of for so long (milliseconds) is refused no more. */
const FORGOTTEN_AFTER = 15_000;
/** Sessions that are remembered by name. */
const MOST = 1_000;
/** Sessions of one cause that are told by their digests. */
const TOLD = 10;

/** Changes that L never takes, by the error that it gives for them. */
export interface Refusal {
  /** Of the catalogue. */
  readonly code: string;
  readonly count: number;
  /** Since when the first of them is refused: milliseconds since the epoch by the control store's clock. */
  readonly since: number;
  /** Digests of some of the sessions. */
  readonly sessions: readonly string[];
}

/** The sessions of which L refused the drain lately: too large for memcached, against a constraint of the table. */
export class Refused {
  readonly #sessions = new Map<Sid, { code: string; since: number; heard: number }>();

  constructor(readonly clock: Clock) {}

  note(sid: Sid, code: string): void {
    const now = this.clock.elapsed();
    const known = this.#sessions.get(sid);
    if (known === undefined && this.#sessions.size >= MOST) return;
    this.#sessions.set(sid, { code, since: known?.since ?? now, heard: now });
  }

  /** @param now the control store's clock */
  told(now: number, digest: (sid: Sid) => string): Refusal[] {
    const elapsed = this.clock.elapsed();
    const byCode = new Map<string, { count: number; since: number; sessions: string[] }>();
    for (const [sid, { code, since, heard }] of this.#sessions) {
      if (elapsed - heard > FORGOTTEN_AFTER) {
        this.#sessions.delete(sid);
        continue;
      }
      const found = byCode.get(code) ?? { count: 0, since: now, sessions: [] };
      found.count++;
      found.since = Math.min(found.since, Math.round(now - (elapsed - since)));
      if (found.sessions.length < TOLD) found.sessions.push(digest(sid));
      byCode.set(code, found);
    }
    return [...byCode].map(([code, found]) => ({ code, ...found }));
  }
}

/** For people: how many, why, since when, and which. */
export function shownRefusals(refusals: readonly Refusal[]): string {
  return refusals
    .map(({ code, count, since, sessions }) => {
      const more = count > sessions.length ? ", ..." : "";
      return `${count} with ${code} since ${new Date(since).toISOString()} (${sessions.join(", ")}${more})`;
    })
    .join("; ");
}
