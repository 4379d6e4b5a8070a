import { isLive, type Session, type Sid } from "../core/session.js";
import type { Clock } from "../ports/clock.js";
import type { CasToken, Item, ItemResult, ItemStore, ItemVerb, ItemWishes } from "../ports/items.js";
import { applyVerb } from "./item-rules.js";

/** A store with memcached's verbs in memory: a memcached that forgets nothing by itself. */
export class MemoryItems implements ItemStore {
  readonly #items = new Map<Sid, Item>();
  /** As memcached: one counter for all keys. */
  #token: CasToken = 0n;

  constructor(private readonly clock: Clock) {}

  async read(sids: readonly Sid[], { token }: ItemWishes): Promise<(Item | null)[]> {
    return sids.map((sid) => {
      const item = this.#live(sid);
      return item === null || token ? item : { ...item, token: 0n };
    });
  }

  async perform(sid: Sid, verb: ItemVerb, wishes: ItemWishes): Promise<ItemResult> {
    const { result, next } = applyVerb(this.#live(sid), verb, { token: ++this.#token, asked: wishes.token });
    if (next === null) this.#items.delete(sid);
    else if (next !== undefined) this.#items.set(sid, next);
    return result;
  }

  async flush(): Promise<void> {
    this.#items.clear();
  }

  largest(): number {
    return Number.POSITIVE_INFINITY;
  }

  /** What a reader would see now, without a promise. */
  peek(sid: Sid): Session | null {
    return this.#live(sid);
  }

  #live(sid: Sid): Item | null {
    const item = this.#items.get(sid) ?? null;
    return isLive(item, this.clock.now()) ? item : null;
  }
}
