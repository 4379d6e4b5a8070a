import type { Stretch } from "../../core/drawn.js";
import type { Session, Sid } from "../../core/session.js";
import type { CasToken, ItemResult } from "../../ports/items.js";
import type {
  CallLimits,
  ConditionalAnswer,
  ConditionalVerb,
  DirtyRecord,
  GetsAnswer,
  LeaseAnswer,
  Mode,
  OpenMode,
  Outcome,
  ReadAnswer,
  RecordView,
  RedisRecords,
} from "../../ports/redis-records.js";
import type { ScriptName } from "../../scripts/index.js";
import { RedisAdministration } from "./administration.js";
import { placesBy } from "./by-slot.js";
import type { Argument } from "./connection.js";
import { DirtyIndexes } from "./dirty-indexes.js";
import { ItemKeys, tokenBytes } from "./item-keys.js";
import type { KeyNames } from "./key-names.js";
import type { Call } from "./link.js";
import {
  dirtyNonceOf,
  flagOf,
  getsAnswerOf,
  leaseAnswerOf,
  listOf,
  outcomeArguments,
  readAnswerOf,
  sessionArguments,
  viewOf,
  viewReplyOf,
  wordOf,
} from "./replies.js";
import { type GatheredName, type Item, Requests } from "./requests.js";
import type { Shards } from "./shards.js";
import { Trust } from "./trust.js";
import { hasValue, resultOf, verbArguments } from "./verbs.js";

/** Sessions in one script call: it holds R up for everybody else while it runs. */
const BATCH = 200;

/** Verbs that fail at nothing that may be under a session's key. */
const BLIND: ReadonlySet<ConditionalVerb["verb"]> = new Set(["set", "touch", "delete"]);

/** The mode of a caller that reads R alone. */
const ALONE = "A";
/** A mode L caller does not send the value at first. */
const LATER = ["later", "", ""] as const;

/** How many replicas must have a write before it is answered; 0 for none. */
export interface Replication {
  readonly open: number;
  readonly destroy: number;
}

/** The scripts of the protocol over one Redis; the rule of each stands on top of its Lua file. */
export class RedisScripts extends RedisAdministration implements RedisRecords {
  readonly #items: ItemKeys;
  readonly #requests: Requests;
  readonly #dirty: DirtyIndexes;

  constructor(
    names: KeyNames,
    shards: Shards,
    limits: { readonly call: CallLimits; readonly batch: CallLimits },
    private readonly wait: Replication,
    usualFlags = 0,
  ) {
    const items = new ItemKeys(names.items, usualFlags, names.servers);
    const trust = new Trust(names, shards, limits);
    super(names, shards, trust, limits, items);
    this.#items = items;
    this.#dirty = new DirtyIndexes(names, trust, limits.batch);
    this.#requests = new Requests(names, items, trust, (call, name, slot, sids, args) =>
      this.#script(call, name, slot, sids, args),
    );
  }

  get generation(): string {
    return this.trust.generation;
  }

  set generation(generation: string) {
    this.trust.generation = generation;
  }

  get trustRestarts(): boolean {
    return this.trust.trustRestarts;
  }

  set trustRestarts(trusted: boolean) {
    this.trust.trustRestarts = trusted;
  }

  get keepsFlags(): boolean {
    return this.names.items;
  }

  runOf(sid: Sid): string | null {
    return this.shards.runOf(this.names.slotOf(sid));
  }

  read(sid: Sid, lease: string, limits = this.limits.call, expiry = true): Promise<ReadAnswer> {
    return this.#requests.read(sid, lease, limits, expiry);
  }

  async readMany(sids: readonly Sid[], leases: readonly string[]): Promise<ReadAnswer[]> {
    return this.#batch(
      "read",
      sids,
      (reply) => readAnswerOf(reply, this.#items),
      (i) => [leases[i]!],
      ["values"],
    );
  }

  async leaseMany(sids: readonly Sid[], leases: readonly string[]): Promise<LeaseAnswer[]> {
    return this.#batch("read", sids, leaseAnswerOf, (i) => [leases[i]!], ["states"]);
  }

  async open(
    sid: Sid,
    intent: string,
    mode: OpenMode,
    session: Session | null,
    dirty: string,
    limits = this.limits.call,
    known = false,
  ): Promise<Mode | "dirty"> {
    const way = mode === "R" ? (known ? ALONE : "R") : "L";
    const written = sessionArguments(session, this.#items.at(sid));
    const kind = session === null ? "destroy" : "open";
    const until = performance.now() + limits.deadline;
    const first = mode === "R" ? written : LATER;
    const answer = await this.#request("open", kind, { sid, args: [way, intent, dirty, sid, ...first] }, limits);
    const answered = wordOf(answer, ["L", "R", "?"]);
    if (answered !== "?") return this.#noted(sid, answered);
    if (mode === "L-if-clean") return "dirty";
    const whole = { sid, args: [way, intent, dirty, sid, ...written] };
    return this.#noted(sid, wordOf(await this.#request("open", kind, whole, leftOf(limits, until)), ["L", "R"]));
  }

  async openIf(
    sid: Sid,
    intent: string,
    mode: OpenMode,
    verb: ConditionalVerb,
    lease: string | null,
    known: boolean,
    dirty: string,
    limits = this.limits.call,
  ): Promise<ConditionalAnswer> {
    const begin = [`${mode === "R" ? "R" : "L"}${verb.alone ? 1 : ""}`, intent, dirty, sid, lease ?? "", known ? 1 : 0];
    const until = performance.now() + limits.deadline;
    const run = (sends: boolean, left: CallLimits) =>
      this.#verb(
        "open-if",
        verb,
        { sid, args: counted([...begin, ...verbArguments(verb, this.#items.at(sid), sends)]) },
        left,
      );
    let answer = await run(mode === "R" || (mode === "L" && !hasValue(verb)), limits);
    let word = Buffer.isBuffer(answer) ? answer.toString() : "";
    if (word === "?") {
      if (mode === "L-if-clean") return { answer: "dirty" };
      answer = await run(true, leftOf(limits, until));
      word = Buffer.isBuffer(answer) ? answer.toString() : "";
    }
    if (word === "L" || word === "unknown" || word === "busy") return { answer: word };
    this.#noted(sid, "R");
    return { answer: "R", result: resultOf(answer, verb, this.#items) };
  }

  async gets(
    sid: Sid,
    mode: Mode,
    lease: string,
    known: boolean,
    token: CasToken,
    limits = this.limits.call,
  ): Promise<GetsAnswer> {
    const args = [mode, lease, known ? 1 : 0, tokenBytes(token), this.#items.usualBytes, this.#items.at(sid).mark];
    const slot = this.names.slotOf(sid);
    return this.trust.run(slot, limits, async (call) =>
      getsAnswerOf(await this.#script(call, "gets", slot, [sid], args), this.#items),
    );
  }

  async close(sid: Sid, intent: string, outcome: Outcome, limits = this.limits.call): Promise<void> {
    const args = [intent, ...outcomeArguments(outcome, this.#items.at(sid))];
    await this.#requests.close.call({ sid, args }, limits);
  }

  async fill(sid: Sid, lease: string, session: Session | null, limits = this.limits.call): Promise<boolean> {
    const args = [lease, ...sessionArguments(session, this.#items.at(sid))];
    return flagOf(await this.#requests.fill.call({ sid, args }, limits));
  }

  async fillMany(fills: readonly { sid: Sid; lease: string; session: Session | null }[]): Promise<boolean[]> {
    const written = fills.map(({ sid, lease, session }) => [lease, ...sessionArguments(session, this.#items.at(sid))]);
    return this.#batch("fill", sidsOf(fills), flagOf, (i) => written[i]!);
  }

  async mark(sids: readonly Sid[]): Promise<void> {
    await this.#batch("mark", sids, null, () => []);
  }

  async dirtyRecords(sids: readonly Sid[]): Promise<DirtyRecord[]> {
    const views = await this.#batch(
      "view",
      sids,
      (reply, i) => viewReplyOf(reply, this.#items.at(sids[i]!)),
      () => [],
    );
    return views.map(({ mark, session, seen }, i) => {
      const nonce = dirtyNonceOf(mark);
      return { sid: sids[i]!, nonce, session: nonce === null ? null : session, seen };
    });
  }

  async undirty(records: readonly { sid: Sid; nonce: string; seen: number }[]): Promise<boolean[]> {
    const marks = (i: number) => [records[i]!.nonce, records[i]!.sid, records[i]!.seen];
    return this.#batch("undirty", sidsOf(records), flagOf, marks);
  }

  async reconcile(records: readonly { sid: Sid; dirty: string }[]): Promise<boolean[]> {
    return this.#batch("reconcile", sidsOf(records), flagOf, (i) => [records[i]!.dirty, records[i]!.sid]);
  }

  async dirtySids(limit: number, { from = "front" }: { from?: Stretch } = {}): Promise<Sid[]> {
    return limit < 1 ? [] : this.#dirty.some(limit, from);
  }

  dirtyState({ roughly = false }: { roughly?: boolean } = {}): Promise<{ count: number; oldestAge: number }> {
    return this.#dirty.state(roughly);
  }

  async push(records: readonly { sid: Sid; dirty: string }[]): Promise<void> {
    await this.#batch("push", sidsOf(records), null, (i) => [records[i]!.dirty, records[i]!.sid]);
    for (const { sid } of records) this.#noted(sid, "R");
  }

  async view(sids: readonly Sid[], limits = this.limits.batch): Promise<RecordView[]> {
    return this.#batch(
      "view",
      sids,
      (reply, i) => viewOf(reply, this.#items.at(sids[i]!)),
      () => [],
      [],
      limits,
    );
  }

  readAlone(sid: Sid, limits = this.limits.call, expiry = true): Promise<Session | null> {
    return this.#requests.readAlone(sid, limits, expiry);
  }

  async setAlone(sid: Sid, session: Session, limits = this.limits.call): Promise<void> {
    await this.performAlone(sid, { verb: "set", session }, limits);
  }

  async touchAlone(sid: Sid, expiresAt: number, limits = this.limits.call): Promise<boolean> {
    return (await this.performAlone(sid, { verb: "touch", expiresAt }, limits)).result === "done";
  }

  async destroyAlone(sid: Sid, limits = this.limits.call): Promise<boolean> {
    return (await this.performAlone(sid, { verb: "delete", token: 0n }, limits)).result === "done";
  }

  async performAlone(sid: Sid, verb: ConditionalVerb, limits = this.limits.call): Promise<ItemResult> {
    const item = { sid, args: counted(verbArguments(verb, this.#items.at(sid), true)) };
    return resultOf(await this.#verb("alone", verb, item, limits), verb, this.#items);
  }

  hasRestarted(): Promise<boolean> {
    return this.trust.hasRestarted();
  }

  ping(limits = this.limits.call): Promise<void> {
    return this.trust.ping(limits);
  }

  stamp(stamp: string): Promise<void> {
    return this.trust.rewrite((seal) => ({ ...seal, stamp }));
  }

  complete(): Promise<void> {
    return this.trust.rewrite(({ stamp: _, ...seal }) => ({ ...seal, state: "complete" }));
  }

  override async end(): Promise<void> {
    this.#requests.flush();
    await super.end();
  }

  /** A verb that looks at what is there may fail at it, which must not be the trouble of others. */
  #verb(name: "open-if" | "alone", verb: ConditionalVerb, item: Item, limits: CallLimits): Promise<unknown> {
    const kind = verb.verb === "delete" ? "destroy" : "open";
    return this.#request(name, kind, item, limits, !BLIND.has(verb.verb));
  }

  /** With others of this turn; by itself where that is asked for, and on a lane where replicas must have it. */
  async #request(
    name: GatheredName,
    kind: keyof Replication,
    item: Item,
    limits: CallLimits,
    apart = false,
  ): Promise<unknown> {
    const replicas = kind === "destroy" ? Math.max(this.wait.open, this.wait.destroy) : this.wait.open;
    if (replicas === 0 && !apart) return this.#requests[name].call(item, limits);
    // What ends an operation reaches R before what begins the next one: two that overlap leave nothing in R.
    this.#requests.flush();
    const slot = this.names.slotOf(item.sid);
    const perform = (call: Call) => this.#requests.forEach(call, name, slot, [item]);
    const [answer] = await (replicas === 0
      ? this.trust.run(slot, limits, perform)
      : this.trust.runReplicated(slot, limits, replicas, perform));
    return answer;
  }

  /** Where R was written, it is ahead of L. */
  #noted<T extends Mode>(sid: Sid, answered: T): T {
    if (answered === "R") this.#dirty.note(this.names.slotOf(sid));
    return answered;
  }

  #script(
    call: Call,
    name: ScriptName,
    slot: number,
    sids: readonly Sid[],
    args: readonly Argument[],
  ): Promise<unknown> {
    const { connection } = call;
    const keys = this.names.ofScript(slot, sids);
    return connection.script(name, keys, [this.trust.beginning(connection), ...args], () => call.check());
  }

  /**
   * Pieces of one slot each, which travel together; what the script answers for each session, in order, where it answers
   * anything.
   */
  async #batch<T>(
    name: ScriptName,
    sids: readonly Sid[],
    answerOf: ((reply: unknown, i: number) => T) | null,
    argumentsOf: (i: number) => readonly Argument[],
    rest: readonly Argument[] = [],
    limits = this.limits.batch,
  ): Promise<T[]> {
    const answers = new Array<T>(answerOf === null ? 0 : sids.length);
    const pieces: Promise<void>[] = [];
    const perform = async (slot: number, places: readonly number[]) => {
      const piece = places.map((place) => sids[place]!);
      const args = [...places.flatMap(argumentsOf), ...rest];
      const reply = await this.trust.run(slot, limits, (call) => this.#script(call, name, slot, piece, args));
      if (answerOf === null) return;
      listOf(reply, places.length).forEach((each, i) => {
        answers[places[i]!] = answerOf(each, places[i]!);
      });
    };
    for (const [slot, places] of placesBy(sids, (sid) => this.names.slotOf(sid))) {
      for (let from = 0; from < places.length; from += BATCH) {
        pieces.push(perform(slot, places.slice(from, from + BATCH)));
      }
    }
    await Promise.all(pieces);
    return answers;
  }
}

const sidsOf = (items: readonly { sid: Sid }[]): Sid[] => items.map(({ sid }) => sid);

const counted = (args: readonly Argument[]): Argument[] => [args.length, ...args];

function leftOf(limits: CallLimits, until: number): CallLimits {
  return { ...limits, deadline: Math.max(1, until - performance.now()) };
}
