import type { Session, Sid } from "../../core/session.js";
import { type CallLimits, type ReadAnswer, RedisRefused } from "../../ports/redis-records.js";
import type { ScriptName } from "../../scripts/index.js";
import type { Argument, Conversation } from "./connection.js";
import { type Gathered, Gathering } from "./gathering.js";
import type { ItemKeys } from "./item-keys.js";
import type { KeyNames } from "./key-names.js";
import type { Call } from "./link.js";
import { bytesOrNull, isWhole, listOf, millisecondsOf, readAnswerOf, sessionOf, TAG, wholeOf } from "./replies.js";
import type { Trust } from "./trust.js";

/** One session of a script, with its own arguments. */
export interface Item {
  readonly sid: Sid;
  readonly args: readonly Argument[];
}

interface Wanted {
  readonly sid: Sid;
  /** Offered if none stands; null where absence in R is knowledge and nobody leases. */
  readonly lease: string | null;
  /** Whether somebody will look at the time of expiry. */
  readonly expiry: boolean;
}

export type GatheredName = "close" | "fill" | "open" | "open-if" | "alone";

/**
 * R has no room for what one of them writes, which it says at the first write of a script: nothing was changed. A logout,
 * which takes no room, must not fail for what goes with it.
 */
function isFull(error: unknown): boolean {
  return error instanceof RedisRefused && error.message.endsWith("(OOM).");
}

/** Runs a script for sessions of one slot. */
type RunScript = (
  call: Call,
  name: ScriptName,
  slot: number,
  sids: readonly Sid[],
  args: readonly Argument[],
) => Promise<unknown>;

/** The calls on a request's way, gathered: see `Gathering`. */
export class Requests {
  readonly #gathering = new Gathering();
  // In this order they go: what ends an operation reaches R before what begins the next one of the same session.
  readonly close = this.#gathered("close");
  readonly fill = this.#gathered("fill");
  readonly open = this.#gathered("open", isFull);
  readonly "open-if" = this.#gathered("open-if", isFull);
  readonly alone = this.#gathered("alone", isFull);
  readonly #reads = this.#gathering.kind<Wanted, ReadAnswer>({
    perform: (wanted, limits, slot) => this.#readAll(wanted, limits, slot),
    slotOf: ({ sid }) => this.names.slotOf(sid),
    // A key that holds something else than a string must not be the trouble of those that were asked for beside it.
    apart: (error) => error instanceof RedisRefused,
  });

  constructor(
    private readonly names: KeyNames,
    private readonly items: ItemKeys,
    private readonly trust: Trust,
    private readonly script: RunScript,
  ) {}

  read(sid: Sid, lease: string, limits: CallLimits, expiry: boolean): Promise<ReadAnswer> {
    return this.#reads.call({ sid, lease, expiry }, limits);
  }

  async readAlone(sid: Sid, limits: CallLimits, expiry: boolean): Promise<Session | null> {
    const answer = await this.#reads.call({ sid, lease: null, expiry }, limits);
    return answer.from === "R" ? answer.session : null;
  }

  /** Sends at once what was called for. */
  flush(): void {
    this.#gathering.flush();
  }

  /** One after another in one script; what it answers for each. */
  async forEach(call: Call, name: ScriptName, slot: number, items: readonly Item[]): Promise<unknown[]> {
    const args = items.flatMap((item) => item.args);
    return listOf(await this.script(call, name, slot, sidsOf(items), args), items.length);
  }

  #gathered(name: GatheredName, apart: (error: unknown) => boolean = () => false): Gathered<Item, unknown> {
    return this.#gathering.kind<Item, unknown>({
      perform: (items, limits, slot) => this.trust.run(slot, limits, (call) => this.forEach(call, name, slot, items)),
      slotOf: ({ sid }) => this.names.slotOf(sid),
      bytesOf,
      apart,
    });
  }

  /** Hits, dirty absences and open intents take native commands; only leases take the script. */
  #readAll(wanted: readonly Wanted[], limits: CallLimits, slot: number): Promise<ReadAnswer[]> {
    return this.trust.run(slot, limits, async (call) => {
      const seen = await this.#look(call, wanted, slot);
      const undecided = wanted.filter((_, i) => seen[i] === null);
      if (undecided.length === 0) return seen as ReadAnswer[];
      call.check();
      const decided = await this.#lease(call, undecided, slot);
      return seen.map((answer) => answer ?? decided.shift()!);
    });
  }

  /**
   * Records as native commands tell them, in one round trip; null where a script has to decide. The times of expiry are
   * asked for after the values, so a write that comes exactly between makes the two of different moments; such a view is
   * right about every one of them, but where the value has gone meanwhile it is *torn*, and whoever needs to know why
   * asks the script.
   */
  async #look({ connection }: Call, wanted: readonly Wanted[], slot: number): Promise<(ReadAnswer | null)[]> {
    const { names } = this;
    const keys: string[] = [];
    // Where absence in R is knowledge no mark changes the answer.
    const marked = wanted.some(({ lease }) => lease !== null);
    const stride = 1 + (marked ? 1 : 0) + (names.items ? 1 : 0);
    for (const { sid } of wanted) {
      const data = names.data(sid);
      keys.push(data);
      if (marked) keys.push(names.sideOf(data));
      if (names.items) keys.push(names.itemOf(data));
    }
    const asked = connection.send("MGET", ...keys, names.seal(slot));
    const expiring: Promise<number>[] = [];
    wanted.forEach(({ expiry }, i) => {
      if (expiry) expiring[i] = expiryOf(connection, keys[stride * i]!);
    });
    const [reply, expiries] =
      expiring.length === 0 ? [await asked, []] : await Promise.all([asked, Promise.all(expiring)]);
    const found = listOf(reply, keys.length + 1);
    this.trust.expectSeal(connection, found.at(-1));
    return wanted.map(({ lease, expiry }, i) => {
      const value = bytesOrNull(found[stride * i]);
      const kept = names.items ? bytesOrNull(found[stride * (i + 1) - 1]) : null;
      const flags = this.items.flagsIn(kept);
      const session = expiry ? sessionOf(value, expiries[i], flags) : valueAlone(value, flags);
      if (lease === null) return { from: "R", session, ahead: false };
      const mark = bytesOrNull(found[stride * i + 1]);
      if (mark !== null && !isWhole(mark)) return null;
      const tag = mark?.[0];
      if (tag === TAG.I || tag === TAG.J) return { from: "L", lease: null };
      if (this.items.at(wanted[i]!.sid).isElsewhere(kept)) return null;
      const ahead = tag === TAG.D;
      return session !== null || (ahead && value === null) ? { from: "R", session, ahead } : null;
    });
  }

  async #lease(call: Call, wanted: readonly Wanted[], slot: number): Promise<ReadAnswer[]> {
    const leases = wanted.map(({ lease, sid }) => lease! + this.items.at(sid).mark);
    const replies = await this.script(call, "read", slot, sidsOf(wanted), [...leases, "values"]);
    return listOf(replies, wanted.length).map((reply) => readAnswerOf(reply, this.items));
  }
}

function valueAlone(value: Buffer | null, flags: number): Session | null {
  return value && { value, flags, expiresAt: Number.NaN };
}

function bytesOf({ args }: Item): number {
  return args.reduce<number>((sum, arg) => sum + (arg instanceof Buffer ? arg.length : 0), 0);
}

const sidsOf = (items: readonly { sid: Sid }[]): Sid[] => items.map(({ sid }) => sid);

/** Milliseconds since the epoch, -1 for never, -2 where there is no key. */
async function expiryOf(connection: Conversation, key: string): Promise<number> {
  if (connection.exactExpiry) return wholeOf(await connection.send("PEXPIRETIME", key), -2);
  const [left, time] = await Promise.all([connection.send("PTTL", key), connection.send("TIME")]);
  const milliseconds = wholeOf(left, -2);
  return milliseconds < 0 ? milliseconds : millisecondsOf(time) + milliseconds;
}
