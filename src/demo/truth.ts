import type { AppMessage } from "./app.js";

/**
 * What the users know: which sessions they have, what their carts held when the site last said so, and when the session
 * will expire. It knows nothing of stores and phases, so whatever it objects to, a user of the site would have seen.
 */

/** A fault that a user saw. Never carries a session id. */
export interface Fault {
  readonly kind: "stale" | "lost" | "resurrected" | "failed";
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly detail: string;
}

/** An expiry that the session may have: exact where the site told it, a range where its answer was cut off. */
interface PossibleExpiry {
  readonly began: number;
  readonly ended: number;
  readonly earliest: number;
  readonly latest: number;
}

/** What the site answered with. */
export interface CartAnswer {
  readonly version: number;
  readonly items: readonly string[];
}

export type AccountState =
  | "alive"
  /** A logout was sent; nobody can say yet whether it was carried out. */
  | "ending"
  | "ended";

/** One session of one user, from its login on. Cart changes come one after the other; reads come at any time. */
export class Account {
  state: AccountState = "alive";
  /** When the logout was acknowledged, milliseconds since the epoch. */
  endedAt = Number.POSITIVE_INFINITY;
  #acknowledged: readonly string[] = [];
  /** Items sent and not acknowledged: the one in flight, and those whose request was cut off. */
  readonly #uncertain = new Set<string>();
  #expiries: PossibleExpiry[] = [];

  /** @param cookie what the browser sends, `connect.sid=s%3A<sid>.<signature>` */
  constructor(
    readonly user: string,
    readonly cookie: string,
  ) {}

  /** The id that the stores know the session by. */
  get sid(): string {
    const value = decodeURIComponent(this.cookie.slice(this.cookie.indexOf("=") + 1));
    return value.slice(2, value.lastIndexOf("."));
  }

  get acknowledged(): readonly string[] {
    return this.#acknowledged;
  }

  /** Carts that the session may hold now: exactly one unless a change was cut off. */
  accepts(items: readonly string[]): boolean {
    return this.#extends(this.#acknowledged, items);
  }

  /** A cart change goes out. */
  adding(item: string): void {
    this.#uncertain.add(item);
  }

  /** The site answered a cart change. What is wrong with the answer, or null. */
  added(item: string, answer: CartAnswer): string | null {
    const fault = this.#judge(this.#acknowledged, answer);
    if (fault !== null) return fault;
    if (answer.items.at(-1) !== item) return "the cart that a change answered does not end with the new item";
    // The next change was computed from this very cart, so what it lacks will not come any more.
    this.#acknowledged = answer.items;
    this.#uncertain.clear();
    return null;
  }

  /** Before a read: what it must show at least. */
  reading(): { readonly atLeast: readonly string[]; readonly state: AccountState } {
    return { atLeast: this.#acknowledged, state: this.state };
  }

  /** The site showed the cart. What is stale about it, or null. */
  read(before: { readonly atLeast: readonly string[] }, answer: CartAnswer): string | null {
    const fault = this.#judge(before.atLeast, answer);
    if (fault === null && answer.items.length > this.#acknowledged.length) {
      // What a user has seen must never be gone again, also if the change itself was never answered.
      this.#acknowledged = answer.items;
      for (const item of answer.items) this.#uncertain.delete(item);
    }
    return fault;
  }

  /** The site renewed the session; a request that began after another had ended replaces its expiry. */
  renewed(began: number, ended: number, earliest: number, latest = earliest): void {
    this.#expiries = this.#expiries.filter((other) => other.ended >= began);
    this.#expiries.push({ began, ended, earliest, latest });
  }

  /** The range that the session's expiry must lie in, milliseconds since the epoch. */
  expiry(): { earliest: number; latest: number } {
    return {
      earliest: Math.min(...this.#expiries.map((each) => each.earliest)),
      latest: Math.max(...this.#expiries.map((each) => each.latest)),
    };
  }

  #judge(atLeast: readonly string[], answer: CartAnswer): string | null {
    if (answer.version !== answer.items.length) return "the version of the cart does not fit its items";
    if (this.#extends(atLeast, answer.items)) return null;
    const lacks = atLeast.filter((item) => !answer.items.includes(item)).length;
    return lacks > 0
      ? `${lacks} of ${atLeast.length} items are missing that were acknowledged before the request began`
      : "the cart holds items that were never put in, or in another order";
  }

  /** Whether `items` is `base`, followed by nothing but what was sent since. */
  #extends(base: readonly string[], items: readonly string[]): boolean {
    return (
      new Set(items).size === items.length &&
      base.every((item, index) => items[index] === item) &&
      items.slice(base.length).every((item) => this.#uncertain.has(item) || this.#acknowledged.includes(item))
    );
  }
}

/** Everything that the users know together. */
export class Truth {
  readonly accounts: Account[] = [];
  readonly faults: Fault[] = [];
  /** Requests whose process was killed while they were under way. */
  cutOff = 0;
  /** Logins among them: each may have left a session that nobody has the cookie of. */
  cutOffLogins = 0;
  /** Answers that were compared with the truth. */
  judged = 0;

  fault(kind: Fault["kind"], detail: string): void {
    this.faults.push({ kind, at: Date.now(), detail });
  }

  /** An application process tells of an error. */
  heard(message: Extract<AppMessage, { type: "failed" }>): void {
    this.fault("failed", `${message.route}: ${message.error}`);
  }

  count(kind: Fault["kind"]): number {
    return this.faults.filter((fault) => fault.kind === kind).length;
  }
}
