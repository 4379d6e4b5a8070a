import {
  type ControlChange,
  type ControlRecord,
  type ControlStore,
  type LedgerEntry,
  NodeIdTaken,
  type NodeInfo,
  type NodeRegistration,
  type NodeReport,
  NotSetUp,
  type Renewal,
} from "../ports/control-store.js";
import { encode } from "./json.js";
import type { ControlOptions } from "./options.js";
import { decoded, decodedObject, isGround, NO_REPORT, soundRecord, span, unreadable } from "./record.js";
import { RedisLink, type Script } from "./redis-link.js";
import * as scripts from "./redis-scripts.js";

/**
 * The control store in Redis: every method is one script, so that it is atomic and its times are Redis' own. It is as
 * durable as that Redis: where an acknowledged write may be lost (a failover, appendfsync everysec) the revision may
 * go back, which the nodes notice and refuse.
 */
export class RedisControlStore implements ControlStore {
  readonly kind = "redis";
  readonly #link: RedisLink;
  readonly #migration: string;
  /** One hash tag for all keys of a migration: one slot of a Cluster. */
  readonly #prefix: string;
  readonly #keys: readonly string[];

  constructor(url: string, options: ControlOptions) {
    this.#link = new RedisLink(url, options);
    this.#migration = options.migration;
    this.#prefix = `{sf:${options.migration}}:control:`;
    this.#keys = scripts.KEYS.map((name) => this.#prefix + name);
  }

  async setup(initial: ControlChange): Promise<boolean> {
    return (await this.#link.run(scripts.SETUP, this.#keys, fieldsOf(initial))) === 1;
  }

  async read(): Promise<ControlRecord> {
    return this.#record(await this.#there(scripts.READ, []));
  }

  async compareAndSet(revision: number, next: ControlChange): Promise<ControlRecord | null> {
    const answer = await this.#there(scripts.COMPARE_AND_SET, [revision, ...fieldsOf(next)]);
    return answer === 0 ? null : this.#record(answer);
  }

  async join(node: NodeRegistration, options: { presence: number }): Promise<ControlRecord> {
    const { id, role, protocol, host, pid, version } = node;
    const registration = encode({ id, role, protocol, host, pid, version });
    const answer = await this.#there(scripts.JOIN, [id, registration, role === "job" ? 0 : 1, span(options.presence)]);
    if (answer === 0) throw new NodeIdTaken(`the node id ${id} is registered already`);
    return this.#record(answer);
  }

  async renew(node: string, report: NodeReport, options: { overdueAfter: number }): Promise<Renewal> {
    const answer = await this.#there(scripts.RENEW, [node, encode(report), span(options.overdueAfter)]);
    const [record, accepted, overdue] = listOf(answer);
    return { record: this.#record(record), accepted: accepted === 1, overdue: listOf(overdue).map(String).sort() };
  }

  async leave(node: string): Promise<void> {
    await this.#run(scripts.LEAVE, [node]);
  }

  async nodes(): Promise<NodeInfo[]> {
    const answer = await this.#there(scripts.NODES, []);
    const [registrations, joined, reports, live, evicted] = listOf(answer).map(pairsOf) as [
      Pairs,
      Pairs,
      Pairs,
      Pairs,
      Pairs,
    ];
    const infos = [...registrations].map(([id, registration]): NodeInfo => {
      const report = reports.get(id);
      return {
        ...decodedObject<NodeRegistration>(registration, "node"),
        id,
        report: report === undefined ? NO_REPORT : decodedObject<NodeReport>(report, "node's report"),
        state: evicted.has(id) ? "evicted" : "live",
        joinedAt: timeOf(joined.get(id)),
        renewedAt: timeOf(evicted.get(id) ?? live.get(id)),
      };
    });
    return infos.sort((a, b) => a.joinedAt - b.joinedAt || (a.id < b.id ? -1 : 1));
  }

  async evict(node: string, { overdueAfter }: { overdueAfter?: number } = {}): Promise<void> {
    await this.#run(scripts.EVICT, [node, overdueAfter === undefined ? "" : span(overdueAfter)]);
  }

  async forget(node: string): Promise<void> {
    await this.#run(scripts.FORGET, [node]);
  }

  async lock(name: string, holder: string, ttl: number): Promise<boolean> {
    return (await this.#there(scripts.LOCK, [name, holder, span(ttl)])) === 1;
  }

  async unlock(name: string, holder: string): Promise<void> {
    await this.#run(scripts.UNLOCK, [name, holder]);
  }

  async getDocument<T>(kind: string, id: string): Promise<T | null> {
    const [body] = listOf(await this.#there(scripts.GET_DOCUMENT, [id], kind));
    return body === undefined ? null : decoded<T>(body, `document (${kind})`);
  }

  async putDocument(kind: string, id: string, body: unknown): Promise<void> {
    await this.#there(scripts.PUT_DOCUMENT, [kind, id, encode(body)], kind);
  }

  async deleteDocument(kind: string, id: string): Promise<void> {
    await this.#run(scripts.DELETE_DOCUMENT, [id], kind);
  }

  async listDocuments<T>(kind: string, limit: number): Promise<{ id: string; body: T }[]> {
    if (limit <= 0) return [];
    const answer = await this.#there(scripts.LIST_DOCUMENTS, [limit], kind);
    return [...pairsOf(answer)].map(([id, body]) => ({ id, body: decoded<T>(body, `document (${kind})`) }));
  }

  async append(entry: Omit<LedgerEntry, "at">): Promise<void> {
    const { by, action, detail } = entry;
    await this.#there(scripts.APPEND, [encode({ by, action, detail })]);
  }

  async ledger(limit: number, skip = 0): Promise<LedgerEntry[]> {
    if (limit <= 0) return [];
    const lines = listOf(await this.#there(scripts.LEDGER, [skip, skip + limit - 1])).map(String);
    return lines.map((line) => {
      const [, at, entry] = /^(\d{1,16}) (.*)$/s.exec(line) ?? [];
      if (at === undefined) throw unreadable("line of the ledger");
      return { at: Number(at), ...decodedObject<Omit<LedgerEntry, "at">>(entry, "line of the ledger") };
    });
  }

  now(): Promise<number> {
    return this.#link.now();
  }

  /** In two steps, because a script must be given all keys that it touches: repeated if a kind came in between. */
  async destroy(): Promise<void> {
    for (let done: unknown = 0; done !== 1; ) {
      const kinds = listOf(await this.#link.run(scripts.KINDS, this.#keys, [])).map(String);
      const keys = [...this.#keys, ...kinds.flatMap((kind) => this.#documentKeys(kind))];
      done = await this.#link.run(scripts.DESTROY, keys, [kinds.length]);
    }
  }

  close(): Promise<void> {
    return this.#link.close();
  }

  #run(script: Script, args: readonly (string | number)[], kind?: string): Promise<unknown> {
    const keys = kind === undefined ? this.#keys : [...this.#keys, ...this.#documentKeys(kind)];
    return this.#link.run(script, keys, args);
  }

  async #there(script: Script, args: readonly (string | number)[], kind?: string): Promise<unknown> {
    const answer = await this.#run(script, args, kind);
    if (answer === null) throw new NotSetUp(`there is no control record of ${this.#migration}`);
    return answer;
  }

  #documentKeys(kind: string): [string, string] {
    return [`${this.#prefix}docs:${kind}`, `${this.#prefix}order:${kind}`];
  }

  #record(answer: unknown): ControlRecord {
    const [revision, position, pending, generation, interrupted] = listOf(answer);
    const what = `record of ${this.#migration}`;
    return soundRecord(this.#migration, {
      revision: Number(revision),
      position: decoded(position, what),
      pending: decoded(pending, what),
      generation,
      interrupted: interrupted === "1",
    });
  }
}

type Pairs = Map<string, string>;

function pairsOf(answer: unknown): Pairs {
  const flat = listOf(answer);
  const pairs: Pairs = new Map();
  for (let i = 0; i + 1 < flat.length; i += 2) pairs.set(String(flat[i]), String(flat[i + 1]));
  return pairs;
}

/** A node whose time is lost is not lost with it: it counts as silent since ever. */
function timeOf(text: string | undefined): number {
  const time = Number(text);
  return Number.isFinite(time) ? time : 0;
}

function listOf(answer: unknown): unknown[] {
  if (!Array.isArray(answer)) throw unreadable("reply");
  return answer;
}

/** position, pending, generation, interrupted, ground: as the scripts number them. */
function fieldsOf(change: ControlChange): (string | number)[] {
  const { position, pending, generation, interrupted } = change;
  return [encode(position), encode(pending), generation, interrupted ? 1 : 0, isGround(change) ? 1 : 0];
}
