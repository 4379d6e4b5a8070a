import type { BucketRange } from "../core/cohort.js";
import type { Stretch } from "../core/drawn.js";
import type { Session, Sid } from "../core/session.js";
import type { CasToken, Item, ItemResult, ItemVerb } from "./items.js";

export type Mode = "L" | "R";

/** `L-if-clean`: as L, but where R is ahead nothing changes, and "dirty" is the answer: the session is to be drained first. */
export type OpenMode = Mode | "L-if-clean";

export type ReadAnswer =
  /** `ahead`: L may not have it yet. */
  | { readonly from: "R"; readonly session: Session | null; readonly ahead: boolean }
  | { readonly from: "L"; readonly lease: string | null };

/** As a copier needs it: what R holds is not told, only whether there is anything left to copy. */
export type LeaseAnswer =
  | { readonly state: "hit" | "dirty" | "intents" }
  | { readonly state: "leased"; readonly lease: string };

/** What L holds when an intent ends. */
export type Outcome =
  | { readonly kind: "value"; readonly session: Session }
  | { readonly kind: "none" }
  /** The hidden value comes back, with this expiry where one is given. */
  | { readonly kind: "keep"; readonly expiresAt?: number }
  /**
   * The hidden value's bytes are these by now, its flags and expiry are what they were. A shorter value is unknown all the
   * same: memcached leaves blanks behind it, or does not.
   */
  | { readonly kind: "revalue"; readonly value: Buffer }
  /**
   * As none where the intent stands; where it does not, nothing happens. For an intent that may never have arrived or
   * may have been closed already: dropping v for it would lose a session in full-redis, where absence is an answer.
   */
  | { readonly kind: "withdraw" };

/** A verb whose new value, or answer, depends on the old one (rule 13). */
export type ConditionalVerb = ItemVerb & {
  /** The token that the item gets if the verb changes its value; 0n, or absent, where nobody asked for one. */
  readonly newToken?: CasToken;
  /** Bytes that append and prepend may leave at most; L would not take more. They answer "absent", as memcached does. */
  readonly largest?: number;
  /** No intent is opened beside others: "busy" while some stand. */
  readonly alone?: boolean;
};

export type ConditionalAnswer =
  | { readonly answer: "L" }
  | { readonly answer: "R"; readonly result: ItemResult }
  | { readonly answer: "unknown" }
  | { readonly answer: "busy" }
  | { readonly answer: "dirty" };

/** What a read with a token met. */
export type GetsAnswer =
  | { readonly from: "R"; readonly item: Item | null; readonly ahead: boolean }
  /** Its token decides in L. Leased where R does not know the session. */
  | { readonly from: "L"; readonly lease: string | null }
  /** Mode L alone: R is ahead, so that L must first be drained. */
  | { readonly from: "dirty" };

export interface DropOptions {
  /** What is dirty stays. */
  readonly spareDirty?: boolean;
  /** Not where the seal's stamp is older than this one: in a Redis Cluster each slot has its own. */
  readonly since?: string;
}

/** Whether the first of two stamps, or none, is the older one. */
export function predates(stamp: string | undefined, other: string): boolean {
  return Number(stamp ?? 0) < Number(other);
}

export interface Seals {
  readonly generations: readonly string[];
  /** The earliest; absent where some seal has none. */
  readonly stamp?: string;
}

export interface RecordView {
  /** The session's own key, hidden or not. */
  readonly session: Session | null;
  readonly mark: "none" | "intents" | "dirty" | "lease";
  /** Ids of the open intents. */
  readonly intents: readonly string[];
  /** Changes whenever the mark changes: tag and nonce or ids. "" for none. */
  readonly state: string;
}

export interface DirtyRecord {
  readonly sid: Sid;
  /** The nonce `d`; null when it is not dirty (any more). */
  readonly nonce: string | null;
  readonly session: Session | null;
  /** When it was dirty like this, by R's own clock; for `undirty`. 0 where it is not dirty. */
  readonly seen: number;
}

/** Thrown when R did not answer. `sent` false: the command certainly never reached R. */
export class RedisUnreachable extends Error {
  constructor(
    message: string,
    readonly sent: boolean,
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.name = "RedisUnreachable";
  }
}

/** Thrown when R answers but is not the R that was armed: emptied, restarted with an old state, or another's (rule 10). */
export class RedisLost extends Error {
  override readonly name = "RedisLost";
}

/** Thrown when R refused the command (out of memory, read-only replica, ACL): nothing changed. */
export class RedisRefused extends Error {
  override readonly name = "RedisRefused";
}

export type SealState = "active" | "complete";

/** How long one call may take, and what it does while R is known to be away. */
export interface CallLimits {
  /** Milliseconds after which the call rejects with `RedisUnreachable`. */
  readonly deadline: number;
  /**
   * While the connection is known to be broken or stalled: true waits for it up to the deadline, false fails at once
   * (`sent` false), for callers that can go on without R or look around while they wait.
   */
  readonly hold: boolean;
  /** It may wait a moment for another call to go with, because nobody waits for its answer. */
  readonly later?: boolean;
}

/**
 * R: the session's own key and its sidecar, changed by scripts that are atomic for one sid. Method by method the
 * scripts of the protocol; ids and nonces are made by the caller (`IdSource`). Each call is one round trip unless it
 * says otherwise (long batches are cut into pieces that travel together). Without limits of its own a call takes the
 * store's (long ones, holding). Everything but the administration part rejects with `RedisLost` unless R carries the
 * seal of `generation`.
 */
export interface RedisRecords {
  /** The generation of R that this node trusts, taken from the control record. */
  generation: string;
  /**
   * What to think of an R that restarted or failed over with its data and may have lost the last of it. False: it is
   * lost (`RedisLost`) until somebody arms it anew. True, where R is the authority of every session: it is accepted,
   * and its seal is rewritten for the new run. An R without the seal of `generation` is lost in either case.
   */
  trustRestarts: boolean;

  /** Whether sessions have flags here: where memcached's own clients are served. */
  readonly keepsFlags: boolean;
  /**
   * The run of the server that has this session: another one after a restart or a failover, and where the session was
   * moved. Null where there is no connection.
   */
  runOf(sid: Sid): string | null;

  /** `lease` is used if none stands. `expiry` false: that of a hit may be NaN. */
  read(sid: Sid, lease: string, limits?: CallLimits, expiry?: boolean): Promise<ReadAnswer>;
  readMany(sids: readonly Sid[], leases: readonly string[]): Promise<ReadAnswer[]>;
  /** `readMany` without the values: R decides and leases the same, and nothing that is there already travels. */
  leaseMany(sids: readonly Sid[], leases: readonly string[]): Promise<LeaseAnswer[]>;
  /**
   * `dirty` is the fresh nonce for answer "R". `known`: the operation began in full-redis or complete, where R alone is
   * read. No intent is opened there any more, so one that stands is of an R that restarted with older data, and nobody's.
   */
  open(
    sid: Sid,
    intent: string,
    mode: OpenMode,
    session: Session | null,
    dirty: string,
    limits?: CallLimits,
    known?: boolean,
  ): Promise<Mode | "dirty">;
  /** `lease`: the lease under which L was read as absent, or null. `known`: as above, and absence in R is knowledge. */
  openIf(
    sid: Sid,
    intent: string,
    mode: OpenMode,
    verb: ConditionalVerb,
    lease: string | null,
    known: boolean,
    dirty: string,
    limits?: CallLimits,
  ): Promise<ConditionalAnswer>;
  /**
   * A read that asks for a token. Mode L: the token must be L's; R tells whether L may be asked. Mode R: as `read`, with
   * the item's token; an item without one gets `token`. `known`: absence in R is knowledge.
   */
  gets(sid: Sid, mode: Mode, lease: string, known: boolean, token: CasToken, limits?: CallLimits): Promise<GetsAnswer>;
  close(sid: Sid, intent: string, outcome: Outcome, limits?: CallLimits): Promise<void>;
  fill(sid: Sid, lease: string, session: Session | null, limits?: CallLimits): Promise<boolean>;
  fillMany(fills: readonly { sid: Sid; lease: string; session: Session | null }[]): Promise<boolean[]>;
  mark(sids: readonly Sid[]): Promise<void>;

  /** `v` and `d` together (step two of rule 4); the session is null, too, where there is no `d`. */
  dirtyRecords(sids: readonly Sid[]): Promise<DirtyRecord[]>;
  /** Last step of rule 4, for what L has taken. Where another nonce stands, what L lacks came after the record was seen. */
  undirty(records: readonly { sid: Sid; nonce: string; seen: number }[]): Promise<boolean[]>;
  /**
   * For sids without a dirty mark that a drainer was told of: where the dirty index still names one, its mark was lost,
   * and it is dirty again under this nonce, or is named no more. Whether neither mark nor name is left.
   */
  reconcile(records: readonly { sid: Sid; dirty: string }[]): Promise<boolean[]>;
  /**
   * Destroys first, then the oldest; as `dirtyState`, roughly. Unless said from the front, the last of these from the end;
   * or a run of them that begins anywhere.
   */
  dirtySids(limit: number, options?: { from?: Stretch }): Promise<Sid[]>;
  /**
   * Count, and the age in milliseconds of the oldest entry (0 when none). `roughly`: what others
   * made dirty in the last seconds may be missing; for who asks often, where R is a Cluster of many indexes.
   */
  dirtyState(options?: { roughly?: boolean }): Promise<{ count: number; oldestAge: number }>;
  /** Makes records dirty that are present and carry no intent and no dirty mark: the push of a descent. */
  push(records: readonly { sid: Sid; dirty: string }[]): Promise<void>;

  /** Looks, and changes nothing. */
  view(sids: readonly Sid[], limits?: CallLimits): Promise<RecordView[]>;
  /** Reads of full-redis and complete: R alone, absence is knowledge, no lease is taken. `expiry` as for `read`. */
  readAlone(sid: Sid, limits?: CallLimits, expiry?: boolean): Promise<Session | null>;
  /** Plain writes of `complete`: no marks. */
  setAlone(sid: Sid, session: Session, limits?: CallLimits): Promise<void>;
  touchAlone(sid: Sid, expiresAt: number, limits?: CallLimits): Promise<boolean>;
  destroyAlone(sid: Sid, limits?: CallLimits): Promise<boolean>;
  performAlone(sid: Sid, verb: ConditionalVerb, limits?: CallLimits): Promise<ItemResult>;

  // Administration: many round trips, never on a request's way.
  /** Of a pool: the sids without a server, located at that to which they belong, where R knows it. */
  locate?(sids: readonly Sid[]): Promise<readonly Sid[]>;
  /** All live records under the prefix, a page at a time, each at least once. */
  listRecords(options: { pageSize: number; signal?: AbortSignal }): AsyncIterable<Sid[]>;
  /** All sids with a sidecar, a page at a time, each at least once. */
  listMarked(options: { pageSize: number }): AsyncIterable<Sid[]>;
  /** All sids with open intents, with their ids. */
  listIntents(options: { pageSize: number }): AsyncIterable<{ sid: Sid; intents: string[] }[]>;
  /**
   * Removes the records and sidecars of these buckets, dirty ones too unless they are spared; how many records went.
   * Ignores the seal.
   */
  drop(buckets: BucketRange, options?: DropOptions): Promise<number>;
  /**
   * Removes record and sidecar of every session with open intents, as if all of them were withdrawn, and its name from the
   * dirty index, where one was left behind; how many sessions. Ignores the seal.
   */
  dropIntents(): Promise<number>;
  /** Removes every sidecar and the dirty index. */
  clearMarks(): Promise<void>;
  /** Removes the flags and tokens of all items: for those who only read values from now on. */
  clearItems(): Promise<void>;
  /** Reads the seal: who armed R, for which generation, in which state; null where there is none. */
  seal(): Promise<{ migration: string; generation: string; state: SealState } | null>;
  /**
   * What the seals of all slots say, which may differ where a sealing was broken off, or one server of several restarted
   * with what it held before. Null where some slot has none.
   */
  seals(): Promise<Seals | null>;
  /** Whether R carries the seal of `generation`, but of another run: it restarted or failed over with its data. */
  hasRestarted(): Promise<boolean>;
  /**
   * Writes the seal for this generation and the present run of the server, or the run that is given: a work on R that
   * must not outlive a restart begins by asking for the run (`facts`) and ends by arming that one.
   */
  arm(generation: string, state: SealState, run?: string, stamp?: string): Promise<void>;
  /** Puts a stamp on the seal of an R that is trusted at this very moment, or else rejects with `RedisLost`. */
  stamp(stamp: string): Promise<void>;
  /** Seals an R that is trusted at this very moment as complete, or else rejects with `RedisLost`. */
  complete(): Promise<void>;
  removeSeal(limits?: CallLimits): Promise<void>;
  /** Facts for the gates and the doctor. Bytes; null where the service does not tell. */
  facts(): Promise<RedisFacts>;
  /** Ends the connections of a node on every shard (CLIENT KILL by name). */
  disconnectNode(node: string, limits?: CallLimits): Promise<void>;
  /** Rejects with `RedisUnreachable` or `RedisLost` as a command would. */
  ping(limits?: CallLimits): Promise<void>;
  /** Closes the connections. */
  end(): Promise<void>;
}

export interface RedisFacts {
  readonly version: string;
  readonly runId: string;
  readonly evictionPolicy: string | null;
  readonly usedMemory: number;
  /** 0 for none. */
  readonly maxMemory: number | null;
  readonly persistence: { readonly aof: boolean | null; readonly rdb: boolean | null };
  readonly replicas: number;
  readonly evictedKeys: number;
  /** Redis' clock, milliseconds since the epoch. */
  readonly now: number;
}
