import type { Session, Sid } from "../core/session.js";

/**
 * Proof of what L held for one sid at one moment; only its own store can read it. A token never stands for "absent":
 * where L has no row the store puts an already expired (or, in memcached, a short-lived and invisible) placeholder in
 * and gives that one's token, because "absent" would still match after somebody wrote and deleted (rule 4).
 */
export interface Token {
  readonly sid: Sid;
}

export interface ConditionalChange {
  readonly token: Token;
  /** null deletes. */
  readonly session: Session | null;
}

/** Thrown by a write whose outcome L did not tell: its reply was lost or came too late. */
export class OutcomeUnknown extends Error {
  /**
   * @param settled resolves once the write can no longer take effect on L (its statement or connection has ended);
   *   it never rejects and may take as long as L is away.
   */
  constructor(
    message: string,
    readonly settled: Promise<void>,
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.name = "OutcomeUnknown";
  }
}

/**
 * What became of a conditional change. `changed`: its token does not stand any more; `refused`: L never takes such a value,
 * whoever tries it (too large for memcached, against a constraint of the table).
 */
export type Applied = "applied" | "changed" | "refused";

/** Thrown when L could not be reached and the command certainly was not carried out. */
export class LegacyUnreachable extends Error {
  override readonly name = "LegacyUnreachable";
}

/** Thrown when L answered and refused the command: nothing changed. Its text holds neither a sid nor a value. */
export class LegacyRefused extends Error {
  override readonly name = "LegacyRefused";

  /** @param code the store's own: a SQLSTATE, or memcached's first word. */
  constructor(
    message: string,
    readonly code: string,
  ) {
    super(message);
  }
}

export interface ListOptions {
  readonly after?: Sid;
  readonly pageSize: number;
  readonly signal?: AbortSignal;
  /**
   * Also names that may be no session any more, where to leave them out costs a look at each: for whoever reads what is
   * listed, and finds out.
   */
  readonly unverified?: boolean;
}

/**
 * L. Every method is one round trip (a batch: one per server) and knows only live sessions: an expired row is absent.
 * Absolute expiries in milliseconds; the store rounds as its own format asks. Writes reject with `OutcomeUnknown`,
 * `LegacyUnreachable`, or, when L refused (nothing changed then), with `LegacyRefused` or a `FerryError` where the
 * catalogue has a code for the cause (VALUE_INVALID, VALUE_TOO_LARGE, KEY_TOO_LONG, TABLE_UNSUITABLE, ...).
 */
export interface LegacyStore {
  readonly kind: "postgres" | "memcached" | "memory";
  /** True where L may lose sessions by itself (memcached): then a missing session is no evidence of a destroy. */
  readonly lossy: boolean;
  /** Finest expiry L can express, in milliseconds: 1000 for memcached. */
  readonly expiryGranularity: number;

  get(sid: Sid): Promise<Session | null>;
  getMany(sids: readonly Sid[]): Promise<(Session | null)[]>;
  /** Which of them are there, without their values. */
  holds(sids: readonly Sid[]): Promise<boolean[]>;
  set(sid: Sid, session: Session): Promise<void>;
  /** Moves the expiry; false when L has no live session of that id. */
  touch(sid: Sid, expiresAt: number): Promise<boolean>;
  /** Removes it; true when there was something to remove. */
  destroy(sid: Sid): Promise<boolean>;

  /** Rule 4: takes a token for each sid; null where a concurrent change kept it from being taken. */
  tokens(sids: readonly Sid[]): Promise<(Token | null)[]>;
  /** Rule 4: writes or deletes each only if its token still stands, on the connection that gave the token. */
  applyIf(changes: readonly ConditionalChange[]): Promise<Applied[]>;
  /**
   * Of several servers the one that has this session, as something to compare: known without asking. What one of them holds
   * up need not hold up the sessions of another.
   */
  serverOf?(sid: Sid): object | null;

  /**
   * Live sids in the store's own stable order, a page at a time, from just after the sid `after`. A listing that runs
   * under writes may miss sessions written meanwhile (they are mirrored anyway): it is never proof of completeness.
   */
  list(options: ListOptions): AsyncIterable<Sid[]>;
  /** An independent count of what is there (a COUNT, or the server's own statistics). */
  count(): Promise<number>;
  /**
   * Of a pool (several servers whose client's rule is not known): the sids with the servers that hold them, those that
   * say one already as they are. Where several do, the one whose copy is the session; where none does, some one.
   */
  locate?(sids: readonly Sid[]): Promise<readonly Sid[]>;
  /** Of a pool: old copies of sessions that another server has, as the last listing found them. */
  duplicates?(): Promise<readonly Sid[]>;
  /**
   * Removes rows that expired a while ago, as long as `goOn` says so; how many went. Nothing to do where the server does
   * it itself.
   */
  prune(goOn?: () => boolean): Promise<number>;
  /** Changes when L was replaced by another server or lost its memory: system id and timeline, or start time. */
  identity(): Promise<string>;
  /** L's clock, milliseconds since the epoch. */
  now(): Promise<number>;
  /** Waits until no connection of that node is left, ending them where the server allows. False: still there. */
  disconnectNode(node: string, endpoints: readonly string[]): Promise<boolean>;
  close(): Promise<void>;
}
