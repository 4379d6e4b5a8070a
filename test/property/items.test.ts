import fc, { type Scheduler } from "fast-check";
import { describe, expect, it } from "vitest";
import { FerryItems } from "../../src/ferry/items.js";
import { loadPhases } from "../../src/phases.js";
import type { CasToken, ItemResult, ItemVerb } from "../../src/ports/items.js";
import type { GetsAnswer, Mode, Outcome } from "../../src/ports/redis-records.js";
import { MemoryRedisRecords } from "../../src/stores/records-memory.js";
import { ItemsWorld, type ItemsWorldOptions, rungsOf, type Shown, SID, shown } from "./items-world.js";

/** Rule 13 in every phase and between them: the history of one item is one that a single memcached could have had. */

const PHASES = loadPhases();
const RUNGS = rungsOf(PHASES).length;
const RUNS = Math.ceil(Number(process.env.PROPERTY_RUNS ?? 1_000) / 2);
const LIFE = 10_000_000;

type Name = "get" | "gets" | "swap" | "copy" | "drain" | Exclude<ItemVerb["verb"], "decr" | "cas" | "prepend">;

interface Act {
  readonly does: Name;
  readonly node: number;
  readonly after: number;
}

interface Done {
  readonly act: Name;
  readonly value: string;
  readonly flags: number;
  readonly expiresAt: number;
  /** Of a swap: what the token belonged to. */
  expected?: string;
  found?: Shown | null;
  result?: ItemResult["result"];
  readonly begun: number;
  ended: number;
}

const NAMES = [
  ...(["get", "gets", "swap", "swap", "set", "add", "replace", "append", "delete"] as const),
  ...(["touch", "get-and-touch", "copy", "drain"] as const),
];

/** Where items are numbers. */
const COUNTING = ["get", "get", "set", "incr", "incr", "incr", "touch", "delete", "copy", "copy", "drain"] as const;

const scriptsOf = (names: readonly Name[]) =>
  fc.record({
    start: fc.nat(RUNGS - 1),
    moves: fc.array(fc.constantFrom<1 | -1>(1, -1), { maxLength: 5 }),
    acts: fc.array(
      fc.record<Act>({
        does: fc.constantFrom<Name>(...names),
        node: fc.nat(1),
        after: fc.nat(30),
      }),
      { minLength: 2, maxLength: 9 },
    ),
  });
type Script = ReturnType<typeof scriptsOf> extends fc.Arbitrary<infer T> ? T : never;

async function play({ start, moves, acts }: Script, scheduler: Scheduler, variant: Partial<ItemsWorldOptions> = {}) {
  const world = new ItemsWorld({ phases: PHASES, start, ...variant }, scheduler);
  const history: Done[] = [];
  let time = 0;
  let values = 0;
  const perform = async (act: Act): Promise<void> => {
    for (let i = 0; i < act.after; i++) await world.step("later");
    const { ctx, items } = world.nodes[act.node]!;
    if (act.does === "copy") return void (await copyOf(world, ctx));
    if (act.does === "drain") return void (await drainOf(world, ctx));
    const n = ++values;
    const isNumber = acts.some(({ does }) => does === "incr");
    const [value, flags, expiresAt] = [isNumber ? `${n}00` : `v${n}.`, n, world.clock.now() + LIFE + n];
    let token: CasToken = 0n;
    const record = (name: Name): Done => {
      const done: Done = { act: name, value, flags, expiresAt, begun: ++time, ended: Number.POSITIVE_INFINITY };
      history.push(done);
      return done;
    };
    const look = async (): Promise<Shown | null> => {
      const done = record("get");
      const [item] = await items.read([SID], { token: act.does !== "get" });
      token = item?.token ?? 0n;
      done.found = shown(item ?? null);
      done.ended = ++time;
      return done.found;
    };
    if (act.does === "get" || act.does === "gets") return void (await look());
    let expected: string | undefined;
    if (act.does === "swap") {
      const seen = await look();
      if (seen === null) return;
      expected = seen.value;
      for (let i = 0; i < act.after; i++) await world.step("thinks");
    }
    const session = { value: Buffer.from(value), flags, expiresAt };
    const verb: ItemVerb =
      act.does === "swap"
        ? { verb: "cas", session, token }
        : act.does === "append"
          ? { verb: "append", data: session.value, token: 0n }
          : act.does === "incr"
            ? { verb: "incr", by: BigInt(value), initial: null, token: 0n }
            : act.does === "delete"
              ? { verb: "delete", token: 0n }
              : act.does === "touch" || act.does === "get-and-touch"
                ? { verb: act.does, expiresAt }
                : { verb: act.does, session };
    const done = record(act.does);
    if (expected !== undefined) done.expected = expected;
    const result = await items.perform(SID, verb, { token: act.node === 0 });
    done.result = result.result;
    if (result.result === "done" && act.does === "get-and-touch") done.found = shown(result.item);
    if (result.result === "done" && act.does === "incr") done.expected = result.item?.value.toString();
    done.ended = ++time;
  };
  const walk = async () => {
    for (const by of moves) await world.move(by);
  };
  const errors: unknown[] = [];
  const all = Promise.all([walk(), ...acts.map(perform)].map((work) => work.catch((error) => void errors.push(error))));
  await run(scheduler, all);
  const last = Promise.all([0, 1].map((node) => perform({ does: "get", node, after: 0 })));
  await run(scheduler, last);
  expect(errors).toEqual([]);
  const authorityMoved = moves.length > 0;
  if (!isLinearizable(history, authorityMoved)) throw new Error(`no memcached answers so: ${JSON.stringify(history)}`);
}

async function run(scheduler: Scheduler, work: Promise<unknown>): Promise<void> {
  let over = false;
  void work.finally(() => {
    over = true;
  });
  for (let idle = 0; !over || scheduler.count() > 0; ) {
    if (scheduler.count() > 0) {
      await scheduler.waitNext(1);
      idle = 0;
    } else {
      await new Promise((resolve) => setImmediate(resolve));
      if (idle++ > 50) throw new Error("something never ends");
    }
  }
}

async function copyOf(world: ItemsWorld, ctx: ItemsWorld["nodes"][number]["ctx"]): Promise<void> {
  const { copy } = await import("../../src/ferry/copy.js");
  await world.step("copy");
  await copy(ctx, [SID]);
}

async function drainOf(world: ItemsWorld, ctx: ItemsWorld["nodes"][number]["ctx"]): Promise<void> {
  const { drain } = await import("../../src/ferry/drain.js");
  await world.step("drain");
  // A node drains only where R may be ahead.
  if (ctx.routing.placement(SID).routes.read !== "L") await drain(ctx, [SID]);
}

/** The state after an operation that answered so, or undefined when memcached in this state answers otherwise. */
function after(state: Shown | null, done: Done, lenient: boolean): Shown | null | undefined {
  const { value, flags, expiresAt } = done;
  const next = { value, flags, expiresAt };
  const same = (a: Shown | null, b: Shown | null) => JSON.stringify(a) === JSON.stringify(b);
  const answers = (result: ItemResult["result"], to: Shown | null) => (done.result === result ? to : undefined);
  switch (done.act) {
    case "get":
      return same(state, done.found ?? null) ? state : undefined;
    case "set":
      return next;
    case "add":
      return state === null ? answers("done", next) : answers("present", state);
    case "replace":
      return state === null ? answers("absent", null) : answers("done", next);
    case "swap": {
      if (state === null) return answers("absent", null);
      if (done.result === "changed") return lenient || state.value !== done.expected ? state : undefined;
      return state.value === done.expected ? answers("done", next) : undefined;
    }
    case "append":
      return state === null ? answers("absent", null) : answers("done", { ...state, value: state.value + value });
    case "incr": {
      if (state === null) return answers("absent", null);
      const counted = String(Number(state.value) + Number(value));
      return done.expected === counted ? answers("done", { ...state, value: counted }) : undefined;
    }
    case "delete":
      return state === null ? answers("absent", null) : answers("done", null);
    default: {
      if (state === null) return answers("absent", null);
      const touched = { ...state, expiresAt };
      if (done.act === "get-and-touch" && !same(touched, done.found ?? null)) return undefined;
      return answers("done", touched);
    }
  }
}

function isLinearizable(history: readonly Done[], lenient: boolean): boolean {
  const dead = new Set<string>();
  const whole = (1 << history.length) - 1;
  const search = (done: number, state: Shown | null): boolean => {
    if (done === whole) return true;
    const key = `${done}|${JSON.stringify(state)}`;
    if (dead.has(key)) return false;
    dead.add(key);
    const left = history.filter((_, i) => !(done & (1 << i)));
    const earliest = Math.min(...left.map(({ ended }) => ended));
    return history.some((op, i) => {
      if (done & (1 << i) || op.begun > earliest) return false;
      const next = after(state, op, lenient);
      return next !== undefined && search(done | (1 << i), next);
    });
  };
  return search(0, null);
}

const property = (
  variant: Partial<ItemsWorldOptions> = {},
  only: Partial<Script> = {},
  names = NAMES as readonly Name[],
) =>
  fc.asyncProperty(scriptsOf(names), fc.scheduler(), (script, scheduler) =>
    play({ ...script, ...only }, scheduler, variant),
  );

describe("items under rule 13", () => {
  it("are one memcached's, while the authority moves", async () => {
    await fc.assert(property(), { numRuns: RUNS });
  }, 600_000);

  it("count as one memcached does, while the authority moves", async () => {
    await fc.assert(property({}, {}, COUNTING), { numRuns: RUNS });
  }, 600_000);

  it("never refuse a cas without cause while it rests", async () => {
    await fc.assert(property({}, { moves: [] }), { numRuns: RUNS });
  }, 600_000);
});

/** R decides though it does not know what L holds. */
class Presumptuous extends MemoryRedisRecords {
  protected override knows(): boolean {
    return true;
  }
}
/** R numbers its tokens as memcached does. */
class CountsTokens extends MemoryRedisRecords {
  override gets(sid: string, mode: Mode, lease: string, known: boolean, token: CasToken): Promise<GetsAnswer> {
    return super.gets(sid, mode, lease, known, (token & 1n) + 1n);
  }
}
/** A gets in mode L asks L though R is ahead. */
class NeverBehind extends MemoryRedisRecords {
  override async gets(sid: string, mode: Mode, lease: string, known: boolean, token: CasToken): Promise<GetsAnswer> {
    const answer = await super.gets(sid, mode, lease, known, token);
    return answer.from === "dirty" ? { from: "L", lease: null } : answer;
  }
}
/** After an append the hidden value comes back. */
class KeepsAfterAppend extends FerryItems {
  protected override outcomeOf(verb: ItemVerb, result: ItemResult): Outcome {
    return verb.verb === "append" ? { kind: "keep" } : super.outcomeOf(verb, result);
  }
}
/** After a count the hidden value comes back as it was. */
class KeepsAfterCount extends FerryItems {
  protected override outcomeOf(verb: ItemVerb, result: ItemResult): Outcome {
    const outcome = super.outcomeOf(verb, result);
    return outcome.kind === "revalue" ? { kind: "keep" } : outcome;
  }
}
/** A refused verb closes as if it had been carried out. */
class BelievesRefusals extends FerryItems {
  protected override outcomeOf(verb: ItemVerb, result: ItemResult): Outcome {
    return super.outcomeOf(verb, { ...result, result: "done" } as ItemResult);
  }
}

describe("leaving out of rule 13", () => {
  /** Just below redis-first, and into it. */
  const INTO_REDIS_FIRST = { start: RUNGS - 4, moves: [1 as const] };
  const PARTS: [string, Partial<ItemsWorldOptions>, Partial<Script>?, (readonly Name[])?][] = [
    ["the question whether R knows", { records: Presumptuous }],
    ["tokens that are R's alone", { records: CountsTokens }, INTO_REDIS_FIRST, ["swap", "set", "gets"]],
    ["the drain before a token of L is given out", { records: NeverBehind }],
    ["none after an append", { items: KeepsAfterAppend }],
    ["the count in the hidden value", { items: KeepsAfterCount }, undefined, COUNTING],
    ["keep after a refusal", { items: BelievesRefusals }],
  ];
  it.each(PARTS)(
    "%s",
    async (_, variant, only, names) => {
      const broken = await fc.check(property(variant, only, names), { numRuns: 20_000, endOnFailure: true });
      expect(broken.failed, `${broken.numRuns} runs found nothing wrong`).toBe(true);
      const whole = await fc.check(property({}, only, names), {
        seed: broken.seed,
        path: broken.counterexamplePath!,
        endOnFailure: true,
        numRuns: 1,
      });
      expect(whole.failed).toBe(false);
    },
    600_000,
  );
});
