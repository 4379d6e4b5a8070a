import type { Block, Change, Command, Failure } from "./commands.js";
import type { Output } from "./output.js";
import { line, lineOf } from "./said.js";

/**
 * A value that there is no room for is dropped as it comes. A `set` that fails so takes the old item with it, as
 * memcached has it: whoever reads must not find what the client believes to be replaced.
 */
export class TooLarge implements Block {
  readonly keep = false;

  constructor(
    private readonly key: string,
    readonly length: number,
    private readonly removes: boolean,
    private readonly quiet: boolean,
    private readonly kind: "too-large" | "memory",
  ) {}

  finish(): Command {
    const failure: Failure = { kind: this.kind, code: "VALUE_TOO_LARGE" };
    const answer = this.quiet ? () => {} : (out: Output) => out.text(lineOf(failure));
    return this.removes ? removal(this.key, answer) : { kind: "said", size: 0, answer };
  }
}

/** Removes an item; the answer is the same whether that went well or not. */
export function removal(key: string, answer: (out: Output) => void): Change {
  return {
    kind: "change",
    keys: [key],
    verb: { verb: "delete", token: 0n },
    after: null,
    token: false,
    size: 0,
    answer,
    fail: answer,
  };
}

/** A block that is dropped because the line before it was wrong. */
export class Dropped implements Block {
  readonly keep = false;

  constructor(
    readonly length: number,
    private readonly error: string,
  ) {}

  finish(): Command {
    return line(this.error);
  }
}
