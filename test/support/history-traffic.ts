import type { Session, Sid } from "../../src/core/session.js";
import { EXPIRY_STEP, type History, type Member } from "./history.js";

/** Numbers from 0 to below 1 that a seed repeats (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface TrafficOptions {
  /** Clients at once, each with one request under way. */
  readonly users: number;
  /** Sessions in use at once: few, so that requests of one session meet. */
  readonly hot: number;
  /** The longest pause of a client between two requests, in milliseconds. */
  readonly pause: number;
  readonly random: () => number;
  /** False while nobody logs out. */
  destroys?: boolean;
}

/** Clients that set, read, touch and destroy a few dozen sessions, over whichever members take requests. */
export class Traffic {
  readonly #hot: Sid[] = [];
  /** Sessions that were written once and are left alone: what a backfill is for. */
  readonly #cold: Sid[] = [];
  #clients: Promise<void>[] = [];
  #going = false;
  #values = 0;
  #names = 0;

  constructor(
    readonly history: History,
    readonly members: () => readonly Member[],
    readonly options: TrafficOptions,
  ) {}

  start(): void {
    this.#going = true;
    for (let i = 0; i < this.options.users; i++) this.#clients.push(this.#client());
  }

  /** Resolves when every request has been answered. */
  async stop(): Promise<void> {
    this.#going = false;
    await Promise.all(this.#clients);
    this.#clients = [];
  }

  /** Writes sessions that the clients then use but seldom. */
  async plant(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const sid = this.#newSid();
      this.#cold.push(sid);
      await this.history.set(this.#member()!, sid, this.#session());
    }
  }

  /** Forgets all sessions, which their store has lost, and goes on with others. */
  startOver(): void {
    this.history.forget(this.history.sids);
    this.#hot.length = 0;
    this.#cold.length = 0;
  }

  async #client(): Promise<void> {
    const { random, pause } = this.options;
    while (this.#going) {
      await new Promise((resolve) => setTimeout(resolve, random() * pause));
      const member = this.#member();
      if (member === undefined || !this.#going) continue;
      await this.#request(member, this.#pick());
    }
  }

  #request(member: Member, sid: Sid): Promise<unknown> {
    const verb = this.options.random();
    if (verb < 0.45) return this.history.get(member, sid);
    if (verb < 0.7) return this.history.set(member, sid, this.#session());
    if (verb < 0.85) return this.history.touch(member, sid, this.#expiry());
    return this.options.destroys === false ? this.history.get(member, sid) : this.history.destroy(member, sid);
  }

  #member(): Member | undefined {
    const members = this.members();
    return members[Math.floor(this.options.random() * members.length)];
  }

  #pick(): Sid {
    const { random, hot } = this.options;
    if (this.#cold.length > 0 && random() < 0.03) {
      const sid = this.#cold[Math.floor(random() * this.#cold.length)]!;
      if (!this.history.isFull(sid)) return sid;
    }
    const at = Math.floor(random() * hot);
    const sid = this.#hot[at];
    if (sid !== undefined && !this.history.isFull(sid)) return sid;
    const fresh = this.#newSid();
    this.#hot[at] = fresh;
    return fresh;
  }

  #newSid(): Sid {
    return `sid-${Math.floor(this.options.random() * 2 ** 32).toString(36)}-${this.#names++}`;
  }

  #session(): Session {
    const value = JSON.stringify({ cookie: {}, n: this.#values++ });
    return { value: Buffer.from(value), flags: 0, expiresAt: this.#expiry() };
  }

  /** Between one and eleven hours from now, and seldom twice the same. */
  #expiry(): number {
    return (Math.floor(Date.now() / EXPIRY_STEP) + 360 + Math.floor(this.options.random() * 3_600)) * EXPIRY_STEP;
  }
}
