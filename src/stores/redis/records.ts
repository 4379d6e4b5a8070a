import type { Session, Sid } from "../../core/session.js";
import type { CasToken, ItemResult } from "../../ports/items.js";
import {
  type CallLimits,
  type ConditionalAnswer,
  type ConditionalVerb,
  type DirtyRecord,
  type GetsAnswer,
  type LeaseAnswer,
  type Mode,
  type Outcome,
  type ReadAnswer,
  type RecordView,
  RedisLost,
  type RedisRecords,
} from "../../ports/redis-records.js";
import type { ScriptName } from "../../scripts/index.js";
import { RedisAdministration } from "./administration.js";
import type { Argument, Connection } from "./connection.js";
import { SealMismatch } from "./failures.js";
import { ItemKeys, tokenBytes } from "./item-keys.js";
import type { KeyNames } from "./key-names.js";
import type { Lanes } from "./lanes.js";
import type { Call, Link } from "./link.js";
import {
  bytesOrNull,
  dirtyNonceOf,
  flagOf,
  getsAnswerOf,
  leaseAnswerOf,
  listOf,
  millisecondsOf,
  outcomeArguments,
  readAnswerOf,
  sessionArguments,
  viewOf,
  viewReplyOf,
  wholeOf,
  wordOf,
} from "./replies.js";
import { type GatheredName, type Item, Requests } from "./requests.js";
import { decodeSeal, encodeSeal, type Seal, sealBeginning } from "./seal.js";
import { hasValue, resultOf, verbArguments } from "./verbs.js";

/** Sessions in one script call: it holds R up for everybody else while it runs. */
const BATCH = 200;

/** Verbs that fail at nothing that may be under a session's key. */
const BLIND: ReadonlySet<ConditionalVerb["verb"]> = new Set(["set", "touch", "delete"]);

/** A mode L caller does not send the value at first. */
const LATER = ["later", "", ""] as const;

/** How many replicas must have a write before it is answered; 0 for none. */
export interface Replication {
  readonly open: number;
  readonly destroy: number;
}

/** The scripts of the protocol over one Redis; the rule of each stands on top of its Lua file. */
export class RedisScripts extends RedisAdministration implements RedisRecords {
  generation = "";
  trustRestarts = false;
  #expected = { generation: "", run: "", beginning: "" };
  readonly #items: ItemKeys;
  readonly #requests: Requests;

  constructor(
    names: KeyNames,
    link: Link,
    limits: { readonly call: CallLimits; readonly batch: CallLimits },
    private readonly lanes: Lanes,
    private readonly wait: Replication,
    usualFlags = 0,
  ) {
    const items = new ItemKeys(names.items, usualFlags, names.servers);
    super(names, link, limits, items);
    this.#items = items;
    this.#requests = new Requests(names, this.#items, {
      sealed: (given, perform) => this.#sealed(given, perform),
      script: (call, name, sids, args) => this.#script(call, name, sids, args),
      expectSeal: (connection, seal) => this.#expectSeal(connection, seal),
    });
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
    mode: Mode,
    session: Session | null,
    dirty: string,
    limits = this.limits.call,
  ): Promise<Mode> {
    const written = sessionArguments(session, this.#items.at(sid));
    const kind = session === null ? "destroy" : "open";
    const until = performance.now() + limits.deadline;
    const first = mode === "L" ? LATER : written;
    const answer = await this.#request("open", kind, { sid, args: [mode, intent, dirty, sid, ...first] }, limits);
    const answered = wordOf(answer, ["L", "R", "?"]);
    if (answered !== "?") return answered;
    const whole = { sid, args: [mode, intent, dirty, sid, ...written] };
    return wordOf(await this.#request("open", kind, whole, leftOf(limits, until)), ["L", "R"]);
  }

  async openIf(
    sid: Sid,
    intent: string,
    mode: Mode,
    verb: ConditionalVerb,
    lease: string | null,
    known: boolean,
    dirty: string,
    limits = this.limits.call,
  ): Promise<ConditionalAnswer> {
    const begin = [verb.alone ? `${mode}1` : mode, intent, dirty, sid, lease ?? "", known ? 1 : 0];
    const until = performance.now() + limits.deadline;
    const run = (sends: boolean, left: CallLimits) =>
      this.#verb(
        "open-if",
        verb,
        { sid, args: counted([...begin, ...verbArguments(verb, this.#items.at(sid), sends)]) },
        left,
      );
    let answer = await run(mode === "R" || !hasValue(verb), limits);
    let word = Buffer.isBuffer(answer) ? answer.toString() : "";
    if (word === "?") {
      answer = await run(true, leftOf(limits, until));
      word = Buffer.isBuffer(answer) ? answer.toString() : "";
    }
    if (word === "L" || word === "unknown" || word === "busy") return { answer: word };
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
    return this.#sealed(limits, async (call) =>
      getsAnswerOf(await this.#script(call, "gets", [sid], args), this.#items),
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
    return views.map(({ mark, session }, i) => {
      const nonce = dirtyNonceOf(mark);
      return { sid: sids[i]!, nonce, session: nonce === null ? null : session };
    });
  }

  async undirty(records: readonly { sid: Sid; nonce: string }[]): Promise<boolean[]> {
    return this.#batch("undirty", sidsOf(records), flagOf, (i) => [records[i]!.nonce, records[i]!.sid]);
  }

  async reconcile(records: readonly { sid: Sid; dirty: string }[]): Promise<boolean[]> {
    return this.#batch("reconcile", sidsOf(records), flagOf, (i) => [records[i]!.dirty, records[i]!.sid]);
  }

  async dirtySids(limit: number): Promise<Sid[]> {
    if (limit < 1) return [];
    return this.#sealed(this.limits.batch, async ({ connection }) => {
      const [seal, found] = await Promise.all([
        this.sealIn(connection),
        connection.send("ZRANGE", this.names.dirtyIndex(), 0, limit - 1),
      ]);
      this.#expectSeal(connection, seal);
      return listOf(found).map(String);
    });
  }

  async dirtyState(): Promise<{ count: number; oldestAge: number }> {
    return this.#sealed(this.limits.batch, async ({ connection }) => {
      const index = this.names.dirtyIndex();
      const [seal, count, oldest, time] = await Promise.all([
        this.sealIn(connection),
        connection.send("ZCARD", index),
        // Destroys have scores below zero.
        connection.send("ZRANGEBYSCORE", index, 0, "+inf", "WITHSCORES", "LIMIT", 0, 1),
        connection.send("TIME"),
      ]);
      this.#expectSeal(connection, seal);
      const since = bytesOrNull(listOf(oldest)[1]);
      const oldestAge = since === null ? 0 : Math.max(0, millisecondsOf(time) - wholeOf(Number(since)));
      return { count: wholeOf(count), oldestAge };
    });
  }

  async push(records: readonly { sid: Sid; dirty: string }[]): Promise<void> {
    await this.#batch("push", sidsOf(records), null, (i) => [records[i]!.dirty, records[i]!.sid]);
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

  async hasRestarted(): Promise<boolean> {
    return this.link.run(this.limits.call, async ({ connection }) => {
      const text = await this.sealIn(connection);
      const seal = text === null ? null : decodeSeal(String(text));
      return seal !== null && this.#isOurs(seal) && seal.run !== connection.run;
    });
  }

  async ping(limits = this.limits.call): Promise<void> {
    await this.#sealed(limits, async ({ connection }) => {
      this.#expectSeal(connection, await this.sealIn(connection));
    });
  }

  async stamp(stamp: string): Promise<void> {
    await this.#sealed(this.limits.batch, async (call) => {
      const text = await this.sealIn(call.connection);
      this.#expectSeal(call.connection, text);
      const next = encodeSeal({ ...decodeSeal(String(text))!, stamp });
      if (!(await this.#reseal(call, String(text), next))) throw new SealMismatch();
    });
  }

  override async end(): Promise<void> {
    this.#requests.flush();
    this.lanes.end();
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
    const perform = (call: Call) => this.#requests.forEach(call, name, [item]);
    const [answer] = await (replicas === 0
      ? this.#sealed(limits, perform)
      : this.lanes.run(limits, replicas, (call) => this.#unlessLost(call, perform)));
    return answer;
  }

  #script(call: Call, name: ScriptName, sids: readonly Sid[], args: readonly Argument[]): Promise<unknown> {
    const { connection } = call;
    return connection.script(name, this.names.ofScript(sids), [this.#beginning(connection), ...args], () =>
      call.check(),
    );
  }

  /** Pieces that travel together; what the script answers for each session, in order, where it answers anything. */
  async #batch<T>(
    name: ScriptName,
    sids: readonly Sid[],
    answerOf: ((reply: unknown, i: number) => T) | null,
    argumentsOf: (i: number) => readonly Argument[],
    rest: readonly Argument[] = [],
    limits = this.limits.batch,
  ): Promise<T[]> {
    if (sids.length === 0) return [];
    return this.#sealed(limits, async (call) => {
      const pieces: Promise<unknown>[] = [];
      for (let from = 0; from < sids.length; from += BATCH) {
        const piece = sids.slice(from, from + BATCH);
        pieces.push(this.#script(call, name, piece, [...piece.flatMap((_, i) => argumentsOf(from + i)), ...rest]));
      }
      const replies = await Promise.all(pieces);
      if (answerOf === null) return [];
      return listOf(
        replies.flatMap((reply) => listOf(reply)),
        sids.length,
      ).map(answerOf);
    });
  }

  #sealed<T>(limits: CallLimits, perform: (call: Call) => Promise<T>): Promise<T> {
    return this.link.run(limits, (call) => this.#unlessLost(call, perform));
  }

  /** Rule 10. A mismatch of the seal did nothing, so the call may be made again once the run is accepted. */
  async #unlessLost<T>(call: Call, perform: (call: Call) => Promise<T>): Promise<T> {
    try {
      return await perform(call);
    } catch (error) {
      if (!(error instanceof SealMismatch)) throw error;
      call.check();
      if (!this.trustRestarts || !(await this.#acceptRun(call))) {
        throw lost();
      }
      call.check();
      return perform(call).catch((again: unknown) => {
        throw again instanceof SealMismatch ? lost() : again;
      });
    }
  }

  async #acceptRun(call: Call): Promise<boolean> {
    const { connection } = call;
    const text = await this.sealIn(connection);
    call.check();
    const seal = text === null ? null : decodeSeal(String(text));
    if (seal === null || !this.#isOurs(seal)) return false;
    await this.#reseal(call, String(text), encodeSeal({ ...seal, run: connection.run }));
    return true;
  }

  /** False: somebody changed the seal meanwhile. */
  async #reseal(call: Call, from: string, to: string): Promise<boolean> {
    return flagOf(await call.connection.script("reseal", [this.names.seal()], [from, to], () => call.check()));
  }

  #isOurs({ generation, prefix }: Seal): boolean {
    return generation === this.generation && prefix === this.names.prefix;
  }

  #expectSeal(connection: Connection, seal: unknown): void {
    const beginning = this.#beginning(connection);
    if (!(seal instanceof Buffer) || !seal.toString().startsWith(beginning)) throw new SealMismatch();
  }

  /** Asked for with every command, and the same for as long as a connection lasts. */
  #beginning({ run }: Connection): string {
    if (this.#expected.run !== run || this.#expected.generation !== this.generation) {
      const beginning = sealBeginning(this.generation, run, this.names.prefix);
      this.#expected = { generation: this.generation, run, beginning };
    }
    return this.#expected.beginning;
  }
}

const lost = () =>
  new RedisLost("Redis does not carry the seal of the trusted generation, of its own present run and of this prefix.");

const sidsOf = (items: readonly { sid: Sid }[]): Sid[] => items.map(({ sid }) => sid);

const counted = (args: readonly Argument[]): Argument[] => [args.length, ...args];

function leftOf(limits: CallLimits, until: number): CallLimits {
  return { ...limits, deadline: Math.max(1, until - performance.now()) };
}
