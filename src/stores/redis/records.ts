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
  sessionOf,
  TAG,
  viewOf,
  viewReplyOf,
  wholeOf,
  wordOf,
} from "./replies.js";
import { decodeSeal, encodeSeal, type Seal, sealBeginning } from "./seal.js";
import { hasValue, resultOf, verbArguments } from "./verbs.js";

/** Sessions in one script call: it holds R up for everybody else while it runs. */
const BATCH = 200;

/** How many replicas must have a write before it is answered; 0 for none. */
export interface Replication {
  readonly open: number;
  readonly destroy: number;
}

/** The scripts of the protocol over one Redis; the rule of each stands on top of its Lua file. */
export class RedisScripts extends RedisAdministration implements RedisRecords {
  generation = "";
  trustRestarts = false;
  readonly #items: ItemKeys;

  constructor(
    names: KeyNames,
    link: Link,
    limits: { readonly call: CallLimits; readonly batch: CallLimits },
    private readonly lanes: Lanes,
    private readonly wait: Replication,
    usualFlags = 0,
  ) {
    super(names, link, limits);
    this.#items = new ItemKeys(names.items, usualFlags);
  }

  /** A hit, a dirty absence and open intents take native commands; only a lease takes the script. */
  async read(sid: Sid, lease: string, limits = this.limits.call): Promise<ReadAnswer> {
    return this.#sealed(limits, async (call) => {
      const { tag, session, torn } = await this.#look(call, sid);
      if (tag === TAG.I || tag === TAG.J) return { from: "L", lease: null };
      if (session !== null || (tag === TAG.D && !torn)) return { from: "R", session };
      call.check();
      const [reply] = listOf(await this.#script(call, "read", [sid], [lease, "values"]), 1);
      return readAnswerOf(reply, this.#items);
    });
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
    const written = sessionArguments(session, this.#items);
    return this.#replicating(session === null ? "destroy" : "open", limits, async (call) => {
      const first = mode === "L" ? ["later", "", ""] : written;
      const answer = await this.#script(call, "open", [sid], [mode, intent, dirty, sid, ...first]);
      const answered = wordOf(answer, ["L", "R", "?"]);
      if (answered !== "?") return answered;
      call.check();
      return wordOf(await this.#script(call, "open", [sid], [mode, intent, dirty, sid, ...written]), ["L", "R"]);
    });
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
    return this.#replicating(verb.verb === "delete" ? "destroy" : "open", limits, async (call) => {
      const begin = [mode, intent, dirty, sid, lease ?? "", known ? 1 : 0];
      const run = (sends: boolean) =>
        this.#script(call, "open-if", [sid], [...begin, ...verbArguments(verb, this.#items, sends)]);
      let answer = await run(mode === "R" || !hasValue(verb));
      let word = Buffer.isBuffer(answer) ? answer.toString() : "";
      if (word === "?") {
        call.check();
        answer = await run(true);
        word = Buffer.isBuffer(answer) ? answer.toString() : "";
      }
      if (word === "L" || word === "unknown") return { answer: word };
      return { answer: "R", result: resultOf(answer, verb, this.#items) };
    });
  }

  async gets(
    sid: Sid,
    mode: Mode,
    lease: string,
    known: boolean,
    token: CasToken,
    limits = this.limits.call,
  ): Promise<GetsAnswer> {
    const args = [mode, lease, known ? 1 : 0, tokenBytes(token), this.#items.usualBytes];
    return this.#sealed(limits, async (call) =>
      getsAnswerOf(await this.#script(call, "gets", [sid], args), this.#items),
    );
  }

  async close(sid: Sid, intent: string, outcome: Outcome, limits = this.limits.call): Promise<void> {
    const written = outcomeArguments(outcome, this.#items);
    await this.#sealed(limits, (call) => this.#script(call, "close", [sid], [intent, ...written]));
  }

  async fill(sid: Sid, lease: string, session: Session | null, limits = this.limits.call): Promise<boolean> {
    const written = sessionArguments(session, this.#items);
    return this.#sealed(limits, async (call) => {
      const [filled] = listOf(await this.#script(call, "fill", [sid], [lease, ...written]), 1);
      return flagOf(filled);
    });
  }

  async fillMany(fills: readonly { sid: Sid; lease: string; session: Session | null }[]): Promise<boolean[]> {
    const written = fills.map(({ lease, session }) => [lease, ...sessionArguments(session, this.#items)]);
    return this.#batch("fill", sidsOf(fills), flagOf, (i) => written[i]!);
  }

  async mark(sids: readonly Sid[]): Promise<void> {
    await this.#batch("mark", sids, null, () => []);
  }

  async dirtyRecords(sids: readonly Sid[]): Promise<DirtyRecord[]> {
    const views = await this.#batch(
      "view",
      sids,
      (reply) => viewReplyOf(reply, this.#items),
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

  async dirtySids(limit: number): Promise<Sid[]> {
    if (limit < 1) return [];
    return this.#sealed(this.limits.batch, async ({ connection }) => {
      const [seal, found] = await Promise.all([
        connection.send("GET", this.names.seal()),
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
        connection.send("GET", this.names.seal()),
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

  async view(sids: readonly Sid[]): Promise<RecordView[]> {
    return this.#batch(
      "view",
      sids,
      (reply) => viewOf(reply, this.#items),
      () => [],
    );
  }

  async readAlone(sid: Sid, limits = this.limits.call): Promise<Session | null> {
    return this.#sealed(limits, async (call) => (await this.#look(call, sid)).session);
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
    const args = verbArguments(verb, this.#items, true);
    return this.#replicating(verb.verb === "delete" ? "destroy" : "open", limits, async (call) =>
      resultOf(await this.#script(call, "alone", [sid], args), verb, this.#items),
    );
  }

  async hasRestarted(): Promise<boolean> {
    return this.link.run(this.limits.call, async ({ connection }) => {
      const text = await connection.send("GET", this.names.seal());
      const seal = text === null ? null : decodeSeal(String(text));
      return seal !== null && this.#isOurs(seal) && seal.run !== connection.run;
    });
  }

  async ping(limits = this.limits.call): Promise<void> {
    await this.#sealed(limits, async ({ connection }) => {
      this.#expectSeal(connection, await connection.send("GET", this.names.seal()));
    });
  }

  override async end(): Promise<void> {
    this.lanes.end();
    await super.end();
  }

  /**
   * The record as native commands tell it, in one round trip. The time of expiry is asked for after the value, so a
   * write that comes exactly between makes the two of different moments; such a view is right about every one of them,
   * but where the value has gone meanwhile it is *torn*, and whoever needs to know why asks a script.
   */
  async #look({ connection }: Call, sid: Sid): Promise<{ tag: number; session: Session | null; torn: boolean }> {
    const data = this.names.data(sid);
    const keys = [data, this.names.side(sid), this.names.seal()];
    if (this.names.items) keys.push(this.names.item(sid));
    const [found, expiry] = await Promise.all([connection.send("MGET", ...keys), expiryOf(connection, data)]);
    const [value, mark, seal, kept] = listOf(found, keys.length);
    this.#expectSeal(connection, seal);
    const session = sessionOf(value, expiry, this.#items.flagsIn(bytesOrNull(kept)));
    return { tag: bytesOrNull(mark)?.[0] ?? 0, session, torn: value !== null && session === null };
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
    answerOf: ((reply: unknown) => T) | null,
    argumentsOf: (i: number) => readonly Argument[],
    rest: readonly Argument[] = [],
  ): Promise<T[]> {
    if (sids.length === 0) return [];
    return this.#sealed(this.limits.batch, async (call) => {
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

  /** A write that may have to be on replicas, too, before it is answered. */
  #replicating<T>(kind: keyof Replication, limits: CallLimits, perform: (call: Call) => Promise<T>): Promise<T> {
    const replicas = kind === "destroy" ? Math.max(this.wait.open, this.wait.destroy) : this.wait.open;
    if (replicas === 0) return this.#sealed(limits, perform);
    return this.lanes.run(limits, replicas, (call) => this.#unlessLost(call, perform));
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
    const text = await connection.send("GET", this.names.seal());
    call.check();
    const seal = text === null ? null : decodeSeal(String(text));
    if (seal === null || !this.#isOurs(seal)) return false;
    const next = encodeSeal({ ...seal, run: connection.run });
    await connection.script("reseal", [this.names.seal()], [String(text), next], () => call.check());
    return true;
  }

  #isOurs({ generation, prefix }: Seal): boolean {
    return generation === this.generation && prefix === this.names.prefix;
  }

  #expectSeal(connection: Connection, seal: unknown): void {
    if (!(seal instanceof Buffer) || !seal.toString().startsWith(this.#beginning(connection))) throw new SealMismatch();
  }

  #beginning(connection: Connection): string {
    return sealBeginning(this.generation, connection.run, this.names.prefix);
  }
}

const lost = () =>
  new RedisLost("Redis does not carry the seal of the trusted generation, of its own present run and of this prefix.");

const sidsOf = (items: readonly { sid: Sid }[]): Sid[] => items.map(({ sid }) => sid);

/** Milliseconds since the epoch, -1 for never, -2 where there is no key. */
async function expiryOf(connection: Connection, key: string): Promise<number> {
  if (connection.exactExpiry) return wholeOf(await connection.send("PEXPIRETIME", key), -2);
  const [answer, time] = await Promise.all([connection.send("PTTL", key), connection.send("TIME")]);
  const left = wholeOf(answer, -2);
  return left < 0 ? left : millisecondsOf(time) + left;
}
