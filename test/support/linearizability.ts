/**
 * Decides whether a history of one session is linearizable: whether its operations can be put into one order that a
 * single register (a value with an expiry, or absent) would have answered the same way, without moving an operation
 * before one that had ended when it began.
 */

/** A state of the register; null is absent. */
export type State = { readonly value: string; readonly expiresAt: number } | null;

export type Call =
  | { readonly kind: "get"; result?: State }
  | { readonly kind: "set"; readonly state: State }
  | { readonly kind: "touch"; readonly expiresAt: number; result?: boolean };

export interface Recorded {
  readonly call: Call;
  readonly begun: number;
  /** Infinity while its outcome is unknown: it may take effect at any later time, or never. */
  ended: number;
}

function same(a: State, b: State): boolean {
  return a === b || (a !== null && b !== null && a.value === b.value && a.expiresAt === b.expiresAt);
}

/** The state after the call, or undefined when a register in this state could not have answered so. */
function after(state: State, call: Call, known: boolean): State | undefined {
  switch (call.kind) {
    case "get":
      return !known || same(state, call.result ?? null) ? state : undefined;
    case "set":
      return call.state;
    case "touch":
      if (known && call.result !== (state !== null)) return undefined;
      return state === null ? null : { ...state, expiresAt: call.expiresAt };
  }
}

/**
 * True when the history is linearizable from the given initial state. At most 31 operations.
 *
 * @param forgetful the register may become absent by itself at any time, as an item of memcached does.
 */
export function isLinearizable(history: readonly Recorded[], initial: State, forgetful = false): boolean {
  // A read whose answer nobody got says nothing.
  const ops = history.filter(({ call, ended }) => !(call.kind === "get" && ended === Number.POSITIVE_INFINITY));
  if (ops.length > 31) throw new RangeError("too many operations for one check");
  const must = ops.reduce((mask, op, i) => (op.ended === Number.POSITIVE_INFINITY ? mask : mask | (1 << i)), 0);
  const dead = new Set<string>();

  function search(done: number, state: State): boolean {
    if ((done & must) === must) return true;
    const key = `${done}|${state === null ? "" : `${state.value}@${state.expiresAt}`}`;
    if (dead.has(key)) return false;
    let earliestEnd = Number.POSITIVE_INFINITY;
    ops.forEach((op, i) => {
      if (!(done & (1 << i)) && op.ended < earliestEnd) earliestEnd = op.ended;
    });
    for (let i = 0; i < ops.length; i++) {
      const op = ops[i]!;
      if (done & (1 << i) || op.begun > earliestEnd) continue;
      const next = after(state, op.call, op.ended !== Number.POSITIVE_INFINITY);
      if (next !== undefined && search(done | (1 << i), next)) return true;
    }
    if (forgetful && state !== null && search(done, null)) return true;
    dead.add(key);
    return false;
  }
  return search(0, initial);
}
