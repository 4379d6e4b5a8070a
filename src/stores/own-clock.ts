import { LATE, within } from "./deadline.js";

/**
 * Expiries by the clock of whoever keeps them (PROTOCOL.md, Expiry). A store that ends sessions by an absolute time does
 * so by its own clock, and a process computes that time by its own; where the two are minutes apart, the session would
 * live so much longer or shorter, and so would its copies in the other store, by that one's clock. So what goes to such a
 * store is told in its time, and what comes from there in ours: the remaining life is what stays.
 *
 * Clocks that are kept by NTP differ by less than is worth correcting: between them every time travels as it is, and
 * the copies of a session hold the same number.
 */

/** Milliseconds. A smaller difference is none. */
const WORTH = 500;
/** A look that took longer is vague about the moment at which the store looked at its clock: only better than none. */
const LONGEST_LOOK = 1_000;
/** What made a look vague, a store that was away, is mostly over when it is answered: so often it is made again at once. */
const LOOKS = 3;
/** Our clock was set, or this machine slept, when it moved so far from the monotonic one since the last look. */
const STEP = 250;

/** How far a store's clock is ahead of this process'. */
export class ClockLead {
  #lead = 0;
  #between = 0;
  #known = false;
  #took = 0;
  #looking: Promise<void> | null = null;

  /** @param ask the store's clock, milliseconds since the epoch */
  constructor(readonly ask: () => Promise<number>) {}

  /** Milliseconds; 0 until it is known, and after our own clock was set. */
  get milliseconds(): number {
    return this.shift ?? 0;
  }

  /** By how many milliseconds times of expiry are moved; null until that is known. */
  get shift(): number | null {
    if (!this.known) return null;
    return Math.abs(this.#lead) < WORTH ? 0 : this.#lead;
  }

  get known(): boolean {
    return this.#known && Math.abs(betweenOurs() - this.#between) < STEP;
  }

  /** Known to half a second or better. */
  get sharp(): boolean {
    return this.known && this.#took <= LONGEST_LOOK;
  }

  /** Looks anew; shared by all who ask meanwhile. Rejects as the store does, which leaves what was known. */
  look(): Promise<void> {
    this.#looking ??= this.#lookSharply().finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  async #lookSharply(): Promise<void> {
    let best = await this.#compare();
    for (let looks = 1; best.took > LONGEST_LOOK && looks < LOOKS; looks++) {
      const next = await this.#compare();
      if (next.took < best.took) best = next;
    }
    if (this.known && best.took > LONGEST_LOOK && best.took >= this.#took) return;
    this.#known = true;
    this.#lead = best.lead;
    this.#took = best.took;
    this.#between = best.between;
  }

  /** The lead may be off by half of what it took. */
  async #compare(): Promise<{ readonly lead: number; readonly took: number; readonly between: number }> {
    const before = Date.now();
    const began = performance.now();
    const theirs = await this.ask();
    const took = performance.now() - began;
    return { lead: Math.round(theirs - (before + took / 2)), took, between: betweenOurs() };
  }
}

/** From this process' monotonic clock to its time of day. */
function betweenOurs(): number {
  return Date.now() - performance.now();
}

/** The methods of the ports by which sessions travel, and which argument is a time of expiry by itself, if one is. */
const CARRIERS: ReadonlyMap<PropertyKey, number | null> = new Map([
  ...["get", "getMany", "set", "applyIf"].map((name) => [name, null] as const),
  ...["read", "readMany", "readAlone", "gets", "view", "dirtyRecords"].map((name) => [name, null] as const),
  ...["open", "openIf", "close", "fill", "fillMany", "setAlone", "performAlone"].map((name) => [name, null] as const),
  ["touch", 1],
  ["touchAlone", 1],
]);

type Method = (...args: unknown[]) => Promise<unknown>;

/** What a call does that comes before the lead is known. */
export interface Unknown {
  /** Milliseconds that it waits for a look at most. */
  readonly patience: number;
  /** What it rejects with then. It was not sent: a time of expiry that nobody understands must not travel. */
  readonly error: () => Error;
}

/**
 * The store as a process sees it that knows its own clock alone: every time of expiry on the way in and out is moved by
 * the lead. A call that comes before the lead is known waits for it, and fails where it cannot be had: the store is
 * away then, and a guess might be wrong by minutes.
 */
export function onOwnClock<T extends object>(store: T, lead: ClockLead, unknown: Unknown): T {
  const translating = (method: Method, position: number | null): Method => {
    const call = (args: unknown[], by: number): Promise<unknown> => {
      if (by === 0) return method.apply(store, args);
      const theirs = args.map((arg, i) => (i === position ? (arg as number) + by : moved(arg, by)));
      return method.apply(store, theirs).then((answer) => moved(answer, -by));
    };
    const afterLook = async (args: unknown[]) => {
      // One look may be over just as the process' clock was set; whoever comes then looks once more.
      for (let looks = 0; !lead.known; looks++) {
        if (looks > 1 || (await within(lead.look(), unknown.patience)) === LATE) throw unknown.error();
      }
      return call(args, lead.milliseconds);
    };
    return (...args) => {
      const by = lead.shift;
      return by === null ? afterLook(args) : call(args, by);
    };
  };
  const methods = new Map<PropertyKey, unknown>();
  return new Proxy(store, {
    get(_, name) {
      if (methods.has(name)) return methods.get(name);
      const value = Reflect.get(store, name, store);
      if (typeof value !== "function") return value;
      const position = CARRIERS.get(name);
      const method = position === undefined ? value.bind(store) : translating(value as Method, position);
      methods.set(name, method);
      return method;
    },
    set: (_, name, value) => Reflect.set(store, name, value, store),
  });
}

/** With every `expiresAt` in plain objects and arrays moved; whatever holds none stays the very same object. */
function moved<T>(value: T, by: number): T {
  if (Array.isArray(value)) {
    const items = value.map((item) => moved(item, by));
    return (items.some((item, i) => item !== value[i]) ? items : value) as T;
  }
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  let copy: Record<string, unknown> | null = null;
  for (const [name, part] of Object.entries(value)) {
    const next = name === "expiresAt" && typeof part === "number" ? part + by : moved(part, by);
    if (next !== part) {
      copy ??= { ...value } as Record<string, unknown>;
      copy[name] = next;
    }
  }
  return (copy ?? value) as T;
}
