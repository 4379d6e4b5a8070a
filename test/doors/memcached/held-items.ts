import type { Item, ItemResult, Items, ItemVerb } from "../../../src/ports/items.js";

type Asked =
  | { readonly kind: "read"; readonly sids: readonly string[]; readonly token: boolean }
  | { readonly kind: "perform"; readonly sid: string; readonly verb: ItemVerb }
  | { readonly kind: "flush" };

/** Items of which the test says what is answered, and when: they show what the door asks for, and how much at once. */
export class HeldItems implements Items {
  readonly asked: Asked[] = [];
  /** What each read answers for each sid. */
  found: (sid: string) => Item | null = () => null;
  result: (sid: string) => ItemResult = () => ({ result: "done", token: 0n, item: null });
  #held: Promise<void> | null = null;
  #release: () => void = () => {};

  hold(): void {
    this.#held = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  release(): void {
    this.#held = null;
    this.#release();
  }

  async read(sids: readonly string[], { token }: { token: boolean }): Promise<(Item | null)[]> {
    this.asked.push({ kind: "read", sids, token });
    await this.#held;
    return sids.map((sid) => this.found(sid));
  }

  async perform(sid: string, verb: ItemVerb): Promise<ItemResult> {
    this.asked.push({ kind: "perform", sid, verb });
    await this.#held;
    return this.result(sid);
  }

  async flush(): Promise<void> {
    this.asked.push({ kind: "flush" });
    await this.#held;
  }
}

export function itemOf(value: string | Buffer): Item {
  return { value: Buffer.from(value as string), flags: 0, expiresAt: Number.POSITIVE_INFINITY, token: 7n };
}
