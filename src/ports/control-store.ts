import type { Position, Transition } from "../core/phase.js";

/** The protocol number of this build: nodes of another number never share a transition. */
export const PROTOCOL_NUMBER = 2;

/** The one record that steers a migration. */
export interface ControlRecord {
  readonly migration: string;
  /** Grows by one with every change and never goes back. */
  readonly revision: number;
  /** The settled position; while a transition is pending, the one it left. */
  readonly position: Position;
  readonly pending: Transition | null;
  /** The generation of R that nodes trust: drawn anew whenever R's content stops being trusted. */
  readonly generation: string;
  /** Set by `join` when no node was there: see rule 11. Cleared by the node that set the position back. */
  readonly interrupted: boolean;
}

/** Everything of the record that `compareAndSet` may change. */
export type ControlChange = Omit<ControlRecord, "migration" | "revision">;

export type NodeRole = "app" | "proxy" | "job";

export interface NodeRegistration {
  readonly id: string;
  readonly role: NodeRole;
  readonly protocol: number;
  readonly host: string;
  readonly pid: number;
  readonly version: string;
}

/** What a node reports with each renewal. Figures cover the time since the previous renewal unless they say otherwise. */
export interface NodeReport {
  /** The revision whose routes the node has taken and whose predecessors' operations have all ended. */
  readonly acknowledged: number;
  /**
   * The revision before which no operation of the node is under way any more, whatever it still owes R; what a node
   * that does not tell has acknowledged.
   */
  readonly drained?: number;
  /** Entries in the node's gap. */
  readonly gap: number;
  /** "up", or why R is not used at the moment. */
  readonly redis: "up" | "down" | "lost" | "unused";
  readonly operations: number;
  readonly errors: number;
  /** 95th percentile of the requests' latency in milliseconds over the last minute; null without requests. */
  readonly p95: number | null;
  /** Local endpoints of its connections to L, where L needs them to be told apart (memcached). */
  readonly endpoints: readonly string[];
}

export type NodeState = "live" | "evicted";

export interface NodeInfo extends NodeRegistration {
  readonly report: NodeReport;
  readonly state: NodeState;
  /** Milliseconds since the epoch by the control store's clock. */
  readonly joinedAt: number;
  readonly renewedAt: number;
}

export interface Renewal {
  readonly record: ControlRecord;
  /** False: this node was evicted, or was never there; it must stop, and may join again under a new id. */
  readonly accepted: boolean;
  /** Live nodes whose last renewal is older than the limit given to `renew`. */
  readonly overdue: readonly string[];
}

export interface LedgerEntry {
  /** Milliseconds since the epoch by the control store's clock; given by the store. */
  readonly at: number;
  readonly by: string;
  /** setup, advance, rollback, reverse, demote, interrupted, rearm, evict, backfill, check, void, cleanup, ... */
  readonly action: string;
  readonly detail: Readonly<Record<string, unknown>>;
}

/** Rejections of every method when the store cannot be reached; nothing changed unless `sent`. */
export class ControlUnreachable extends Error {
  override readonly name = "ControlUnreachable";
  /** True when the statement went out and its reply did not come: it may have been carried out, or still be. */
  readonly sent: boolean;

  constructor(message: string, options: { readonly sent?: boolean; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.sent = options.sent ?? false;
  }
}

/**
 * There is no control record. Rejection of every method but `setup`, `now`, `destroy`, `close` and those that only
 * remove (`leave`, `evict`, `forget`, `unlock`, `deleteDocument`), for which it is the end they wanted.
 */
export class NotSetUp extends Error {
  override readonly name = "NotSetUp";
}

/** `join` under an id that is registered already, live or evicted: an id names one process and is never used again. */
export class NodeIdTaken extends Error {
  override readonly name = "NodeIdTaken";
}

/**
 * The steering of one migration. All times are the store's own clock, so that nodes with clocks apart agree.
 */
export interface ControlStore {
  readonly kind: "postgres" | "redis" | "memory";

  /** Creates tables (or nothing) and the record if there is none; idempotent. True when it made the record. */
  setup(initial: ControlChange): Promise<boolean>;
  /** Rejects with `NotSetUp` when there is no record. */
  read(): Promise<ControlRecord>;
  /** Replaces the record if its revision still is `revision`; the new record, or null when somebody was faster. */
  compareAndSet(revision: number, next: ControlChange): Promise<ControlRecord | null>;

  /**
   * Registers a node, atomically with the question whether any other app or proxy node is live (not evicted and
   * renewed within `presence` ms). If none is, the record becomes `interrupted` (with a new revision), unless the
   * position is legacy 100 % without a pending transition, or no app or proxy node ever joined since setup. Jobs
   * never interrupt and are no presence. A record that is interrupted already gets a new revision all the same, so
   * that whoever was setting it back finds out that the fleet was away once more. Rejects with `NodeIdTaken`.
   */
  join(node: NodeRegistration, options: { presence: number }): Promise<ControlRecord>;
  /** One round trip: renews, stores the report, and brings the record and the nodes overdue by `overdueAfter` ms. */
  renew(node: string, report: NodeReport, options: { overdueAfter: number }): Promise<Renewal>;
  leave(node: string): Promise<void>;
  nodes(): Promise<NodeInfo[]>;
  /**
   * From now on its renewals are refused; it stays listed as `evicted` until `forget`. With `overdueAfter` (ms) only if
   * its last renewal is older than that at this moment.
   */
  evict(node: string, options?: { overdueAfter?: number }): Promise<void>;
  /** Removes an evicted node whose connections have ended and whose intents were swept. */
  forget(node: string): Promise<void>;

  /**
   * Takes the named lock for `ttl` ms, or renews it for the same holder; false when another holds it. The coordinator
   * (`phase`), the backfill, the eviction of a node and the re-arming of R take one each.
   */
  lock(name: string, holder: string, ttl: number): Promise<boolean>;
  unlock(name: string, holder: string): Promise<void>;

  /** Small JSON documents: backfill checkpoints, check results, evidence, the digest key. Null where there is none. */
  getDocument<T>(kind: string, id: string): Promise<T | null>;
  putDocument(kind: string, id: string, body: unknown): Promise<void>;
  deleteDocument(kind: string, id: string): Promise<void>;
  /** Newest first, by when they were last put. */
  listDocuments<T>(kind: string, limit: number): Promise<{ id: string; body: T }[]>;

  append(entry: Omit<LedgerEntry, "at">): Promise<void>;
  /** Newest first, without so many of the newest. */
  ledger(limit: number, skip?: number): Promise<LedgerEntry[]>;

  now(): Promise<number>;
  /** Removes everything of this migration: record, nodes, documents, ledger; the tables too when nobody else is in. */
  destroy(): Promise<void>;
  close(): Promise<void>;
}
