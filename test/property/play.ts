import fc, { type Scheduler } from "fast-check";
import { PHASE_NAMES, type PhaseName, type Position } from "../../src/core/phase.js";
import { nextPosition, positionBelow } from "../../src/core/transition.js";
import { loadPhases } from "../../src/phases.js";
import { DEMOTE_AFTER, SIDS, World, type WorldOptions } from "./world.js";

export const PHASES = loadPhases();
const RAMPS = Object.fromEntries(PHASE_NAMES.map((name) => [name, PHASES[name].ramp])) as Record<PhaseName, number[]>;

export type Move = "up" | "down" | "reverse";
export type Action =
  | {
      readonly do: "get" | "set" | "touch" | "destroy";
      readonly node: number;
      readonly sid: number;
      readonly after?: number;
      readonly jitter?: number;
    }
  | { readonly do: "copy"; readonly node: number; readonly force: boolean }
  | { readonly do: "drain" | "crash" | "poll"; readonly node: number; readonly jitter?: number }
  | { readonly do: "redis"; readonly down: boolean }
  | { readonly do: "save" | "restart"; readonly after?: number }
  | { readonly do: "outage"; readonly alone: boolean; readonly after?: number }
  | { readonly do: "legacy"; readonly vague: boolean }
  | { readonly do: "evict"; readonly sid: number; readonly after?: number; readonly jitter?: number };

export interface Script {
  readonly start: Position;
  readonly moves: readonly Move[];
  readonly actions: readonly Action[];
  readonly linger: number;
  readonly hesitate: number;
  readonly lag: number;
}

const node = fc.nat(2);

const operation = (sids: number): fc.Arbitrary<Action> =>
  fc.record({
    do: fc.constantFrom("get" as const, "set" as const, "touch" as const, "destroy" as const),
    node,
    sid: fc.nat(sids - 1),
    // Operations begin all along the transitions: after so many changes of the control record, and a little later.
    after: fc.oneof(fc.constant(0), fc.nat(16)),
    jitter: fc.nat(15),
  });
export const copying = fc.record({ do: fc.constant("copy" as const), node, force: fc.boolean() });
export const draining = fc.record({ do: fc.constant("drain" as const), node });
export const redisOutage = fc.record({ do: fc.constant("redis" as const), down: fc.boolean() });
export const redisRestart = fc.record({
  do: fc.constantFrom("save" as const, "restart" as const),
  after: fc.oneof(fc.constant(0), fc.nat(16)),
});
export const outage = fc.record({
  do: fc.constant("outage" as const),
  alone: fc.boolean(),
  after: fc.oneof(fc.constant(0), fc.nat(16)),
});
export const eviction = fc.record({
  do: fc.constant("evict" as const),
  sid: fc.nat(SIDS.length - 1),
  after: fc.oneof(fc.constant(0), fc.nat(16)),
  jitter: fc.nat(15),
});
export const polling = fc.record({ do: fc.constant("poll" as const), node });
const trouble: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: copying },
  { weight: 4, arbitrary: draining },
  { weight: 2, arbitrary: polling },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("crash" as const), node }) },
  { weight: 2, arbitrary: redisOutage },
  { weight: 1, arbitrary: redisRestart },
  { weight: 1, arbitrary: outage },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("legacy" as const), vague: fc.boolean() }) },
);

export const POSITIONS: readonly Position[] = [
  { phase: "legacy", percent: 100 },
  ...PHASE_NAMES.filter((name) => name !== "legacy" && name !== "complete").flatMap((phase) =>
    RAMPS[phase].map((percent) => ({ phase, percent })),
  ),
];

export interface Bounds {
  readonly starts?: readonly Position[];
  /** Exactly these moves, instead of any. */
  readonly moves?: readonly Move[];
  /** What else happens beside the operations of clients. */
  readonly trouble?: fc.Arbitrary<Action>;
  /** Sids the clients use, by index: fewer make collisions likelier. */
  readonly sids?: number;
  /** Exactly these actions, in whatever order the scheduler starts them. */
  readonly actions?: readonly Action[];
  readonly linger?: number;
  readonly hesitate?: number;
  readonly lag?: number;
}

export const script = ({
  starts = POSITIONS,
  moves,
  trouble: around = trouble,
  sids = SIDS.length,
  actions,
  linger,
  hesitate = 0,
  lag,
}: Bounds = {}) =>
  fc.record<Script>({
    lag: lag === undefined ? fc.oneof(fc.constant(0), fc.nat(15)) : fc.constant(lag),
    hesitate: fc.constant(hesitate),
    linger: linger === undefined ? fc.oneof(fc.constant(0), fc.nat(5)) : fc.constant(linger),
    start: fc.constantFrom(...starts),
    moves: moves
      ? fc.constant(moves)
      : fc.array(fc.constantFrom<Move>("up", "up", "down", "reverse"), { maxLength: 4 }),
    actions: actions
      ? fc.constant(actions)
      : fc.array(fc.oneof({ weight: 3, arbitrary: operation(sids) }, { weight: 1, arbitrary: around }), {
          minLength: 2,
          maxLength: 14,
        }),
  });

/** Plays a script to its end under the scheduler's order and brings the world to rest; throws what it finds wrong. */
export async function play(
  { start, moves, actions, linger, hesitate, lag }: Script,
  scheduler: Scheduler,
  variant: Partial<WorldOptions> = {},
): Promise<World> {
  const options = { sids: SIDS, nodes: 3, phases: PHASES, start, linger, hesitate, lag };
  const world = await World.create({ ...options, ...variant }, scheduler);
  void walk(world, moves).finally(() => world.changed(Number.POSITIVE_INFINITY));
  for (const action of actions) void perform(world, action);
  await settle(world);

  world.isOver = true;
  world.redisDown = false;
  world.legacyVague = false;
  world.changed(Number.POSITIVE_INFINITY);
  await settle(world);
  world.pass(20_000);
  // Time stood still for them all: nobody was silent.
  for (const node of world.live) await done(world, node.follower.poll());
  for (const node of world.live) await done(world, world.poll(node));
  await bringToRest(world);
  const difference = world.differenceAtRest();
  if (difference !== null) throw new Error(difference);
  for (const node of world.live) {
    for (const id of SIDS) await done(world, world.operateOn(node, "get", id));
  }
  const stale = world.staleHistory();
  if (stale !== null) throw new Error(`the history of ${stale} is not linearizable: ${describe(world, stale)}`);
  return world;
}

function perform(world: World, action: Action): Promise<void> {
  switch (action.do) {
    case "copy":
      return world.copy(action.node, action.force);
    case "drain":
      return world.drain(action.node);
    case "crash":
      return world.crash(action.node);
    case "poll":
      return waited(world, action.jitter ?? 0).then(() => world.pollOne(action.node));
    case "redis":
      return world.setRedisDown(action.down);
    case "save":
      return world.afterChanges(action.after ?? 0).then(() => world.saveRedis());
    case "restart":
      return world.afterChanges(action.after ?? 0).then(() => world.restartRedis());
    case "outage":
      return world.afterChanges(action.after ?? 0).then(() => world.outage(action.alone));
    case "legacy":
      return world.setLegacyVague(action.vague);
    case "evict":
      return world
        .afterChanges(action.after ?? 0)
        .then(() => waited(world, action.jitter ?? 0))
        .then(() => world.evict(SIDS[action.sid]!));
    default:
      return operate(world, action.do, action);
  }
}

async function operate(
  world: World,
  verb: "get" | "set" | "touch" | "destroy",
  { node, sid, after = 0, jitter = 0 }: { node: number; sid: number; after?: number; jitter?: number },
): Promise<void> {
  await world.afterChanges(after);
  await waited(world, jitter);
  await world.operate(node, verb, SIDS[sid]!);
}

async function waited(world: World, steps: number): Promise<void> {
  for (let i = 0; i < steps; i++) await world.step("jitter");
}

async function walk(world: World, moves: readonly Move[]): Promise<void> {
  for (const move of moves) {
    await world.step(`move ${move}`);
    const { position, pending } = await world.control.read();
    if (move === "reverse") await world.reverse();
    else if (pending !== null) await world.finish();
    else {
      const to = move === "up" ? nextPosition(position, RAMPS) : positionBelow(position);
      if (to?.phase === "read-through" && move === "up") await world.repairIfVoid().catch(() => {});
      if (to?.phase === "read-through" && move === "up" && (await world.isVoid())) continue;
      if (to !== null && to.phase !== "complete") await world.moveTo(to);
    }
  }
}

/** Lets the scheduler run until nothing is left to run, with a look at the invariants after every step. */
async function settle(world: World, until: () => boolean = () => false): Promise<void> {
  for (;;) {
    if (until()) return;
    if (world.scheduler.count() === 0) {
      await new Promise((resolve) => setImmediate(resolve));
      if (world.scheduler.count() === 0) return;
    }
    await world.scheduler.waitNext(1);
    const violated = world.violatedInvariant();
    if (violated !== null) throw new Error(violated);
  }
}

async function done<T>(world: World, work: Promise<T>): Promise<T> {
  let finished = false;
  const watched = work.finally(() => {
    finished = true;
  });
  watched.catch(() => {});
  await settle(world, () => finished);
  if (!finished) {
    await new Promise((resolve) => setImmediate(resolve));
    if (!finished) throw new Error("something never ends");
  }
  return watched;
}

async function bringToRest(world: World): Promise<void> {
  await done(world, world.evictSilent());
  for (let tries = 0; (await world.control.read()).pending !== null; tries++) {
    if (tries === 3) throw new Error("the pending transition cannot be finished");
    await done(world, world.finish());
  }
  for (let round = 0; round < 3 || !world.isWell; round++) {
    if (round === 20) throw new Error(`Redis is never trusted again: ${await world.told()}`);
    world.pass(DEMOTE_AFTER);
    for (const node of world.live) await done(world, world.poll(node));
    // Evictions that could not be ended before are looked for now and then.
    await done(world, world.evictSilent());
    await done(world, world.drain(0));
  }
  await done(world, world.repairIfVoid());
}

function describe(world: World, id: string): string {
  return JSON.stringify(world.history.get(id));
}

/** Runs of one test file by default: all files of this folder together take some 100 s of CPU. */
export const RUNS = Number(process.env.PROPERTY_RUNS ?? 1_000);

/** PROPERTY_SEED and PROPERTY_PATH, as a failure prints them, play that script again. */
const { PROPERTY_SEED, PROPERTY_PATH } = process.env;
const REPLAY =
  PROPERTY_SEED === undefined ? {} : { seed: Number(PROPERTY_SEED), path: PROPERTY_PATH, endOnFailure: true };

/** Plays so many scripts; fast-check prints the seed and the shortest trace of one that fails. */
export async function assertProtocol(bounds: Bounds, runs = RUNS, variant: Partial<WorldOptions> = {}): Promise<void> {
  await fc.assert(
    fc.asyncProperty(script(bounds), fc.scheduler(), async (scenario, scheduler) => {
      await play(scenario, scheduler, variant);
    }),
    { numRuns: runs, ...REPLAY },
  );
}
