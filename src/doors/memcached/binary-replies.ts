import type { Item, ItemResult, ItemVerb } from "../../ports/items.js";
import { type Echo, error, failure, flags, header, REFUSAL, STATUS, type Status } from "./binary-format.js";
import type { Change, Failure, Flush, Read, Stats, Version } from "./commands.js";
import type { Output } from "./output.js";

/** The answers of the binary protocol. */

function value(out: Output, echo: Echo, item: Item, key: string): void {
  header(out, echo, STATUS.ok, item.token, 4, key.length, item.value.length);
  flags(out, item.flags);
  if (key !== "") out.text(key);
  out.bytes(item.value);
}

/** What was asked with its key is missed with its key, too. */
function missed(out: Output, echo: Echo, key: string): void {
  if (key === "") {
    error(out, echo, STATUS.notFound);
    return;
  }
  header(out, echo, STATUS.notFound, 0n, 0, key.length, 0);
  out.text(key);
}

/** GET, GETK and their quiet forms. */
export class BinaryRead implements Read {
  readonly kind = "read";
  readonly size = 0;
  readonly keys: readonly string[];

  constructor(
    private readonly echo: Echo,
    private readonly key: string,
    private readonly withKey: boolean,
    private readonly quiet: boolean,
    readonly token: boolean,
  ) {
    this.keys = [key];
  }

  answer(out: Output, items: readonly (Item | null)[], from: number): void {
    const item = items[from] ?? null;
    const key = this.withKey ? this.key : "";
    if (item !== null) value(out, this.echo, item, key);
    else if (!this.quiet) missed(out, this.echo, key);
  }

  fail(out: Output, why: Failure): void {
    failure(out, this.echo, why);
  }
}

/** Everything that changes an item; also TOUCH and GAT. */
export class BinaryChange implements Change {
  readonly kind = "change";
  readonly after = null;
  readonly keys: readonly string[];

  constructor(
    private readonly echo: Echo,
    private readonly key: string,
    readonly verb: ItemVerb,
    /** What a reply tells besides the outcome. */
    readonly told: "plain" | "extend" | "count" | "flags" | "value" | "key",
    private readonly quiet: boolean,
    readonly token: boolean,
    readonly size: number,
  ) {
    this.keys = [key];
  }

  answer(out: Output, [result]: readonly ItemResult[]): void {
    if (result!.result === "done") {
      this.#done(out, result!.token, result!.item);
      return;
    }
    const isRead = this.told === "value" || this.told === "key";
    if (isRead && this.quiet) return;
    if (this.told === "key") {
      missed(out, this.echo, this.key);
      return;
    }
    error(out, this.echo, this.#refusal(result!.result));
  }

  fail(out: Output, why: Failure): void {
    if (this.told === "extend" && why.kind === "too-large") {
      error(out, this.echo, STATUS.notStored);
      return;
    }
    failure(out, this.echo, why);
  }

  #refusal(result: Exclude<ItemResult["result"], "done">): Status {
    return result === "absent" && this.told === "extend" ? STATUS.notStored : REFUSAL[result];
  }

  #done(out: Output, token: bigint, item: Item | null): void {
    const { echo, told } = this;
    if (told === "value" || told === "key") {
      value(out, echo, item!, told === "key" ? this.key : "");
      return;
    }
    if (told === "flags") {
      header(out, echo, STATUS.ok, item!.token, 4, 0, 0);
      flags(out, item!.flags);
      return;
    }
    if (this.quiet) return;
    header(out, echo, STATUS.ok, token, 0, 0, told === "count" ? 8 : 0);
    if (told !== "count") return;
    const [bytes, at] = out.place(8);
    bytes.writeBigUInt64BE(BigInt(item!.value.toString("latin1").trimEnd()), at);
  }
}

export class BinaryFlush implements Flush {
  readonly kind = "flush";
  readonly size = 0;
  readonly malformed = false;

  constructor(
    private readonly echo: Echo,
    private readonly quiet: boolean,
    readonly delayed: boolean,
  ) {}

  answer(out: Output): void {
    if (!this.quiet) header(out, this.echo, STATUS.ok, 0n, 0, 0, 0);
  }

  /** memcached says an authentication failed where flushing is forbidden. */
  refuse(out: Output): void {
    error(out, this.echo, STATUS.authentication);
  }

  fail(out: Output, why: Failure): void {
    failure(out, this.echo, why);
  }
}

export class BinaryVersion implements Version {
  readonly kind = "version";
  readonly size = 0;

  constructor(private readonly echo: Echo) {}

  answer(out: Output, version: string): void {
    header(out, this.echo, STATUS.ok, 0n, 0, 0, version.length);
    out.text(version);
  }
}

/** One packet a line, and one without a key at the end. */
export class BinaryStats implements Stats {
  readonly kind = "stats";

  constructor(
    private readonly echo: Echo,
    readonly which: string,
  ) {}

  get size(): number {
    return this.which.length;
  }

  answer(out: Output, lines: string): void {
    const rows = lines.split("\r\n").filter((line) => line.startsWith("STAT "));
    if (rows.length === 0 && !lines.startsWith("END") && !lines.startsWith("RESET")) {
      error(out, this.echo, STATUS.notFound);
      return;
    }
    for (const row of rows) {
      const blank = row.indexOf(" ", 5);
      const name = blank < 0 ? row.slice(5) : row.slice(5, blank);
      const text = blank < 0 ? "" : row.slice(blank + 1);
      header(out, this.echo, STATUS.ok, 0n, 0, name.length, text.length);
      out.text(name);
      out.text(text);
    }
    header(out, this.echo, STATUS.ok, 0n, 0, 0, 0);
  }

  fail(out: Output, why: Failure): void {
    failure(out, this.echo, why);
  }
}
