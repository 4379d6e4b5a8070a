import { setTimeout as delay } from "node:timers/promises";

/** Milliseconds: between two looks at a wait, and after which a wait is told about. */
const LOOK = 5_000;
const TELL = 20_000;
/** A wait during which nothing moves for so long is a hang, and so is one that lasts so long though something moves. */
const STILL = 60_000;
export const MOST = 240_000;

export interface WatchOptions {
  /** Changes while anything goes forward: the control record, what the nodes have acknowledged, what they owe. */
  readonly pulse: () => Promise<string>;
  /** Where everything stands, for whoever has to find out what is waited for. */
  readonly report: () => Promise<string>;
  readonly tell: (line: string) => void;
}

/** Somebody waited for something that does not come: a finding, with the state of everything as its text. */
export class Hang extends Error {
  override readonly name = "Hang";
}

/**
 * Tells a slow machine from one that waits for ever. What is slow moves on, however slowly: so a wait is given up as a
 * hang only when nothing at all has moved for a minute, or after four of them.
 */
export class Watch {
  constructor(readonly options: WatchOptions) {}

  /** The outcome of the work. @throws Hang when it does not come. */
  async during<T>(what: string, work: Promise<T>, still = STILL): Promise<T> {
    const over = new AbortController();
    const watched = this.#watch(what, still, over.signal);
    // A work that was given up may still fail, and nobody listens then.
    work.catch(() => {});
    try {
      return await Promise.race([work, watched]);
    } finally {
      over.abort();
    }
  }

  /** Never resolves while the signal stands. */
  async #watch(what: string, still: number, signal: AbortSignal): Promise<never> {
    const { pulse, report, tell } = this.options;
    const began = performance.now();
    let last = "";
    let movedAt = began;
    let toldAt = began;
    for (;;) {
      await delay(LOOK, undefined, { signal }).catch(() => {});
      if (signal.aborted) return new Promise(() => {});
      const beat = await within(pulse());
      const now = performance.now();
      if (beat !== last) movedAt = now;
      last = beat;
      const waited = `${Math.round((now - began) / 1_000)} s for: ${what}`;
      if (now - movedAt > still || now - began > MOST) {
        throw new Hang(`waited ${waited}\n${await within(report())}`);
      }
      if (now - toldAt < TELL) continue;
      toldAt = now;
      const told = await within(report());
      if (!signal.aborted) tell(`waiting ${waited}\n${told}`);
    }
  }
}

/** What cannot be told within some seconds, because a server is away, counts as not moving. */
async function within(telling: Promise<string>): Promise<string> {
  const late = new AbortController();
  const silence = delay(LOOK, "nothing can be told", { signal: late.signal }).catch(() => "");
  try {
    return await Promise.race([telling.catch((error) => `nothing can be told: ${error}`), silence]);
  } finally {
    late.abort();
  }
}
