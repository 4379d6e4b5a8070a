import type { Session, Sid } from "../../core/session.js";
import { FerryError } from "../../errors.js";
import type { CasToken, Item, ItemResult, ItemStore, ItemVerb, ItemWishes } from "../../ports/items.js";
import type { Replies } from "./connection.js";
import { toExptime } from "./expiry.js";
import { first, keyTooLong, noRoom } from "./failures.js";
import {
  deleteCommand,
  hit,
  itemOf,
  metPlaceholder,
  refusal,
  removePlaceholder,
  roomFor,
  tellsExpiry,
  tooLarge,
} from "./items.js";
import type { MemcachedLink } from "./link.js";
import type { Place } from "./places.js";
import {
  asMeta,
  type Command,
  classicStore,
  FLUSH_ALL,
  flag,
  isNoNumber,
  metaArithmetic,
  metaGet,
  metaSet,
  type Reply,
} from "./protocol.js";

/** memcached's `-I`, where it was not asked. */
const DEFAULT_ITEM_SIZE = 1024 * 1024;

/** So often a verb begins anew because the item changed between its look and its act; one of all that try succeeds. */
const TRIES = 200;

/** A command that holds a span of time: made once there is a connection, for which it may have had to wait. */
type Timed = () => Command;

/**
 * memcached's verbs as memcached itself decides them: one meta command each, in the order given.
 *
 * Where the ferry drains to this memcached a key may hold a placeholder (items.ts), which is nobody's item. A verb for
 * which it would count as one looks first and acts by the CAS that it saw; the others act, and look closer only at what
 * a placeholder may have caused. So every verb still takes effect in one step of memcached's, or in none. Where the
 * ferry knows that no placeholder can be there (`bare`), none is looked for.
 */
export class MemcachedItems implements ItemStore {
  constructor(
    private readonly links: readonly MemcachedLink[],
    private readonly placeOf: (sid: Sid) => Place | null,
    private readonly options: { readonly placeholders: boolean },
  ) {}

  async read(sids: readonly Sid[], { token }: ItemWishes): Promise<(Item | null)[]> {
    const wanted = token ? "vftc" : "vft";
    if (sids.length === 1) {
      const place = this.placeOf(sids[0]!);
      if (place === null) return [null];
      const { replies, at } = await this.#read(place.link, [metaGet(place.key, wanted)], token);
      return [itemOf(replies[0]!, at)];
    }
    const batches = new Map<MemcachedLink, { commands: Command[]; positions: number[] }>();
    sids.forEach((sid, n) => {
      const place = this.placeOf(sid);
      if (place === null) return;
      const batch = batches.get(place.link) ?? { commands: [], positions: [] };
      batches.set(place.link, batch);
      batch.commands.push(metaGet(place.key, wanted));
      batch.positions.push(n);
    });
    const found: (Item | null)[] = new Array(sids.length).fill(null);
    await Promise.all(
      [...batches].map(async ([link, { commands, positions }]) => {
        const { replies, at } = await this.#read(link, commands, token);
        replies.forEach((reply, i) => {
          found[positions[i]!] = itemOf(reply, at);
        });
      }),
    );
    return found;
  }

  /** What was read with a token may go into R; of the rest only clients hear, whom nobody tells an expiry. */
  #read(link: MemcachedLink, commands: readonly Command[], token: boolean): Promise<Replies> {
    const copied = token && this.options.placeholders;
    return copied ? link.readForCopy(commands, tellsExpiry) : link.readTimed(commands);
  }

  /** Empties the servers. */
  async flush(): Promise<void> {
    const replies = await Promise.all(this.links.map((link) => link.write([FLUSH_ALL])));
    for (const [reply] of replies) if (reply!.code !== "OK") throw refusal(reply!);
  }

  /** Bytes of the longest value that memcached takes; as it does by default, where it was not asked yet. */
  largest(sid: Sid, flags: number): number {
    const place = this.placeOf(sid);
    return place === null ? 0 : roomFor(place.key, flags, place.link.facts?.itemSizeMax ?? DEFAULT_ITEM_SIZE);
  }

  /** @param bare true where a key of these holds no placeholder at the moment, and will hold none until this is over */
  async perform(sid: Sid, verb: ItemVerb, wishes: ItemWishes, bare = false): Promise<ItemResult> {
    const place = this.placeOf(sid);
    if (place === null) throw keyTooLong();
    const looks = this.options.placeholders && !bare;
    switch (verb.verb) {
      case "set":
        return this.#set(place, verb, wishes);
      case "add":
        return this.#add(place, verb.session, wishes, looks);
      case "replace":
        return this.#replace(place, verb, wishes, looks);
      case "cas":
        await assertFits(place, verb.session);
        return this.#conditional(place, storeCommand(place, verb.session, `C${verb.token}`, wishes));
      case "append":
      case "prepend":
        return this.#extend(place, verb, wishes, looks);
      case "incr":
      case "decr":
        return this.#count(place, verb, wishes);
      case "delete":
        return this.#delete(place, verb, looks);
      default:
        return this.#touch(place, verb, wishes);
    }
  }

  /** One that is too large removes the old item, as memcached does. */
  async #set(place: Place, { session }: { session: Session }, wishes: ItemWishes): Promise<ItemResult> {
    const reply = await write(place, storeCommand(place, session, "", wishes));
    if (reply.code === "HD") return done(reply);
    throw reply.words.includes("large") ? noRoom(reply) : refusal(reply);
  }

  async #add(place: Place, session: Session, wishes: ItemWishes, looks: boolean): Promise<ItemResult> {
    await assertFits(place, session);
    for (let tries = 0; tries < TRIES; tries++) {
      const reply = await write(place, storeCommand(place, session, "ME", wishes));
      if (reply.code === "HD") return done(reply);
      if (reply.code !== "NS") throw refusal(reply);
      if (!looks) return { result: "present" };
      const seen = await look(place);
      if (!hit(seen)) continue;
      if (!metPlaceholder(seen)) return { result: "present" };
      const over = await write(place, storeCommand(place, session, `C${flag(seen, "c")}`, wishes));
      if (over.code === "HD") return done(over);
      if (over.code !== "EX" && over.code !== "NF") throw refusal(over);
    }
    throw busy();
  }

  async #replace(
    place: Place,
    { session }: { session: Session },
    wishes: ItemWishes,
    looks: boolean,
  ): Promise<ItemResult> {
    await assertFits(place, session);
    const command = (condition: string) => storeCommand(place, session, condition, wishes);
    return this.#onItem(place, command("MR"), (cas) => command(`C${cas}`), looks);
  }

  async #extend(
    place: Place,
    { verb, data, token }: { verb: "append" | "prepend"; data: Buffer; token: CasToken },
    wishes: ItemWishes,
    looks: boolean,
  ): Promise<ItemResult> {
    await assertFits(place, { value: data, flags: 0 });
    const mode = verb === "append" ? "MA" : "MP";
    const ifCas = (cas: string) => metaSet(place.key, data, `${mode} C${cas}`, wishes.token ? "c" : "");
    if (token !== 0n) return this.#conditional(place, ifCas(String(token)));
    const plain = isClassic(place, wishes)
      ? classicStore(verb, place.key, { value: data, flags: 0, exptime: 0 })
      : metaSet(place.key, data, mode, wishes.token ? "c" : "");
    return this.#onItem(place, plain, ifCas, looks);
  }

  /** A verb that must find an item: where that might be a placeholder it looks, and acts on the very item it saw. */
  async #onItem(
    place: Place,
    plain: Command | Timed,
    ifCas: (cas: string) => Command | Timed,
    looks: boolean,
  ): Promise<ItemResult> {
    if (!looks) return this.#conditional(place, plain);
    for (let tries = 0; tries < TRIES; tries++) {
      const seen = await look(place);
      if (!hit(seen) || metPlaceholder(seen)) return { result: "absent" };
      const reply = await write(place, ifCas(flag(seen, "c")!));
      if (reply.code === "HD") return done(reply);
      if (reply.code === "NF" || reply.code === "NS") return { result: "absent" };
      if (reply.code !== "EX") throw refusal(reply);
    }
    throw busy();
  }

  /** Runs a command of which memcached's one answer decides. */
  async #conditional(place: Place, command: Command | Timed): Promise<ItemResult> {
    const reply = await write(place, command);
    switch (reply.code) {
      case "HD":
        return done(reply);
      case "NF":
      case "NS":
        return { result: "absent" };
      case "EX":
        return this.#otherToken(place);
      default:
        throw refusal(reply);
    }
  }

  /** A placeholder's CAS is nobody's: a token that differs from it differs from nothing. */
  async #otherToken(place: Place): Promise<ItemResult> {
    if (this.options.placeholders && metPlaceholder(await look(place))) return { result: "absent" };
    return { result: "changed" };
  }

  async #count(
    place: Place,
    { verb, by, initial, token }: Extract<ItemVerb, { verb: "incr" | "decr" }>,
    wishes: ItemWishes,
  ): Promise<ItemResult> {
    const mode = verb === "incr" ? "" : "MD ";
    // memcached itself makes items of no other flags.
    const itself = initial !== null && initial.flags === 0 && token === 0n;
    const condition = token === 0n ? "" : ` C${token}`;
    const command = () => {
      const span = itself ? toExptime(initial.expiresAt, Date.now()) : 0;
      const create = itself ? ` N${span} J${initial.value.toString("latin1")}` : "";
      return metaArithmetic(place.key, `${mode}D${by}${create}${condition}`, wishes.token ? "vtc" : "vt");
    };
    for (let tries = 0; tries < TRIES; tries++) {
      const reply = await write(place, command);
      const now = Date.now();
      if (reply.code === "VA") {
        const counted = itemOf(reply, now)!;
        return { result: "done", token: counted.token, item: counted };
      }
      if (reply.code === "EX") return this.#otherToken(place);
      const number = !isNoNumber(reply);
      if (number && reply.code !== "NF" && reply.code !== "NS") throw refusal(reply);
      if (!number && !(this.options.placeholders && metPlaceholder(await look(place)))) {
        return { result: "not-a-number" };
      }
      if (initial === null) return { result: "absent" };
      const added = await this.#add(place, initial, wishes, this.options.placeholders);
      if (added.result === "done") return { ...added, item: { ...initial, token: added.token } };
    }
    throw busy();
  }

  async #delete(place: Place, { token }: { token: CasToken }, looks: boolean): Promise<ItemResult> {
    const asked = token === 0n ? null : String(token);
    if (!looks) return this.#conditional(place, deleteCommand(place.key, asked));
    for (let tries = 0; tries < TRIES; tries++) {
      const seen = await look(place);
      if (!hit(seen)) return { result: "absent" };
      const isItem = !metPlaceholder(seen);
      if (isItem && asked !== null && asked !== flag(seen, "c")) return { result: "changed" };
      // A placeholder goes, too: who still holds its CAS must not store the item after this.
      const reply = await write(place, deleteCommand(place.key, flag(seen, "c")));
      if (reply.code === "HD") return isItem ? done(reply) : { result: "absent" };
      if (reply.code === "NF") return { result: "absent" };
      if (reply.code !== "EX") throw refusal(reply);
    }
    throw busy();
  }

  async #touch(
    place: Place,
    { verb, expiresAt }: { verb: "touch" | "get-and-touch"; expiresAt: number },
    wishes: ItemWishes,
  ): Promise<ItemResult> {
    const wanted = `${verb === "touch" ? "s" : "v"}f${wishes.token || this.options.placeholders ? "c" : ""}`;
    const reply = await write(place, () => metaGet(place.key, wanted, `T${toExptime(expiresAt, Date.now())}`));
    if (!hit(reply)) return { result: "absent" };
    if (this.options.placeholders && metPlaceholder(reply)) {
      await write(place, removePlaceholder(place.key, reply));
      return { result: "absent" };
    }
    const token = wishes.token ? BigInt(flag(reply, "c")!) : 0n;
    if (verb === "touch") return { result: "done", token, item: null };
    return { result: "done", token, item: { value: reply.value!, flags: Number(flag(reply, "f")), expiresAt, token } };
  }
}

/** Whether a command of the classic protocol can say it: no token comes back, and the key goes as it is. */
function isClassic({ key }: Place, { token }: ItemWishes): boolean {
  return !token && !key.base64;
}

/** @param condition "" for none, or as `ms` has it: ME, MR, or C and a CAS */
function storeCommand(place: Place, session: Session, condition: string, wishes: ItemWishes): Timed {
  const { key } = place;
  const { value, flags } = session;
  const classic = isClassic(place, wishes) ? classicOf(condition) : null;
  return () => {
    const exptime = toExptime(session.expiresAt, Date.now());
    if (classic !== null) return classicStore(classic.verb, key, { value, flags, exptime, cas: classic.cas });
    const terms = `F${flags} T${exptime}${condition === "" ? "" : ` ${condition}`}`;
    return metaSet(key, value, terms, wishes.token ? "c" : "");
  };
}

function classicOf(condition: string): { verb: "add" | "replace" | "cas"; cas?: string | undefined } | null {
  if (condition === "ME") return { verb: "add" };
  if (condition === "MR") return { verb: "replace" };
  return condition.startsWith("C") && condition !== "C0" ? { verb: "cas", cas: condition.slice(1) } : null;
}

async function write({ link }: Place, command: Command | Timed): Promise<Reply> {
  if (typeof command !== "function") return asMeta(first(await link.write([command])));
  const ends = link.deadline();
  const connection = await link.connection(ends);
  return asMeta(first(await link.writeOver(connection, [command()], ends)));
}

/** Size, flags and CAS; the server's order of use stays as it is. */
async function look({ link, key }: Place): Promise<Reply> {
  return first(await link.read([metaGet(key, "sfc", "u")]));
}

function done(reply: Reply): ItemResult {
  return { result: "done", token: BigInt(flag(reply, "c") ?? 0), item: null };
}

/** Before anything is sent: whatever the mode, an `ms` that memcached refuses would take the old item with it. */
async function assertFits({ link, key }: Place, session: Pick<Session, "value" | "flags">): Promise<void> {
  const { itemSizeMax } = link.facts ?? (await link.connection()).facts;
  if (session.value.length > roomFor(key, session.flags, itemSizeMax)) throw tooLarge(itemSizeMax);
}

function busy(): FerryError {
  return new FerryError("DEADLINE", `The item kept changing under ${TRIES} attempts to change it.`);
}
