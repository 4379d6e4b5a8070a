import type { Session, Sid } from "../../src/core/session.js";
import type { Sessions } from "../../src/ports/sessions.js";
import { type Call, isLinearizable, type Recorded, type Register, type State } from "./linearizability.js";

/** What the recorded traffic goes to: a node in this process, or one in a process of its own. */
export type Member = Pick<Sessions, "get" | "set" | "touch" | "destroy">;

/**
 * Expiries of recorded sessions are multiples of this, and what is read back is rounded to it: so those of a store that
 * counts whole seconds compare as well, and two different ones still are told apart.
 */
export const EXPIRY_STEP = 10_000;

/** The checker takes 31 operations; the rest is left for requests under way and the reads at the end. */
const WINDOW = 22;

/** A session that ought never to be seen in this state, and everything that was done to it. */
export interface Violation {
  readonly what: string;
  readonly history: readonly Recorded[];
}

/** Records what clients did to each session and what they were told, and checks every session's history. */
export class History {
  readonly #histories = new Map<Sid, Recorded[]>();
  #tick = 0;
  operations = 0;
  /** Of requests that were answered with an error, by its code. */
  readonly errors = new Map<string, number>();
  readonly failures: {
    readonly code: string;
    readonly verb: string;
    /** When it began; milliseconds since the epoch. */
    readonly since: number;
    readonly detail: string;
  }[] = [];
  /** Milliseconds of the slowest request since it was last set to 0, answered or failed. */
  slowest = 0;

  get sids(): readonly Sid[] {
    return [...this.#histories.keys()];
  }

  isFull(sid: Sid): boolean {
    return (this.#histories.get(sid)?.length ?? 0) >= WINDOW;
  }

  of(sid: Sid): readonly Recorded[] {
    return this.#histories.get(sid) ?? [];
  }

  /** Forgets everything about these sessions: their store lost them by itself. */
  forget(sids: Iterable<Sid>): void {
    for (const sid of sids) this.#histories.delete(sid);
  }

  get(member: Member, sid: Sid): Promise<State | undefined> {
    const call: Call = { kind: "get" };
    return this.#record(sid, call, async () => {
      const result = stateOf(await member.get(sid));
      Object.assign(call, { result });
      return result;
    });
  }

  /**
   * A read as any, but one that is told the same as the one before it, while nothing else ended, is not kept: whatever
   * order explains the history without it has a place for it, right behind that one. So any number of members may read
   * a session at the end.
   */
  async reread(member: Member, sid: Sid): Promise<void> {
    await this.get(member, sid);
    const history = this.#histories.get(sid)!;
    const [before, last] = history.slice(-2);
    if (before === undefined || last === undefined || !isSameRead(before, last)) return;
    if (history.some(({ ended }) => ended > before.ended && ended < last.begun)) return;
    history.pop();
  }

  async set(member: Member, sid: Sid, session: Session): Promise<void> {
    await this.#record(sid, { kind: "set", state: stateOf(session) }, () => member.set(sid, session));
  }

  async touch(member: Member, sid: Sid, expiresAt: number): Promise<void> {
    const call: Call = { kind: "touch", expiresAt: rounded(expiresAt) };
    await this.#record(sid, call, async () => {
      Object.assign(call, { result: await member.touch(sid, expiresAt) });
    });
  }

  async destroy(member: Member, sid: Sid): Promise<void> {
    await this.#record(sid, { kind: "set", state: null }, () => member.destroy(sid));
  }

  /** Every session whose history no single register of this kind could have answered. */
  violations(register: Register = {}): Violation[] {
    const found: Violation[] = [];
    for (const history of this.#histories.values()) {
      if (!isLinearizable(history, null, register)) found.push({ what: "a history is not linearizable", history });
    }
    return found;
  }

  /** Undefined when the request failed: then it stays open, since it may have taken effect or still do. */
  async #record<T>(sid: Sid, call: Call, perform: () => Promise<T>): Promise<T | undefined> {
    const recorded: Recorded = { call, begun: this.#tick++, ended: Number.POSITIVE_INFINITY };
    const history = this.#histories.get(sid);
    if (history === undefined) this.#histories.set(sid, [recorded]);
    else history.push(recorded);
    this.operations++;
    const since = Date.now();
    const started = performance.now();
    try {
      const result = await perform();
      recorded.ended = this.#tick++;
      return result;
    } catch (error) {
      const { code = "none", message } = error as { code?: string; message: string };
      this.errors.set(code, (this.errors.get(code) ?? 0) + 1);
      this.failures.push({ code, verb: call.kind, since, detail: message });
      return undefined;
    } finally {
      this.slowest = Math.max(this.slowest, performance.now() - started);
    }
  }
}

function isSameRead(before: Recorded, after: Recorded): boolean {
  if (before.call.kind !== "get" || after.call.kind !== "get" || after.ended === Number.POSITIVE_INFINITY) return false;
  const [a, b] = [before.call.result ?? null, after.call.result ?? null];
  return before.ended < after.begun && a?.value === b?.value && a?.expiresAt === b?.expiresAt;
}

export function stateOf(session: Session | null): State {
  return session === null ? null : { value: session.value.toString(), expiresAt: rounded(session.expiresAt) };
}

function rounded(expiresAt: number): number {
  return Math.round(expiresAt / EXPIRY_STEP) * EXPIRY_STEP;
}
