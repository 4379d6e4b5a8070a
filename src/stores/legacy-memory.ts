import { isLive, type Session, type Sid } from "../core/session.js";
import type { Clock } from "../ports/clock.js";
import type { Applied, ConditionalChange, LegacyStore, ListOptions, Token } from "../ports/legacy-store.js";

/** Rows that expired longer ago than this may be pruned, in milliseconds; placeholders in use are always younger. */
const PRUNE_AFTER = 3_600_000;

interface Row {
  readonly session: Session;
  /** Drawn from one counter for all rows and never used again, so that equality proves that nothing happened. */
  readonly version: number;
}

interface MemoryToken extends Token {
  readonly version: number;
}

export interface MemoryLegacyOptions {
  readonly clock: Clock;
  /** Behaves like a cache: `evict` may be called, and a touch leaves the row's token standing (memcached's CAS). */
  readonly lossy?: boolean;
}

/**
 * L in memory, for the property tests. Every method does all its work before it returns its (resolved) promise, so
 * that a test's scheduler decides what lies between two calls. Nothing is ever unreachable or unknown here.
 */
export class MemoryLegacyStore implements LegacyStore {
  readonly kind = "memory";
  readonly lossy: boolean;
  readonly expiryGranularity = 1;
  readonly #clock: Clock;
  readonly #rows = new Map<Sid, Row>();
  #version = 0;

  constructor(options: MemoryLegacyOptions) {
    this.#clock = options.clock;
    this.lossy = options.lossy ?? false;
  }

  async get(sid: Sid): Promise<Session | null> {
    return this.peek(sid);
  }

  async getMany(sids: readonly Sid[]): Promise<(Session | null)[]> {
    return sids.map((sid) => this.peek(sid));
  }

  async holds(sids: readonly Sid[]): Promise<boolean[]> {
    return sids.map((sid) => this.peek(sid) !== null);
  }

  async set(sid: Sid, session: Session): Promise<void> {
    this.#put(sid, session);
  }

  async touch(sid: Sid, expiresAt: number): Promise<boolean> {
    const row = this.#rows.get(sid);
    if (row === undefined || !isLive(row.session, this.#clock.now())) return false;
    const session = { ...row.session, expiresAt };
    if (this.lossy) this.#rows.set(sid, { session, version: row.version });
    else this.#put(sid, session);
    return true;
  }

  async destroy(sid: Sid): Promise<boolean> {
    const live = this.peek(sid) !== null;
    this.#rows.delete(sid);
    return live;
  }

  async tokens(sids: readonly Sid[]): Promise<(Token | null)[]> {
    return sids.map((sid): MemoryToken => {
      const row = this.#rows.get(sid);
      if (row !== undefined) return { sid, version: row.version };
      // An absent row gets an expired placeholder: its version is gone for good once anybody wrote and deleted.
      this.#put(sid, { value: Buffer.alloc(0), flags: 0, expiresAt: this.#clock.now() });
      return { sid, version: this.#version };
    });
  }

  async applyIf(changes: readonly ConditionalChange[]): Promise<Applied[]> {
    return changes.map(({ token, session }) => {
      if (this.#rows.get(token.sid)?.version !== (token as MemoryToken).version) return "changed";
      if (session === null) this.#rows.delete(token.sid);
      else this.#put(token.sid, session);
      return "applied";
    });
  }

  async *list(options: ListOptions): AsyncIterable<Sid[]> {
    let after = options.after;
    for (;;) {
      options.signal?.throwIfAborted();
      const page = this.#liveSids()
        .filter((sid) => after === undefined || sid > after)
        .slice(0, options.pageSize);
      if (page.length === 0) return;
      after = page.at(-1);
      yield page;
    }
  }

  async count(): Promise<number> {
    return this.#liveSids().length;
  }

  async prune(): Promise<number> {
    const limit = this.#clock.now() - PRUNE_AFTER;
    let pruned = 0;
    for (const [sid, row] of this.#rows) {
      if (row.session.expiresAt < limit && this.#rows.delete(sid)) pruned++;
    }
    return pruned;
  }

  async identity(): Promise<string> {
    return "memory";
  }

  async now(): Promise<number> {
    return this.#clock.now();
  }

  async disconnectNode(): Promise<boolean> {
    return true;
  }

  async close(): Promise<void> {}

  /** What a reader would see now, without a promise: for invariants. */
  peek(sid: Sid): Session | null {
    const session = this.#rows.get(sid)?.session ?? null;
    return isLive(session, this.#clock.now()) ? session : null;
  }

  /** Of a live row; null where there is none. What memcached calls its CAS. */
  versionOf(sid: Sid): number | null {
    return this.peek(sid) === null ? null : this.#rows.get(sid)!.version;
  }

  /** Forgets the row, placeholder or not, as a full cache does; true when there was one. */
  evict(sid: Sid): boolean {
    if (!this.lossy) throw new RangeError("only a lossy store evicts");
    return this.#rows.delete(sid);
  }

  #put(sid: Sid, session: Session): void {
    this.#rows.set(sid, { session, version: ++this.#version });
  }

  #liveSids(): Sid[] {
    return [...this.#rows.keys()].filter((sid) => this.peek(sid) !== null).sort();
  }
}
