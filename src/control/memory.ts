import {
  type ControlChange,
  type ControlRecord,
  type ControlStore,
  ControlUnreachable,
  type LedgerEntry,
  NodeIdTaken,
  type NodeInfo,
  type NodeRegistration,
  type NodeReport,
  NotSetUp,
  type Renewal,
} from "../ports/control-store.js";
import { decode, encode } from "./json.js";
import { isGround, NO_REPORT } from "./record.js";

interface Migration {
  record: ControlRecord;
  /** Whether an app or proxy node ever joined since setup. */
  joined: boolean;
  readonly nodes: Map<string, NodeInfo>;
  readonly locks: Map<string, { holder: string; until: number }>;
  /** Insertion order is the order of the last put. */
  readonly documents: Map<string, Map<string, string>>;
  readonly ledger: string[];
}

/** What several memory stores share when they stand for several processes on one database. */
export type MemoryControlDatabase = Map<string, Migration>;

/**
 * The control store of the property tests: every method does its work at once, in the call, and returns a promise that
 * is settled already. One instance may serve any number of nodes; `close` closes nothing.
 */
export class MemoryControlStore implements ControlStore {
  readonly kind = "memory";
  /** While true, every method rejects with `ControlUnreachable` and changes nothing. */
  unreachable = false;
  readonly #clock: { now(): number };
  readonly #migration: string;
  readonly #database: MemoryControlDatabase;

  constructor(options: {
    readonly clock: { now(): number };
    readonly migration?: string;
    readonly database?: MemoryControlDatabase;
  }) {
    this.#clock = options.clock;
    this.#migration = options.migration ?? "memory";
    this.#database = options.database ?? new Map();
  }

  setup(initial: ControlChange): Promise<boolean> {
    return this.#do(() => {
      if (this.#database.has(this.#migration)) return false;
      this.#database.set(this.#migration, {
        record: this.#record(1, initial),
        joined: false,
        nodes: new Map(),
        locks: new Map(),
        documents: new Map(),
        ledger: [],
      });
      return true;
    });
  }

  read(): Promise<ControlRecord> {
    return this.#do(() => this.#there().record);
  }

  compareAndSet(revision: number, next: ControlChange): Promise<ControlRecord | null> {
    return this.#do(() => {
      const migration = this.#there();
      if (migration.record.revision !== revision) return null;
      migration.record = this.#record(revision + 1, next);
      return migration.record;
    });
  }

  join(node: NodeRegistration, options: { presence: number }): Promise<ControlRecord> {
    return this.#do(() => {
      const migration = this.#there();
      if (migration.nodes.has(node.id)) throw new NodeIdTaken(`the node id ${node.id} is registered already`);
      const now = this.#clock.now();
      if (node.role !== "job") {
        const present = [...migration.nodes.values()].some(
          (other) => other.role !== "job" && other.state === "live" && now - other.renewedAt <= options.presence,
        );
        if (!present && migration.joined && !isGround(migration.record)) {
          const { record } = migration;
          migration.record = this.#record(record.revision + 1, { ...record, interrupted: true });
        }
        migration.joined = true;
      }
      const { id, role, protocol, host, pid, version } = node;
      const registration = { id, role, protocol, host, pid, version };
      migration.nodes.set(id, { ...registration, report: NO_REPORT, state: "live", joinedAt: now, renewedAt: now });
      return migration.record;
    });
  }

  renew(node: string, report: NodeReport, options: { overdueAfter: number }): Promise<Renewal> {
    return this.#do(() => {
      const { record, nodes } = this.#there();
      const now = this.#clock.now();
      const info = nodes.get(node);
      const accepted = info?.state === "live";
      if (accepted)
        nodes.set(node, { ...info, report: { ...report, endpoints: [...report.endpoints] }, renewedAt: now });
      const overdue = [...nodes.values()]
        .filter((other) => other.id !== node && other.state === "live" && now - other.renewedAt > options.overdueAfter)
        .map((other) => other.id)
        .sort();
      return { record, accepted, overdue };
    });
  }

  leave(node: string): Promise<void> {
    return this.#do(() => this.#remove(node, "live"));
  }

  nodes(): Promise<NodeInfo[]> {
    return this.#do(() => [...this.#there().nodes.values()]);
  }

  evict(node: string, { overdueAfter = Number.NEGATIVE_INFINITY }: { overdueAfter?: number } = {}): Promise<void> {
    return this.#do(() => {
      const nodes = this.#database.get(this.#migration)?.nodes;
      const info = nodes?.get(node);
      if (info && this.#clock.now() - info.renewedAt > overdueAfter) nodes?.set(node, { ...info, state: "evicted" });
    });
  }

  forget(node: string): Promise<void> {
    return this.#do(() => this.#remove(node, "evicted"));
  }

  lock(name: string, holder: string, ttl: number): Promise<boolean> {
    return this.#do(() => {
      const { locks } = this.#there();
      const now = this.#clock.now();
      const lock = locks.get(name);
      if (lock !== undefined && lock.holder !== holder && lock.until > now) return false;
      locks.set(name, { holder, until: now + ttl });
      return true;
    });
  }

  unlock(name: string, holder: string): Promise<void> {
    return this.#do(() => {
      const locks = this.#database.get(this.#migration)?.locks;
      if (locks?.get(name)?.holder === holder) locks.delete(name);
    });
  }

  getDocument<T>(kind: string, id: string): Promise<T | null> {
    return this.#do(() => {
      const body = this.#there().documents.get(kind)?.get(id);
      return body === undefined ? null : decode<T>(body);
    });
  }

  putDocument(kind: string, id: string, body: unknown): Promise<void> {
    return this.#do(() => {
      const { documents } = this.#there();
      const ofKind = documents.get(kind) ?? new Map<string, string>();
      documents.set(kind, ofKind);
      ofKind.delete(id);
      ofKind.set(id, encode(body));
    });
  }

  deleteDocument(kind: string, id: string): Promise<void> {
    return this.#do(() => {
      this.#database.get(this.#migration)?.documents.get(kind)?.delete(id);
    });
  }

  listDocuments<T>(kind: string, limit: number): Promise<{ id: string; body: T }[]> {
    return this.#do(() => {
      const all = [...(this.#there().documents.get(kind) ?? [])].reverse().slice(0, limit);
      return all.map(([id, body]) => ({ id, body: decode<T>(body) }));
    });
  }

  append(entry: Omit<LedgerEntry, "at">): Promise<void> {
    return this.#do(() => {
      const { by, action, detail } = entry;
      this.#there().ledger.push(encode({ at: this.#clock.now(), by, action, detail }));
    });
  }

  ledger(limit: number, skip = 0): Promise<LedgerEntry[]> {
    return this.#do(() => {
      const newest = this.#there()
        .ledger.toReversed()
        .slice(skip, skip + limit);
      return newest.map((text) => decode<LedgerEntry>(text));
    });
  }

  now(): Promise<number> {
    return this.#do(() => this.#clock.now());
  }

  destroy(): Promise<void> {
    return this.#do(() => {
      this.#database.delete(this.#migration);
    });
  }

  async close(): Promise<void> {}

  #do<T>(work: () => T): Promise<T> {
    if (this.unreachable) return Promise.reject(new ControlUnreachable("the control store cannot be reached"));
    try {
      return Promise.resolve(work());
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #there(): Migration {
    const migration = this.#database.get(this.#migration);
    if (migration === undefined) throw new NotSetUp(`there is no control record of ${this.#migration}`);
    return migration;
  }

  #record(revision: number, change: ControlChange): ControlRecord {
    const { generation, interrupted } = change;
    const position = { ...change.position };
    const pending = change.pending && { ...change.pending };
    return Object.freeze({ migration: this.#migration, revision, position, pending, generation, interrupted });
  }

  #remove(node: string, state: NodeInfo["state"]): void {
    const nodes = this.#database.get(this.#migration)?.nodes;
    if (nodes?.get(node)?.state === state) nodes.delete(node);
  }
}
