import { isLive, type Session, type Sid } from "../core/session.js";
import type { Clock } from "../ports/clock.js";
import type { CasToken } from "../ports/items.js";
import type { SealState } from "../ports/redis-records.js";

/** A sidecar that holds nothing but a lease expires after this many milliseconds. */
export const LEASE_LIFETIME = 30_000;

/** Where a snapshot keeps the seal's stamp. */
const STAMP = "(stamp)";

/** One record with the protocol's own names. */
export interface RecordSnapshot {
  readonly v: Session | null;
  /** The token that was given out for v; 0n for none. */
  readonly token: CasToken;
  readonly intents: readonly string[];
  readonly cont: boolean;
  readonly d: string | null;
  readonly lease: string | null;
}

interface Stored {
  v: Session | null;
  token: CasToken;
  intents: readonly string[];
  cont: boolean;
  d: string | null;
  lease: { nonce: string; until: number } | null;
  place: Place | null;
}

/** In the dirty index: since when, and whether it was destroyed meanwhile. */
export interface Place {
  readonly since: number;
  readonly destroyed: boolean;
}

const NOTHING: Stored = { v: null, token: 0n, intents: [], cont: false, d: null, lease: null, place: null };

/** The data of an R in memory, shared by the views of several nodes: it knows expiry and the index, but no rule. */
export class MemoryRedis {
  readonly #records = new Map<Sid, Stored>();
  readonly #clock: Clock;
  /** Stands for Redis' run id. */
  run = 1;
  seal: { migration: string; generation: string; state: SealState; run: number; stamp?: string } | null = null;

  /** @param items whether flags and tokens are kept */
  constructor(
    clock: Clock,
    private readonly items = false,
  ) {
    this.#clock = clock;
  }

  now(): number {
    return this.#clock.now();
  }

  record(sid: Sid): RecordSnapshot {
    const { v, token, intents, cont, d, lease } = this.#live(sid);
    return { v, token: v === null ? 0n : token, intents, cont, d, lease: lease?.nonce ?? null };
  }

  /** A value that is expired already is none. Without items R has no flags. */
  setValue(sid: Sid, session: Session | null, token: CasToken = 0n): void {
    const kept = session && {
      value: session.value,
      flags: this.items ? session.flags : 0,
      expiresAt: session.expiresAt,
    };
    this.#change(sid, { v: kept, token: session === null ? 0n : token });
  }

  setIntents(sid: Sid, intents: readonly string[], cont: boolean): void {
    this.#change(sid, { intents, cont });
  }

  /** Sets the lease, keeping the time of one that stands; null drops it. */
  lease(sid: Sid, nonce: string | null): void {
    const standing = this.#live(sid).lease;
    if (nonce !== null && standing?.nonce === nonce) return;
    const lease = nonce === null ? null : { nonce, until: this.#clock.now() + LEASE_LIFETIME };
    this.#change(sid, { lease });
  }

  /**
   * Sets the dirty mark and its place in the index, or takes both away: the first write keeps its place, a destroy comes
   * forward.
   */
  setDirty(sid: Sid, nonce: string | null): void {
    const { v, place } = this.#live(sid);
    const destroyed = v === null || (place?.destroyed ?? false);
    const taken = { since: place?.since ?? this.#clock.now(), destroyed };
    this.#change(sid, { d: nonce, place: nonce === null ? null : taken });
  }

  /** L has what R held at that time: the place is that moment's, where it is older. */
  comeCloser(sid: Sid, since: number): void {
    const { place } = this.#live(sid);
    if (place !== null && since > place.since) this.#change(sid, { place: { ...place, since } });
  }

  placeOf(sid: Sid): Place | null {
    return this.#live(sid).place;
  }

  /** What nobody does who keeps to the scripts: the index names it as before. */
  loseMark(sid: Sid): void {
    this.#change(sid, { intents: [], cont: false, d: null, lease: null });
  }

  /** Destroys first, then the oldest. */
  dirtyIndex(): Sid[] {
    const named = this.sids().flatMap((sid) => {
      const place = this.placeOf(sid);
      return place === null ? [] : [{ sid, score: place.since - (place.destroyed ? 1e15 : 0) }];
    });
    const byBytes = (a: Sid, b: Sid): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
    return named.sort((a, b) => a.score - b.score || byBytes(a.sid, b.sid)).map(({ sid }) => sid);
  }

  dirtyState(): { count: number; oldestAge: number } {
    const now = this.#clock.now();
    const ages = this.dirtyIndex().map((sid) => now - this.placeOf(sid)!.since);
    return { count: ages.length, oldestAge: Math.max(0, ...ages) };
  }

  /** Every sid with a value, a mark or a place in the index. */
  sids(): Sid[] {
    return [...this.#records.keys()].filter((sid) => !isEmpty(this.#live(sid)));
  }

  forget(sid: Sid): void {
    this.#records.delete(sid);
  }

  clearMarks(sid: Sid): void {
    this.#change(sid, { intents: [], cont: false, d: null, lease: null, place: null });
  }

  /** What a snapshot on disk would hold. */
  save(): ReadonlyMap<Sid, unknown> {
    const records = [...this.#records].map(([sid, stored]): [Sid, unknown] => [sid, { ...stored }]);
    return new Map([...records, [STAMP, this.seal?.stamp]]);
  }

  loadStamp(snapshot: ReadonlyMap<Sid, unknown>): void {
    if (this.seal === null) return;
    const { stamp: _, ...seal } = this.seal;
    const stamp = snapshot.get(STAMP) as string | undefined;
    this.seal = { ...seal, ...(stamp !== undefined && { stamp }) };
  }

  /** Puts one record back to what a snapshot holds of it. */
  load(snapshot: ReadonlyMap<Sid, unknown>, sid: Sid): void {
    const stored = snapshot.get(sid);
    if (stored === undefined) this.#records.delete(sid);
    else this.#records.set(sid, { ...(stored as Stored) });
  }

  emptyOut(): void {
    this.#records.clear();
    this.seal = null;
    this.run++;
  }

  #live(sid: Sid): Stored {
    const now = this.#clock.now();
    const stored = this.#records.get(sid);
    if (stored === undefined) return NOTHING;
    const lease = stored.lease !== null && stored.lease.until > now ? stored.lease : null;
    return { ...stored, v: isLive(stored.v, now) ? stored.v : null, lease };
  }

  #change(sid: Sid, change: Partial<Stored>): void {
    const next = { ...this.#live(sid), ...change };
    if (isEmpty(next)) this.#records.delete(sid);
    else this.#records.set(sid, next);
  }
}

function isEmpty({ v, intents, d, lease, place }: Stored): boolean {
  return v === null && intents.length === 0 && d === null && lease === null && place === null;
}
