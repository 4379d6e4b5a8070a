import type { CallLimits } from "../../ports/redis-records.js";

/** Calls in one piece at most, since a script holds R up for everybody else while it runs; and bytes, for its memory. */
const MOST = { calls: 100, bytes: 512 * 1024 };

/** Milliseconds that a call waits at most for others to go with, where nobody waits for its answer. */
const LATER = 1;

export interface Kind<I, O> {
  /** Carries all of these out, which are of one slot; outcomes in their order. Its rejection is that of each. */
  perform(items: readonly I[], limits: CallLimits, slot: number): Promise<readonly O[]>;
  slotOf(item: I): number;
  /** How many bytes an item brings along, where that may be many. */
  bytesOf?(item: I): number;
  /** Whether each is to be carried out by itself after this failure of several, which changed nothing. */
  apart?(error: unknown): boolean;
}

interface Waiting<I, O> {
  readonly item: I;
  readonly resolve: (outcome: O) => void;
  readonly reject: (error: unknown) => void;
}

interface Group<I, O> {
  readonly slot: number;
  readonly limits: CallLimits;
  readonly waiting: Waiting<I, O>[];
}

/**
 * Calls that are made in one turn of the event loop and go to R together, as one command for each kind and slot. What a command
 * costs, in the driver, in system calls and in R, is then shared by all of them; nothing waits longer than it takes the
 * event loop to come round. The kinds go in the order in which they were made known, so that what ends an operation
 * reaches R before what begins the next one.
 *
 * A call that nobody waits for goes with the next one of another kind: what ends one operation travels with what begins
 * the next. That saves the system calls and wake-ups of a journey of its own, on both sides.
 */
export class Gathering {
  readonly #kinds: { flush(): void }[] = [];
  #due = false;
  #later: NodeJS.Timeout | undefined;

  kind<I, O>(kind: Kind<I, O>): Gathered<I, O> {
    const gathered = new Gathered(kind, (later) => (later ? this.#flushLater() : this.#flushSoon()));
    this.#kinds.push(gathered);
    return gathered;
  }

  /** At once, what else would go at the end of this turn. */
  flush(): void {
    this.#due = false;
    clearTimeout(this.#later);
    this.#later = undefined;
    for (const kind of this.#kinds) kind.flush();
  }

  #flushSoon(): void {
    if (this.#due) return;
    this.#due = true;
    setImmediate(() => this.flush());
  }

  #flushLater(): void {
    if (!this.#due) this.#later ??= setTimeout(() => this.flush(), LATER);
  }
}

export class Gathered<I, O> {
  /** By slot; of one there is hardly ever a second, of other limits. */
  #groups = new Map<number, Group<I, O>[]>();

  constructor(
    private readonly kind: Kind<I, O>,
    private readonly flushDue: (later: boolean) => void,
  ) {}

  call(item: I, limits: CallLimits): Promise<O> {
    return new Promise((resolve, reject) => {
      this.#groupOf(this.kind.slotOf(item), limits).waiting.push({ item, resolve, reject });
      this.flushDue(limits.later === true);
    });
  }

  flush(): void {
    const groups = this.#groups;
    if (groups.size === 0) return;
    this.#groups = new Map();
    for (const ofSlot of groups.values()) for (const group of ofSlot) this.#send(group);
  }

  #send({ slot, limits, waiting }: Group<I, O>): void {
    for (let from = 0; from < waiting.length; ) {
      const to = this.#endOfPiece(waiting, from);
      this.#carryOut(waiting.slice(from, to), limits, slot);
      from = to;
    }
  }

  /** Calls that may take equally long go together. */
  #groupOf(slot: number, limits: CallLimits): Group<I, O> {
    let ofSlot = this.#groups.get(slot);
    if (ofSlot === undefined) {
      ofSlot = [];
      this.#groups.set(slot, ofSlot);
    }
    const { deadline, hold } = limits;
    let group = ofSlot.find((each) => each.limits.deadline === deadline && each.limits.hold === hold);
    if (group === undefined) {
      group = { slot, limits, waiting: [] };
      ofSlot.push(group);
    }
    return group;
  }

  #endOfPiece(waiting: readonly Waiting<I, O>[], from: number): number {
    let bytes = 0;
    let to = from;
    while (to < waiting.length && to - from < MOST.calls && bytes < MOST.bytes) {
      bytes += this.kind.bytesOf?.(waiting[to]!.item) ?? 0;
      to++;
    }
    return to;
  }

  #carryOut(piece: readonly Waiting<I, O>[], limits: CallLimits, slot: number): void {
    const items = piece.map(({ item }) => item);
    this.kind.perform(items, limits, slot).then(
      (outcomes) => {
        for (let i = 0; i < piece.length; i++) piece[i]!.resolve(outcomes[i]!);
      },
      (error: unknown) => {
        if (piece.length > 1 && this.kind.apart?.(error)) for (const one of piece) this.#carryOut([one], limits, slot);
        else for (const { reject } of piece) reject(error);
      },
    );
  }
}
