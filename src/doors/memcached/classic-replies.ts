import type { Item, ItemResult, ItemVerb } from "../../ports/items.js";
import type { Change, Failure, Flush, Read, Stats, Version } from "./commands.js";
import type { Output } from "./output.js";
import { REPLY, type ReplyKind } from "./relay-replies.js";
import { lineOf } from "./said.js";

/** The answers of the classic text protocol. */

const END = "END\r\n";

function value(out: Output, key: string, item: Item, token: boolean): void {
  const { value, flags } = item;
  out.text(
    token ? `VALUE ${key} ${flags} ${value.length} ${item.token}\r\n` : `VALUE ${key} ${flags} ${value.length}\r\n`,
  );
  out.bytes(value);
  out.text("\r\n");
}

/** get, gets. */
export class TextRead implements Read {
  readonly kind = "read";
  readonly size = 0;
  /** Where no CAS number is given out memcached's must not be seen either. */
  readonly relay: ReplyKind | undefined;

  constructor(
    readonly keys: readonly string[],
    private readonly told: boolean,
    readonly token: boolean,
  ) {
    this.relay = told && !token ? undefined : REPLY.values;
  }

  answer(out: Output, items: readonly (Item | null)[], from: number, keyFrom: number, keys: number): void {
    for (let n = 0; n < keys; n++) {
      const item = items[from + n];
      if (item) value(out, this.keys[keyFrom + n]!, item, this.told);
    }
    if (keyFrom + keys === this.keys.length) out.text(END);
  }

  fail(out: Output, failure: Failure): void {
    out.text(lineOf(failure));
  }
}

export type TextVerb = ItemVerb["verb"] | "gat" | "gats";

/** Those that a block follows. */
const STORING: ReadonlySet<TextVerb> = new Set(["set", "add", "replace", "append", "prepend", "cas"]);

/** Everything that changes an item; also gat and gats. */
export class TextChange implements Change {
  readonly kind = "change";
  readonly after = null;

  constructor(
    readonly keys: readonly string[],
    readonly verb: ItemVerb,
    private readonly noreply: boolean,
    private readonly name: TextVerb,
    readonly token: boolean,
    readonly size: number,
  ) {}

  /**
   * How many bytes of a block follow is what the parser and memcached must not disagree about, and another release may
   * read a number in an unusual form otherwise. The usual forms never come here (relay-commands.ts).
   */
  get relay(): ReplyKind | undefined {
    if (STORING.has(this.name)) return undefined;
    if (this.noreply) return REPLY.none;
    if (this.name === "gats" && !this.token) return undefined;
    return this.name === "gat" || this.name === "gats" ? REPLY.values : REPLY.line;
  }

  answer(out: Output, results: readonly ItemResult[], keyFrom: number): void {
    if (this.noreply) return;
    if (this.name === "gat" || this.name === "gats") {
      this.#touched(out, results, keyFrom);
      return;
    }
    const result = results[0]!;
    out.text(result.result === "done" ? this.#done(result.item) : REFUSED[result.result](this.name));
  }

  fail(out: Output, failure: Failure): void {
    if (this.noreply) return;
    // An append that makes the item too large is answered as if there were none.
    const grows = this.name === "append" || this.name === "prepend";
    out.text(grows && failure.kind === "too-large" ? "NOT_STORED\r\n" : lineOf(failure));
  }

  #done(item: Item | null): string {
    switch (this.name) {
      case "delete":
        return "DELETED\r\n";
      case "touch":
        return "TOUCHED\r\n";
      case "incr":
      case "decr":
        return `${item === null ? "" : item.value.toString("latin1")}\r\n`;
      default:
        return "STORED\r\n";
    }
  }

  #touched(out: Output, results: readonly ItemResult[], keyFrom: number): void {
    for (const [n, result] of results.entries()) {
      if (result.result === "done" && result.item !== null) {
        value(out, this.keys[keyFrom + n]!, result.item, this.name === "gats");
      }
    }
    if (keyFrom + results.length === this.keys.length) out.text(END);
  }
}

const REFUSED: Record<Exclude<ItemResult["result"], "done">, (name: TextVerb) => string> = {
  absent: (name) =>
    name === "replace" || name === "append" || name === "prepend" ? "NOT_STORED\r\n" : "NOT_FOUND\r\n",
  present: () => "NOT_STORED\r\n",
  changed: () => "EXISTS\r\n",
  "not-a-number": () => "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
};

const FLUSH_REFUSED = {
  forbidden: "CLIENT_ERROR flush_all not allowed\r\n",
  malformed: "CLIENT_ERROR invalid exptime argument\r\n",
  delayed: "CLIENT_ERROR a delayed flush_all is not available through sessionferry\r\n",
} as const;

export class TextFlush implements Flush {
  readonly kind = "flush";
  readonly size = 0;
  readonly malformed: boolean;
  readonly delayed: boolean;

  /** @param exptime NaN where the client sent no number. */
  constructor(
    exptime: number,
    private readonly noreply: boolean,
  ) {
    this.malformed = Number.isNaN(exptime);
    this.delayed = exptime > 0;
  }

  answer(out: Output): void {
    if (!this.noreply) out.text("OK\r\n");
  }

  refuse(out: Output, why: keyof typeof FLUSH_REFUSED): void {
    if (!this.noreply) out.text(FLUSH_REFUSED[why]);
  }

  fail(out: Output, failure: Failure): void {
    if (!this.noreply) out.text(lineOf(failure));
  }
}

export class TextVersion implements Version {
  readonly kind = "version";
  readonly size = 0;

  answer(out: Output, version: string): void {
    out.text(`VERSION ${version}\r\n`);
  }
}

export class TextStats implements Stats {
  readonly kind = "stats";

  constructor(readonly which: string) {}

  get size(): number {
    return this.which.length;
  }

  answer(out: Output, lines: string): void {
    out.text(lines);
  }

  fail(out: Output, failure: Failure): void {
    out.text(lineOf(failure));
  }
}
