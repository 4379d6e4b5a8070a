/**
 * Decides whether a history of one session is linearizable: whether its operations can be put into one order that a
 * single register (a value with an expiry, or absent) would have answered the same way, without moving an operation
 * before one that had ended when it began.
 */

/** A state of the register; null is absent. An expiry of NaN is one that nobody can know. */
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
  return a === b || (a !== null && b !== null && a.value === b.value && Object.is(a.expiresAt, b.expiresAt));
}

function explains(state: State, read: State): boolean {
  if (state === null || read === null) return state === read;
  return state.value === read.value && (Number.isNaN(state.expiresAt) || state.expiresAt === read.expiresAt);
}

export interface Register {
  /** It may become absent by itself at any time, as an item of memcached does. */
  readonly forgetful?: boolean;
  /**
   * It counts an expiry from the moment at which it is told, as memcached does: that of a call which was never answered,
   * and may have arrived whenever, is not known.
   */
  readonly counting?: boolean;
}

/** The state after the call, or undefined when a register in this state could not have answered so. */
function after(state: State, call: Call, known: boolean, counting: boolean): State | undefined {
  const of = (expiresAt: number) => (counting && !known ? Number.NaN : expiresAt);
  switch (call.kind) {
    case "get":
      return !known || explains(state, call.result ?? null) ? state : undefined;
    case "set":
      return call.state && { ...call.state, expiresAt: of(call.state.expiresAt) };
    case "touch":
      if (known && call.result !== (state !== null)) return undefined;
      return state && { ...state, expiresAt: of(call.expiresAt) };
  }
}

/** What may still happen unseen before the next call whose outcome is known: a write and then a touch, a touch, nothing. */
const WRITE = 0;
const TOUCH = 1;
const NOTHING = 2;

/**
 * True when the history is linearizable from the given initial state. At most 31 operations.
 *
 * A call of unknown outcome may always be left out, so the search takes one only where somebody may see it: directly
 * before a known read or touch, at most one write and then at most one touch (whatever came before them is overwritten),
 * of equal ones the one that began first, and nothing that no read ever saw. Without this a history full of timeouts
 * takes minutes.
 */
export function isLinearizable(
  history: readonly Recorded[],
  initial: State,
  { forgetful = false, counting = false }: Register = {},
): boolean {
  const ops = history.filter(worthwhile(history, counting)).sort((a, b) => a.begun - b.begun);
  if (ops.length > 31) throw new RangeError("too many operations for one check");
  const must = ops.reduce((mask, op, i) => (isOpen(op) ? mask : mask | (1 << i)), 0);
  const twins = ops.map((op, i) =>
    isOpen(op) ? ops.findLastIndex((other, j) => j < i && isOpen(other) && alike(op.call, other.call)) : -1,
  );
  const dead = new Set<string>();

  function search(done: number, state: State, free: number): boolean {
    if ((done & must) === must) return true;
    const key = `${done}|${free}|${state === null ? "" : `${state.value}@${state.expiresAt}`}`;
    if (dead.has(key)) return false;
    let earliestEnd = Number.POSITIVE_INFINITY;
    ops.forEach((op, i) => {
      if (!(done & (1 << i)) && op.ended < earliestEnd) earliestEnd = op.ended;
    });
    for (let i = 0; i < ops.length; i++) {
      const op = ops[i]!;
      if (done & (1 << i) || op.begun > earliestEnd) continue;
      const next = after(state, op.call, !isOpen(op), counting);
      if (next === undefined) continue;
      let then = WRITE;
      if (isOpen(op)) {
        if (same(next, state) || (twins[i]! >= 0 && !(done & (1 << twins[i]!)))) continue;
        then = op.call.kind === "touch" ? NOTHING : TOUCH;
        if (then <= free) continue;
      } else if (op.call.kind === "set" && free !== WRITE) continue;
      if (search(done | (1 << i), next, then)) return true;
    }
    if (forgetful && state !== null && free === WRITE && search(done, null, TOUCH)) return true;
    dead.add(key);
    return false;
  }
  return search(0, initial, WRITE);
}

function isOpen({ ended }: Recorded): boolean {
  return ended === Number.POSITIVE_INFINITY;
}

function alike(a: Call, b: Call): boolean {
  if (a.kind === "set") return b.kind === "set" && same(a.state, b.state);
  return a.kind === "touch" && b.kind === "touch" && a.expiresAt === b.expiresAt;
}

/** Whether a call says or explains anything: of those with unknown outcome only what somebody may have seen. */
function worthwhile(history: readonly Recorded[], counting: boolean): (op: Recorded) => boolean {
  const known = history.filter((op) => !isOpen(op)).map(({ call }) => call);
  const seen = known.flatMap((call) => (call.kind === "get" && call.result ? [call.result] : []));
  const values = new Set(seen.map(({ value }) => value));
  const expiries = new Set(seen.map(({ expiresAt }) => expiresAt));
  const found = known.some((call) => call.kind === "touch" && call.result === true);
  return (op) => {
    const { call } = op;
    if (!isOpen(op)) return true;
    if (call.kind === "get") return false;
    if (call.kind === "touch") return counting || expiries.has(call.expiresAt);
    // A value that nobody read may still be what a touch found.
    return call.state === null || found || values.has(call.state.value);
  };
}
