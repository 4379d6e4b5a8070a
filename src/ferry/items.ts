import { newToken } from "../core/ids.js";
import { isLive, type Sid } from "../core/session.js";
import { FerryError } from "../errors.js";
import type { Item, ItemResult, ItemStore, Items, ItemVerb, ItemWishes } from "../ports/items.js";
import type { VerbName } from "../ports/observer.js";
import type { ConditionalVerb, Outcome } from "../ports/redis-records.js";
import { type FerryContext, redisLimits } from "./context.js";
import { gets } from "./gets.js";
import { learn } from "./learn.js";
import { mutate, type Opened } from "./mutate.js";
import { read } from "./read.js";
import { Standstill } from "./standstill.js";
import { write } from "./write.js";

/** L where it is memcached, as the ferry's items need it. */
export interface LegacyItems extends ItemStore {
  /** @param bare true where no key can hold a placeholder of rule 4, so that none needs to be looked for */
  perform(sid: Sid, verb: ItemVerb, wishes: ItemWishes, bare?: boolean): Promise<ItemResult>;
  /** Bytes of the longest value that L takes for this session. */
  largest(sid: Sid, flags: number): number;
  /** Removes everything from L. */
  flush(): Promise<void>;
}

const NO_TOKEN: ItemWishes = { token: false };
/** Sessions that a flush removes at once. */
const FLUSHED_AT_ONCE = 100;
/** What fits into any memcached, so that it need not be asked how much it takes. */
const SMALL = 512;

const VERB_NAMES: Readonly<Record<ItemVerb["verb"], VerbName>> = {
  set: "set",
  add: "set",
  replace: "set",
  cas: "set",
  append: "set",
  prepend: "set",
  incr: "set",
  decr: "set",
  delete: "destroy",
  touch: "touch",
  "get-and-touch": "touch",
};

/** Runs a request with its deadline and its bookkeeping. */
export type Request = <T>(verb: VerbName, perform: () => Promise<T>) => Promise<T>;

/**
 * Rule 13 over both stores: a verb whose effect depends on what is there is decided where the truth is, in one atomic
 * step. `openIf` answers "L" where L is the authority: L runs the verb and decides, and R closes with what L then holds
 * as far as that is known. Otherwise R knows the session's state and decides, or does not know it: then L is read under
 * a lease, and either its answer is a refusal already, or R learns it (`fill`, or the lease itself where there is
 * nothing to fill) and the verb is tried again. A lost reply is an error, never a retry.
 *
 * Tokens: the store that decides also gives them out. R's are 2^62 at least, so that one store never takes the
 * other's for its own: across a change of authority a cas is refused rather than let through.
 */
export class FerryItems implements Items {
  readonly #standstill: Standstill;

  constructor(
    protected readonly ctx: FerryContext,
    private readonly legacy: LegacyItems,
    private readonly request: Request,
  ) {
    this.#standstill = new Standstill(["legacy", "dual-write"], () => ctx.clock.elapsed());
  }

  read(sids: readonly Sid[], wishes: ItemWishes): Promise<(Item | null)[]> {
    return this.request("get", () => this.#read(sids, wishes));
  }

  perform(sid: Sid, verb: ItemVerb, wishes: ItemWishes): Promise<ItemResult> {
    return this.request(VERB_NAMES[verb.verb], () => this.#perform(sid, verb, wishes));
  }

  /**
   * Destroys by the protocol whatever R knows or is about to learn, which keeps R's marks right whatever goes on
   * meanwhile, and between the two empties L, where there may be more.
   */
  async flush(): Promise<void> {
    const { records, routing } = this.ctx;
    const destroyAll = async (sids: readonly Sid[]) => {
      const mirrored = sids.filter((sid) => routing.placement(sid).routes.write !== "legacy");
      for (let at = 0; at < mirrored.length; at += FLUSHED_AT_ONCE) {
        await Promise.all(mirrored.slice(at, at + FLUSHED_AT_ONCE).map((sid) => write(this.ctx, sid, null)));
      }
    };
    const { phase } = routing.record.position;
    if (phase !== "complete") await this.legacy.flush();
    if (phase === "legacy" && routing.record.pending === null) return;
    for await (const page of records.listRecords({ pageSize: 1000 })) await destroyAll(page);
    if (phase === "complete") return;
    for await (const page of records.listMarked({ pageSize: 1000 })) await destroyAll(page);
  }

  async #read(sids: readonly Sid[], wishes: ItemWishes): Promise<(Item | null)[]> {
    const { routing } = this.ctx;
    if (sids.every((sid) => routing.placement(sid).routes.read === "L")) {
      const end = routing.enter();
      try {
        return await this.legacy.read(sids, wishes);
      } finally {
        end();
      }
    }
    const one = wishes.token ? (sid: Sid) => gets(this.ctx, this.legacy, sid) : (sid: Sid) => this.#get(sid);
    return Promise.all(sids.map(one));
  }

  async #get(sid: Sid): Promise<Item | null> {
    const session = await read(this.ctx, sid);
    return session === null ? null : { ...session, token: 0n };
  }

  async #perform(sid: Sid, verb: ItemVerb, wishes: ItemWishes): Promise<ItemResult> {
    const { ctx, legacy } = this;
    const { records, ids, clock } = ctx;
    const { size, flags } = sentIn(verb);
    if (size > SMALL && size > legacy.largest(sid, flags)) return this.#refuseTooLarge(sid, verb);
    const asked: ConditionalVerb = {
      ...verb,
      ...(wishes.token && { newToken: newToken() }),
      ...("data" in verb && { largest: legacy.largest(sid, 1) }),
    };
    /** Under which L was read as absent. */
    let lease: string | null = null;
    const creates = createsItem(verb);
    return mutate<ItemResult>(ctx, sid, {
      script: "openIf",
      legacy: () => legacy.perform(sid, verb, wishes, this.#standstill.holds(ctx.routing.record)),
      alone: () => records.performAlone(sid, asked),
      ...(!creates && { lacks: ({ result }: ItemResult) => result === "absent" }),
      open: async (intent, mode, routes, alone): Promise<Opened<ItemResult>> => {
        const known = routes.read === "R";
        const limits = redisLimits(ctx, routes);
        const wanted = alone ? { ...asked, alone } : asked;
        const opened = await records.openIf(sid, intent, mode, wanted, lease, known, ids.next(), limits);
        if (opened.answer === "R") return { to: "R", value: opened.result };
        if (opened.answer !== "unknown") return { to: opened.answer };
        return {
          to: "unknown",
          learn: async () => {
            const learned = await learn(ctx, sid, limits, { keepsLease: creates });
            lease = learned.lease;
            if (learned.state === "absent" && !creates) return { value: { result: "absent" } };
            return learned.state === "present" && verb.verb === "add" ? { value: { result: "present" } } : null;
          },
        };
      },
      isBlind: verb.verb === "set",
      outcome: (answered) => this.outcomeOf(verb, answered),
      ends: ({ result }) => result === "done" && endsItem(verb, clock.now()),
    });
  }

  /** What L holds after it answered so. */
  protected outcomeOf(verb: ItemVerb, answered: ItemResult): Outcome {
    const { result } = answered;
    if (result === "absent") return { kind: "none" };
    if (result !== "done") return { kind: "keep" };
    if ("session" in verb) {
      const { session } = verb;
      return isLive(session, this.ctx.clock.now()) ? { kind: "value", session } : { kind: "none" };
    }
    if ("expiresAt" in verb) return { kind: "keep", expiresAt: verb.expiresAt };
    // Of a number that was there the answer tells all that has changed; one that may have been made is unknown.
    const counted = "initial" in verb && verb.initial === null ? answered.item : null;
    return counted === null ? { kind: "none" } : { kind: "revalue", value: counted.value };
  }

  /** As memcached does: a value that cannot be stored is not stored, and a `set` has removed what was there. */
  async #refuseTooLarge(sid: Sid, verb: ItemVerb): Promise<never> {
    if (verb.verb === "set") await this.#perform(sid, { verb: "delete", token: 0n }, NO_TOKEN);
    throw new FerryError("VALUE_TOO_LARGE", "The value is larger than memcached takes.");
  }
}

/** Whether the verb does something where there is no item. */
function createsItem(verb: ItemVerb): boolean {
  return verb.verb === "add" || verb.verb === "set" || ("initial" in verb && verb.initial !== null);
}

/** What the verb brings of a value, in bytes. */
function sentIn(verb: ItemVerb): { size: number; flags: number } {
  if ("session" in verb) return { size: verb.session.value.length, flags: verb.session.flags };
  return { size: "data" in verb ? verb.data.length : 0, flags: 0 };
}

/** Whether the verb, carried out, leaves no live item. */
function endsItem(verb: ItemVerb, now: number): boolean {
  if (verb.verb === "delete") return true;
  if ("session" in verb) return !isLive(verb.session, now);
  return "expiresAt" in verb && verb.expiresAt <= now;
}
