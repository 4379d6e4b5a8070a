import { type BucketRange, bucketOf, inRange } from "../core/cohort.js";
import { type Stretch, startOf } from "../core/drawn.js";
import type { Session, Sid } from "../core/session.js";
import type { Clock } from "../ports/clock.js";
import type { CasToken, ItemResult } from "../ports/items.js";
import {
  type CallLimits,
  type ConditionalAnswer,
  type ConditionalVerb,
  type DirtyRecord,
  type DropOptions,
  type GetsAnswer,
  type LeaseAnswer,
  type Mode,
  type OpenMode,
  type Outcome,
  predates,
  type ReadAnswer,
  type RecordView,
  type RedisFacts,
  RedisLost,
  type RedisRecords,
  type SealState,
  type Seals,
} from "../ports/redis-records.js";
import { type Applied, applyVerb } from "./item-rules.js";
import { MemoryRedis, type RecordSnapshot } from "./memory-redis.js";

export interface MemoryRecordsOptions {
  readonly clock: Clock;
  readonly migration: string;
  /** Whether flags and tokens are kept. Default false. */
  readonly items?: boolean;
}

/**
 * The scripts of the protocol, as plainly as they can be written: the reference that the Redis implementation is
 * compared with, and the R of the property tests. Every method does its work in one go before it returns, so no two
 * calls ever interleave.
 *
 * Each rule that the protocol cannot do without is a small protected method, so that a test can leave out that one
 * rule and prove that it is missed: see "The rules that tests leave out" at the end of the class.
 */
export class MemoryRedisRecords implements RedisRecords {
  generation = "";
  trustRestarts = false;

  constructor(
    protected readonly options: MemoryRecordsOptions,
    protected readonly redis: MemoryRedis = new MemoryRedis(options.clock, options.items),
  ) {}

  get keepsFlags(): boolean {
    return this.options.items ?? false;
  }

  /** Another node's view of the same R, with a trusted generation of its own. */
  another(): this {
    type Self = new (options: MemoryRecordsOptions, redis: MemoryRedis) => this;
    return new (this.constructor as Self)(this.options, this.redis);
  }

  // --- What tests do to R ---

  /** R restarts empty: everything goes, the seal too. */
  emptyOut(): void {
    this.redis.emptyOut();
  }

  /** R restarts with its data, as another run; of these sids, and of the seal's stamp, with what a snapshot held. */
  restart(snapshot: ReadonlyMap<Sid, unknown> = new Map(), aged: readonly Sid[] = [], agesStamp = false): void {
    this.redis.run++;
    for (const sid of aged) this.redis.load(snapshot, sid);
    if (agesStamp) this.redis.loadStamp(snapshot);
  }

  /** The sidecar of this sid is gone: evicted, or removed by somebody's hand. */
  loseMark(sid: Sid): void {
    this.redis.loseMark(sid);
  }

  /** What R would restart with, had it just saved. */
  save(): ReadonlyMap<Sid, unknown> {
    return this.redis.save();
  }

  /** Whether a node that trusts this generation would be answered. */
  isSealedFor(generation: string): boolean {
    return this.redis.seal?.generation === generation && this.redis.seal.run === this.redis.run;
  }

  /** A record as it stands, for the invariants. */
  snapshot(sid: Sid): RecordSnapshot {
    return this.redis.record(sid);
  }

  // --- The scripts ---

  runOf(): string {
    return String(this.redis.run);
  }

  async read(sid: Sid, lease: string): Promise<ReadAnswer> {
    this.#checkSeal();
    const record = this.redis.record(sid);
    if (record.intents.length > 0) return { from: "L", lease: null };
    const ahead = record.d !== null;
    if (record.v !== null || ahead) return { from: "R", session: record.v, ahead };
    const standing = record.lease ?? lease;
    this.redis.lease(sid, standing);
    return { from: "L", lease: standing };
  }

  async readMany(sids: readonly Sid[], leases: readonly string[]): Promise<ReadAnswer[]> {
    return Promise.all(sids.map((sid, i) => this.read(sid, leases[i]!)));
  }

  async leaseMany(sids: readonly Sid[], leases: readonly string[]): Promise<LeaseAnswer[]> {
    const answers = await this.readMany(sids, leases);
    return answers.map((answer) => {
      if (answer.from === "R") return { state: answer.session === null ? "dirty" : "hit" };
      return answer.lease === null ? { state: "intents" } : { state: "leased", lease: answer.lease };
    });
  }

  async open(
    sid: Sid,
    intent: string,
    mode: OpenMode,
    session: Session | null,
    dirty: string,
    _limits?: CallLimits,
    known = false,
  ): Promise<Mode | "dirty"> {
    this.#checkSeal();
    if (this.#goesToL(sid, mode, known)) {
      this.#intend(sid, intent);
      return "L";
    }
    if (mode === "L-if-clean") return "dirty";
    this.#write(sid, session, dirty);
    return "R";
  }

  async openIf(
    sid: Sid,
    intent: string,
    mode: OpenMode,
    verb: ConditionalVerb,
    lease: string | null,
    known: boolean,
    dirty: string,
  ): Promise<ConditionalAnswer> {
    this.#checkSeal();
    if (verb.alone && this.redis.record(sid).intents.length > 0) return { answer: "busy" };
    if (this.#goesToL(sid, mode, known)) {
      this.#intend(sid, intent);
      return { answer: "L" };
    }
    if (verb.verb !== "set" && !known && !this.knows(sid, lease)) return { answer: "unknown" };
    if (mode === "L-if-clean") return { answer: "dirty" };
    const { result, next } = this.#apply(sid, verb);
    if (next !== undefined) this.#write(sid, next, dirty, next?.token);
    return { answer: "R", result };
  }

  async gets(sid: Sid, mode: Mode, lease: string, known: boolean, token: CasToken): Promise<GetsAnswer> {
    this.#checkSeal();
    const { v, token: standing, intents, d } = this.redis.record(sid);
    if (!known) {
      if (mode === "L" && d !== null) return { from: "dirty" };
      if (intents.length > 0 || (mode === "L" && v !== null)) return { from: "L", lease: null };
      if (v === null && d === null) {
        const answer = await this.read(sid, lease);
        return { from: "L", lease: answer.from === "L" ? answer.lease : null };
      }
    }
    if (v === null) return { from: "R", item: null, ahead: true };
    const given = standing === 0n ? token : standing;
    this.redis.setValue(sid, v, given);
    return { from: "R", item: { ...v, token: given }, ahead: d !== null };
  }

  async close(sid: Sid, intent: string, outcome: Outcome): Promise<void> {
    this.#checkSeal();
    const record = this.redis.record(sid);
    if (!this.intentStands(sid, intent)) {
      if (outcome.kind === "withdraw") return;
      this.dropLease(sid);
      if (record.d === null) this.redis.setValue(sid, null);
      if (record.intents.length > 0) this.redis.setIntents(sid, record.intents, true);
      return;
    }
    const left = record.intents.filter((id) => id !== intent);
    this.redis.setIntents(sid, left, left.length > 0 && record.cont);
    if (left.length > 0) return;
    const after = record.cont ? null : valueAfter(outcome, record.v);
    this.redis.setValue(sid, after, outcome.kind === "keep" ? record.token : 0n);
  }

  async fill(sid: Sid, lease: string, session: Session | null): Promise<boolean> {
    this.#checkSeal();
    if (!this.leaseStands(sid, lease)) return false;
    this.redis.setValue(sid, session);
    this.redis.lease(sid, null);
    return true;
  }

  async fillMany(fills: readonly { sid: Sid; lease: string; session: Session | null }[]): Promise<boolean[]> {
    return Promise.all(fills.map(({ sid, lease, session }) => this.fill(sid, lease, session)));
  }

  async mark(sids: readonly Sid[]): Promise<void> {
    this.#checkSeal();
    for (const sid of sids) {
      const record = this.redis.record(sid);
      if (record.d !== null) continue;
      if (record.intents.length > 0 && this.markSparesIntents(sid)) {
        this.redis.setIntents(sid, record.intents, true);
      } else {
        this.redis.setValue(sid, null);
      }
      this.dropLease(sid);
    }
  }

  async dirtyRecords(sids: readonly Sid[]): Promise<DirtyRecord[]> {
    this.#checkSeal();
    return sids.map((sid) => {
      const { v, d } = this.redis.record(sid);
      const seen = d === null ? 0 : this.redis.now();
      return { sid, nonce: d, session: d === null ? null : v, seen };
    });
  }

  async undirty(records: readonly { sid: Sid; nonce: string; seen: number }[]): Promise<boolean[]> {
    this.#checkSeal();
    return records.map(({ sid, nonce, seen }) => {
      const stands = this.dirtyStands(sid, nonce);
      if (stands) this.redis.setDirty(sid, null);
      else if (this.redis.record(sid).d !== null) this.redis.comeCloser(sid, seen);
      return stands;
    });
  }

  async reconcile(records: readonly { sid: Sid; dirty: string }[]): Promise<boolean[]> {
    this.#checkSeal();
    return records.map(({ sid, dirty }) => {
      const { v, d, intents } = this.redis.record(sid);
      if (d !== null) return false;
      const place = this.redis.placeOf(sid);
      if (place === null) return true;
      const isAhead = intents.length === 0 && (v !== null || place.destroyed);
      if (isAhead) this.dropLease(sid);
      this.redis.setDirty(sid, isAhead ? dirty : null);
      return !isAhead;
    });
  }

  async dirtySids(limit: number, { from = "front" }: { from?: Stretch } = {}): Promise<Sid[]> {
    this.#checkSeal();
    const index = this.redis.dirtyIndex();
    const begin = startOf(from, index.length, limit);
    return index.slice(begin, begin + limit);
  }

  async dirtyState(): Promise<{ count: number; oldestAge: number }> {
    this.#checkSeal();
    return this.redis.dirtyState();
  }

  async push(records: readonly { sid: Sid; dirty: string }[]): Promise<void> {
    this.#checkSeal();
    for (const { sid, dirty } of records) {
      const { v, d, intents } = this.redis.record(sid);
      if (v === null || d !== null || intents.length > 0) continue;
      this.redis.lease(sid, null);
      this.redis.setDirty(sid, dirty);
    }
  }

  async view(sids: readonly Sid[]): Promise<RecordView[]> {
    this.#checkSeal();
    return sids.map((sid) => {
      const { v: session, intents, cont, d, lease } = this.redis.record(sid);
      if (intents.length > 0) {
        return { session, mark: "intents", intents, state: (cont ? "J" : "I") + intents.join("") };
      }
      if (d !== null) return { session, mark: "dirty", intents, state: `D${d}` };
      if (lease !== null) return { session, mark: "lease", intents, state: `L${lease}` };
      return { session, mark: "none", intents, state: "" };
    });
  }

  async readAlone(sid: Sid): Promise<Session | null> {
    this.#checkSeal();
    return this.redis.record(sid).v;
  }

  async setAlone(sid: Sid, session: Session): Promise<void> {
    await this.performAlone(sid, { verb: "set", session });
  }

  async touchAlone(sid: Sid, expiresAt: number): Promise<boolean> {
    return (await this.performAlone(sid, { verb: "touch", expiresAt })).result === "done";
  }

  async destroyAlone(sid: Sid): Promise<boolean> {
    return (await this.performAlone(sid, { verb: "delete", token: 0n })).result === "done";
  }

  async performAlone(sid: Sid, verb: ConditionalVerb): Promise<ItemResult> {
    this.#checkSeal();
    const { result, next } = this.#apply(sid, verb);
    if (next !== undefined) this.redis.setValue(sid, next, next?.token);
    return result;
  }

  // --- Administration ---

  async *listRecords({ pageSize, signal }: { pageSize: number; signal?: AbortSignal }): AsyncIterable<Sid[]> {
    for (const page of pages(this.redis.sids(), pageSize)) {
      if (signal?.aborted) return;
      const live = page.filter((sid) => this.redis.record(sid).v !== null);
      if (live.length > 0) yield live;
    }
  }

  async *listMarked({ pageSize }: { pageSize: number }): AsyncIterable<Sid[]> {
    const marked = this.redis.sids().filter((sid) => {
      const { intents, d, lease } = this.redis.record(sid);
      return intents.length > 0 || d !== null || lease !== null;
    });
    yield* pages(marked, pageSize);
  }

  async *listIntents({ pageSize }: { pageSize: number }): AsyncIterable<{ sid: Sid; intents: string[] }[]> {
    for (const page of pages(this.redis.sids(), pageSize)) {
      const found = page.map((sid) => ({ sid, intents: [...this.redis.record(sid).intents] }));
      const open = found.filter(({ intents }) => intents.length > 0);
      if (open.length > 0) yield open;
    }
  }

  async dropIntents(): Promise<number> {
    const open = this.redis.sids().filter((sid) => this.redis.record(sid).intents.length > 0);
    for (const sid of open) this.redis.forget(sid);
    return open.length;
  }

  async drop(buckets: BucketRange, { spareDirty = false, since }: DropOptions = {}): Promise<number> {
    const isSpared = spareDirty && (since === undefined || !predates(this.redis.seal?.stamp, since));
    let dropped = 0;
    for (const sid of this.redis.sids()) {
      if (!inRange(bucketOf(sid), buckets) || (isSpared && this.redis.placeOf(sid) !== null)) continue;
      if (this.redis.record(sid).v !== null) dropped++;
      this.redis.forget(sid);
    }
    return dropped;
  }

  async clearMarks(): Promise<void> {
    for (const sid of this.redis.sids()) this.redis.clearMarks(sid);
  }

  async clearItems(): Promise<void> {
    for (const sid of this.redis.sids()) {
      const { v } = this.redis.record(sid);
      if (v !== null) this.redis.setValue(sid, { ...v, flags: 0 });
    }
  }

  async seal(): Promise<{ migration: string; generation: string; state: SealState } | null> {
    if (this.redis.seal === null) return null;
    const { migration, generation, state } = this.redis.seal;
    return { migration, generation, state };
  }

  async seals(): Promise<Seals | null> {
    if (this.redis.seal === null) return null;
    const { generation, stamp } = this.redis.seal;
    return { generations: [generation], ...(stamp !== undefined && { stamp }) };
  }

  async hasRestarted(): Promise<boolean> {
    const { seal, run } = this.redis;
    return seal !== null && seal.generation === this.generation && seal.run !== run;
  }

  async arm(generation: string, state: SealState, run = String(this.redis.run), stamp?: string): Promise<void> {
    const { migration } = this.options;
    this.redis.seal = { migration, generation, state, run: Number(run), ...(stamp !== undefined && { stamp }) };
  }

  async complete(): Promise<void> {
    this.#checkSeal();
    this.redis.seal = { ...this.redis.seal!, state: "complete" };
  }

  async stamp(stamp: string): Promise<void> {
    this.#checkSeal();
    this.redis.seal = { ...this.redis.seal!, stamp };
  }

  async removeSeal(): Promise<void> {
    this.redis.seal = null;
  }

  async facts(): Promise<RedisFacts> {
    return {
      version: "memory",
      runId: String(this.redis.run),
      evictionPolicy: "noeviction",
      usedMemory: 0,
      maxMemory: 0,
      persistence: { aof: false, rdb: false },
      replicas: 0,
      evictedKeys: 0,
      now: this.options.clock.now(),
    };
  }

  async disconnectNode(_node: string): Promise<void> {}

  async ping(): Promise<void> {
    this.#checkSeal();
  }

  async end(): Promise<void> {}

  // --- The rules that tests leave out ---

  /** Whether `open` leaves its intent behind; without it L is written behind R's back. */
  protected leavesIntent(_sid: Sid): boolean {
    return true;
  }

  /** Whether `close` finds the intent it is to end. */
  protected intentStands(sid: Sid, intent: string): boolean {
    return this.redis.record(sid).intents.includes(intent);
  }

  /** `cont`: whether an intent opened now overlaps another, so that neither value is known to be L's last. */
  protected overlaps(sid: Sid): boolean {
    return this.redis.record(sid).intents.length > 0;
  }

  /** Whether `fill` may write what was read from L under this lease. */
  protected leaseStands(sid: Sid, lease: string): boolean {
    return this.redis.record(sid).lease === lease;
  }

  /** Whether `undirty` may take the mark away: no write came since the drainer read. */
  protected dirtyStands(sid: Sid, nonce: string): boolean {
    return this.redis.record(sid).d === nonce;
  }

  /** Whether `mark`, finding intents, sets `cont`, so that none of them closes with its value. */
  protected markSparesIntents(_sid: Sid): boolean {
    return true;
  }

  /** Whether an R that restarted is believed as it is. */
  protected acceptsRestart(): boolean {
    return this.trustRestarts;
  }

  /** Rule 13: whether what R holds, or does not hold, is the session's state. The lease is one under which L had none. */
  protected knows(sid: Sid, lease: string | null): boolean {
    const { v, d, lease: standing } = this.redis.record(sid);
    return v !== null || d !== null || (lease !== null && standing === lease);
  }

  /** A write ends every copy that is under way. */
  protected dropLease(sid: Sid): void {
    this.redis.lease(sid, null);
  }

  // --- What the scripts share ---

  /**
   * Whether a write must go to L: a mode L write unless R is ahead, a mode R write behind open intents, but not where R
   * alone is read.
   */
  #goesToL(sid: Sid, mode: OpenMode, known: boolean): boolean {
    const { d, intents } = this.redis.record(sid);
    return mode === "R" ? !known && intents.length > 0 : d === null;
  }

  #intend(sid: Sid, intent: string): void {
    const { intents, cont } = this.redis.record(sid);
    const overlaps = this.overlaps(sid);
    this.dropLease(sid);
    if (this.leavesIntent(sid)) this.redis.setIntents(sid, [...intents, intent], cont || overlaps);
  }

  /** A verb on what is there, where R decides. */
  #apply(sid: Sid, verb: ConditionalVerb): Applied {
    const { v, token } = this.redis.record(sid);
    const { newToken = 0n, largest } = verb;
    return applyVerb(v && { ...v, token }, verb, {
      token: newToken,
      asked: newToken !== 0n,
      ...(largest !== undefined && { largest }),
    });
  }

  #write(sid: Sid, session: Session | null, dirty: string, token?: CasToken): void {
    this.redis.setValue(sid, session, token);
    this.dropLease(sid);
    if (this.redis.record(sid).intents.length > 0) this.redis.setIntents(sid, [], false);
    this.redis.setDirty(sid, dirty);
  }

  /** Rule 10: an R that is not the one that was armed answers nothing. */
  #checkSeal(): void {
    const { seal, run } = this.redis;
    if (seal === null || seal.generation !== this.generation) {
      throw new RedisLost("Redis does not carry the seal of the trusted generation");
    }
    if (seal.run === run) return;
    if (!this.acceptsRestart()) throw new RedisLost("Redis restarted or failed over since it was armed");
    this.redis.seal = { ...seal, run };
  }
}

function valueAfter(outcome: Outcome, hidden: Session | null): Session | null {
  if (outcome.kind === "value") return outcome.session;
  if (outcome.kind === "none" || outcome.kind === "withdraw" || hidden === null) return null;
  if (outcome.kind === "revalue") {
    return outcome.value.length < hidden.value.length ? null : { ...hidden, value: outcome.value };
  }
  return outcome.expiresAt === undefined ? hidden : { ...hidden, expiresAt: outcome.expiresAt };
}

function* pages<T>(items: readonly T[], size: number): Iterable<T[]> {
  for (let i = 0; i < items.length; i += size) yield items.slice(i, i + size);
}
