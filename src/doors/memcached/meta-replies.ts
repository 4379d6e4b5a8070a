import type { Item, ItemResult, ItemVerb } from "../../ports/items.js";
import type { Change, Command, Failure, Read } from "./commands.js";
import { secondsLeft } from "./exptime.js";
import type { MetaKey, Returned } from "./meta-flags.js";
import type { Output } from "./output.js";
import { lineOf } from "./said.js";

/**
 * The answers of the meta commands. Errors are told whatever the flags say; `q` hides the outcome that was hoped for (of
 * `mg` that there is none).
 */

/** Opaque and key come back with every outcome. */
function tail(returned: readonly Returned[], key: MetaKey): string {
  let text = "";
  for (const { letter, word } of returned) {
    if (letter === "O") text += ` ${word}`;
    else if (letter === "k") text += ` k${key.shown}`;
  }
  return text;
}

/** `mg`: a read, or with T a get-and-touch. */
export class MetaGet {
  constructor(
    private readonly key: MetaKey,
    private readonly returned: readonly Returned[],
    private readonly withValue: boolean,
    private readonly quiet: boolean,
    private readonly token: boolean,
    private readonly touch: ItemVerb | null,
  ) {}

  command(): Command {
    const { touch, token } = this;
    const keys = [this.key.raw];
    const fail = (out: Output, failure: Failure) => out.text(lineOf(failure));
    if (touch === null) {
      const answer: Read["answer"] = (out, items, from) => this.#answer(out, items[from] ?? null);
      return { kind: "read", keys, token, size: 0, answer, fail };
    }
    const answer: Change["answer"] = (out, [result]) =>
      this.#answer(out, result?.result === "done" ? result.item : null);
    return { kind: "change", keys, verb: touch, after: null, token, size: 0, answer, fail };
  }

  #answer(out: Output, item: Item | null): void {
    if (item === null) {
      if (!this.quiet) out.text(`EN${tail(this.returned, this.key)}\r\n`);
      return;
    }
    out.text(`${this.withValue ? `VA ${item.value.length}` : "HD"}${this.#flags(item)}\r\n`);
    if (!this.withValue) return;
    out.bytes(item.value);
    out.text("\r\n");
  }

  #flags(item: Item): string {
    let { expiresAt } = item;
    let text = "";
    for (const { letter, word } of this.returned) {
      switch (letter) {
        case "s":
          text += ` s${item.value.length}`;
          break;
        case "f":
          text += ` f${item.flags}`;
          break;
        case "c":
          text += ` c${item.token}`;
          break;
        case "T":
          // From here on a `t` tells the new time.
          if (this.touch?.verb === "get-and-touch") expiresAt = this.touch.expiresAt;
          break;
        case "t":
          text += ` t${secondsLeft(expiresAt, Date.now())}`;
          break;
        case "O":
          text += ` ${word}`;
          break;
        case "k":
          text += ` k${this.key.shown}`;
          break;
      }
    }
    return text;
  }
}

export class MetaSet implements Change {
  readonly kind = "change";
  readonly after = null;
  readonly keys: readonly string[];

  constructor(
    private readonly key: MetaKey,
    readonly verb: ItemVerb,
    private readonly returned: readonly Returned[],
    private readonly quiet: boolean,
    readonly token: boolean,
    readonly size: number,
  ) {
    this.keys = [key.raw];
  }

  answer(out: Output, [result]: readonly ItemResult[]): void {
    if (result!.result === "done") {
      if (!this.quiet) out.text(`HD${this.#tail(result!.token)}\r\n`);
      return;
    }
    const grows = this.verb.verb === "append" || this.verb.verb === "prepend" || this.verb.verb === "replace";
    const code = { absent: grows ? "NS" : "NF", present: "NS", changed: "EX", "not-a-number": "NS" }[result!.result];
    out.text(`${code}${this.#tail(0n)}\r\n`);
  }

  fail(out: Output, failure: Failure): void {
    const grows = this.verb.verb === "append" || this.verb.verb === "prepend";
    out.text(grows && failure.kind === "too-large" ? `NS${this.#tail(0n)}\r\n` : lineOf(failure));
  }

  #tail(token: bigint): string {
    let text = "";
    for (const { letter, word } of this.returned) {
      if (letter === "O") text += ` ${word}`;
      else if (letter === "k") text += ` k${this.key.shown}`;
      else if (letter === "c") text += ` c${token}`;
    }
    return text;
  }
}

export class MetaDelete implements Change {
  readonly kind = "change";
  readonly after = null;
  readonly token = false;
  readonly size = 0;
  readonly keys: readonly string[];

  constructor(
    private readonly key: MetaKey,
    readonly verb: ItemVerb,
    private readonly returned: readonly Returned[],
    private readonly quiet: boolean,
  ) {
    this.keys = [key.raw];
  }

  answer(out: Output, [result]: readonly ItemResult[]): void {
    const done = result!.result === "done";
    if (done && this.quiet) return;
    const code = done ? "HD" : result!.result === "changed" ? "EX" : "NF";
    out.text(`${code}${tail(this.returned, this.key)}\r\n`);
  }

  fail(out: Output, failure: Failure): void {
    out.text(lineOf(failure));
  }
}

export class MetaArithmetic implements Change {
  readonly kind = "change";
  readonly size = 0;
  readonly keys: readonly string[];

  constructor(
    private readonly key: MetaKey,
    readonly verb: ItemVerb,
    readonly after: ItemVerb | null,
    private readonly returned: readonly Returned[],
    private readonly withValue: boolean,
    private readonly quiet: boolean,
    readonly token: boolean,
  ) {
    this.keys = [key.raw];
  }

  answer(out: Output, [result]: readonly ItemResult[]): void {
    const { key } = this;
    switch (result!.result) {
      case "not-a-number":
        out.text("CLIENT_ERROR cannot increment or decrement non-numeric value\r\n");
        return;
      case "changed":
        out.text(`EX${tail(this.returned, key)}\r\n`);
        return;
      case "done":
        if (!this.quiet) this.#done(out, result!.token, result!.item);
        return;
      default:
        out.text(`NF${tail(this.returned, key)}\r\n`);
        return;
    }
  }

  fail(out: Output, failure: Failure): void {
    out.text(lineOf(failure));
  }

  #done(out: Output, token: bigint, item: Item | null): void {
    const value = item?.value.toString("latin1") ?? "";
    let expiresAt = item?.expiresAt ?? Number.POSITIVE_INFINITY;
    let flags = "";
    for (const { letter, word } of this.returned) {
      if (letter === "c") flags += ` c${token}`;
      else if (letter === "T" && this.after?.verb === "touch") expiresAt = this.after.expiresAt;
      else if (letter === "t") flags += ` t${secondsLeft(expiresAt, Date.now())}`;
      else if (letter === "O") flags += ` ${word}`;
      else if (letter === "k") flags += ` k${this.key.shown}`;
    }
    out.text(this.withValue ? `VA ${value.length}${flags}\r\n${value}\r\n` : `HD${flags}\r\n`);
  }
}
