import fc from "fast-check";
import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bucketOf } from "../../src/core/cohort.js";
import { IdSource, newGeneration, newNodeId } from "../../src/core/ids.js";
import { isLive, NEVER, type Session, type Sid } from "../../src/core/session.js";
import type { CasToken, ItemVerb } from "../../src/ports/items.js";
import type {
  ConditionalVerb,
  DirtyRecord,
  Mode,
  OpenMode,
  Outcome,
  RedisRecords,
} from "../../src/ports/redis-records.js";
import { type RunningServer, startRedis } from "../../src/servers/index.js";
import { LEASE_LIFETIME } from "../../src/stores/memory-redis.js";
import { MemoryRedisRecords } from "../../src/stores/records-memory.js";
import { openRecords, plainClient } from "./redis-support.js";

const SIDS: readonly Sid[] = ["one", "two", "three"];
const HOUR = 3_600_000;
const BEGAN = Date.now();
/** One comes to some eight thousand steps. */
const EFFORT = Number(process.env.EFFORT ?? 1);
/** Together with fast-check's own report enough to see any failure again. */
const SEED = Number(process.env.SEED ?? (EFFORT > 1 ? BEGAN % 1_000_000_007 : 1));

const clock = {
  shift: 0,
  now: () => Date.now() + clock.shift,
  elapsed: () => performance.now(),
  sleep: async () => {},
};

/** The two have clocks of their own. */
async function timeless(records: Promise<DirtyRecord[]>): Promise<(Omit<DirtyRecord, "seen"> & { seen: boolean })[]> {
  return (await records).map((record) => ({ ...record, seen: record.seen > 0 }));
}

/** The same calls to the reference in memory and to a real Redis: whatever is asked, both must answer alike. */
class Pair {
  readonly memory = new MemoryRedisRecords({ clock, migration: "shop", items: true });
  readonly ids = new IdSource(newNodeId());
  /** Ids and nonces given out, the newest last: what stands is among the last few. */
  readonly recent: string[] = [];

  constructor(
    readonly redis: RedisRecords,
    readonly plain: Redis,
  ) {}

  async begin(): Promise<void> {
    // Each lease that runs out shifts the clock of the reference alone: no session may run out by that.
    clock.shift = 0;
    await this.plain.flushall();
    const generation = newGeneration();
    for (const records of [this.redis, this.memory]) {
      records.generation = generation;
      await records.arm(generation, "active");
    }
  }

  next(): string {
    const id = this.ids.next();
    this.recent.push(id);
    return id;
  }

  async same<T>(ask: (records: RedisRecords) => Promise<T>): Promise<T> {
    const [answer, reference] = [await ask(this.redis), await ask(this.memory)];
    expect(answer).toEqual(reference);
    return answer;
  }

  async expireLeases(): Promise<void> {
    for (const { mark, state } of await this.memory.view(SIDS)) {
      if (mark !== "lease") continue;
      const sid = SIDS.find((each) => this.memory.snapshot(each).lease === state.slice(1));
      await this.plain.del(`sf:shop:s:sess:${sid}`);
    }
    clock.shift += LEASE_LIFETIME + 1;
  }

  /** Both hold the same, the index holds what is dirty, and intents and a dirty mark never stand together. */
  async compare(): Promise<void> {
    const [views, index] = await Promise.all([this.redis.view(SIDS), this.redis.dirtySids(99)]);
    expect(views).toEqual(await this.memory.view(SIDS));
    const dirty = SIDS.filter((_, i) => views[i]!.mark === "dirty").sort();
    expect([...index].sort()).toEqual(dirty);
    expect([...(await this.memory.dirtySids(99))].sort()).toEqual(dirty);
    for (const sid of SIDS) {
      const { intents, d } = this.memory.snapshot(sid);
      expect(intents.length > 0 && d !== null).toBe(false);
    }
  }
}

const session = (n: number, life: number): Session => ({
  value: Buffer.from(`value ${n}`),
  flags: [0, 0, 1, 0xffff_ffff][n % 4]!,
  expiresAt: life === NEVER ? NEVER : BEGAN + life,
});
const life = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 10 * HOUR, max: 1000 * HOUR }) },
  { weight: 1, arbitrary: fc.constant(NEVER) },
  { weight: 1, arbitrary: fc.constant(-HOUR) },
);
const aSession = fc.tuple(fc.nat(9), life).map(([n, ms]) => session(n, ms));
const maybe = fc.option(aSession, { freq: 4 });
const sid = fc.constantFrom(...SIDS);
const mode = fc.constantFrom<Mode>("L", "R");
const openMode = fc.constantFrom<OpenMode>("L", "R", "L-if-clean");
/** How many ids ago. */
const ago = fc.nat(5);

const token = fc.bigInt({ min: 1n << 62n, max: (1n << 63n) - 1n });
/** Numbers of every length, also such as no floating point tells apart, and what only looks like one. */
const number = fc.oneof(
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map(String),
  fc.nat(30).map(String),
  fc.constantFrom("18446744073709551615", "9007199254740993", "007", " +5", "8  ", "12 ab", "18446744073709551616"),
  fc.constantFrom("", "abc", "-1", "1.5", "9".repeat(30), "0".repeat(25)),
);
const aNumber = fc.tuple(number, life, fc.constantFrom(0, 7)).map(([text, ms, flags]) => {
  return { ...session(0, ms), value: Buffer.from(text), flags };
});
const data = fc.constantFrom("", "x", "12", "\0\xff\r\n").map((text) => Buffer.from(text, "latin1"));
/** A verb, given the token that the item has; often that very one is asked for. */
const aVerb: fc.Arbitrary<(standing: CasToken) => ConditionalVerb> = fc
  .tuple(
    fc.constantFrom<ItemVerb["verb"]>(
      ...(["set", "add", "replace", "cas", "append", "prepend", "delete", "touch", "get-and-touch"] as const),
      ...(["incr", "decr", "incr", "decr"] as const),
    ),
    fc.oneof(aSession, aNumber),
    fc.constantFrom<"any" | "same" | "other">("any", "same", "other"),
    fc.option(token, { nil: 0n }),
    fc.oneof(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), fc.nat(9).map(BigInt)),
    fc.option(aNumber),
    data,
    fc.constantFrom(undefined, 5),
  )
  .map(([name, value, asks, newToken, by, initial, more, largest]) => (standing) => {
    const wanted = asks === "any" ? 0n : asks === "same" ? standing : standing ^ 1n;
    const each = { newToken, ...(largest !== undefined && { largest, alone: true }) };
    switch (name) {
      case "cas":
        return { verb: name, session: value, token: wanted, ...each };
      case "append":
      case "prepend":
        return { verb: name, data: more, token: wanted, ...each };
      case "incr":
      case "decr":
        return { verb: name, by, initial, token: wanted, ...each };
      case "delete":
        return { verb: name, token: wanted, ...each };
      case "touch":
      case "get-and-touch":
        return { verb: name, expiresAt: value.expiresAt, ...each };
      default:
        return { verb: name, session: value, ...each };
    }
  });

type Step = (pair: Pair) => Promise<void>;
const steps: fc.Arbitrary<Step> = fc.oneof(
  sid.map((s) => async (p: Pair) => {
    const lease = p.next();
    await p.same((r) => r.read(s, lease));
  }),
  fc.tuple(sid, openMode, maybe, fc.boolean()).map(([s, m, value, known]) => async (p: Pair) => {
    const [intent, dirty] = [p.next(), p.next()];
    await p.same((r) => r.open(s, intent, m, value, dirty, undefined, known));
  }),
  fc
    .tuple(sid, openMode, aVerb, fc.option(ago), fc.boolean())
    .map(([s, m, verbOf, under, known]) => async (p: Pair) => {
      const lease = under === null ? null : (p.recent.at(-1 - under) ?? null);
      const [intent, dirty] = [p.next(), p.next()];
      const verb = verbOf(p.memory.snapshot(s).token);
      await p.same((r) => r.openIf(s, intent, m, verb, lease, known, dirty));
    }),
  fc.tuple(sid, aVerb).map(([s, verbOf]) => async (p: Pair) => {
    // What works without marks leaves those that stand alone: it belongs to sessions that have none.
    if ((await p.memory.view([s]))[0]!.mark !== "none") return;
    const verb = verbOf(p.memory.snapshot(s).token);
    await p.same((r) => r.performAlone(s, verb));
  }),
  fc.tuple(sid, mode, fc.boolean(), token).map(([s, m, known, fresh]) => async (p: Pair) => {
    const lease = p.next();
    await p.same((r) => r.gets(s, m, lease, known, fresh));
  }),
  fc
    .tuple(
      sid,
      ago,
      fc.oneof(
        aSession.map((value): Outcome => ({ kind: "value", session: value })),
        fc.constant<Outcome>({ kind: "none" }),
        fc.constant<Outcome>({ kind: "withdraw" }),
        fc.constant<Outcome>({ kind: "keep" }),
        fc.constantFrom("7", "7".repeat(80)).map((text): Outcome => ({ kind: "revalue", value: Buffer.from(text) })),
        life.map((ms): Outcome => ({ kind: "keep", expiresAt: session(0, ms).expiresAt })),
      ),
    )
    .map(([s, back, outcome]) => async (p: Pair) => {
      const standing = p.memory.snapshot(s).intents;
      const intent = standing.at(back) ?? p.recent.at(-1 - back) ?? p.next();
      await p.same((r) => r.close(s, intent, outcome));
    }),
  fc.tuple(sid, ago, maybe).map(([s, back, value]) => async (p: Pair) => {
    const lease = p.recent.at(-1 - back) ?? p.next();
    await p.same((r) => r.fill(s, lease, value));
  }),
  fc.uniqueArray(sid).map((sids) => (p: Pair) => p.same((r) => r.mark(sids))),
  fc.tuple(sid, ago).map(([s, back]) => async (p: Pair) => {
    await p.same((r) => timeless(r.dirtyRecords(SIDS)));
    const nonce = p.recent.at(-1 - back) ?? p.next();
    await p.same((r) => r.undirty([{ sid: s, nonce, seen: Date.now() - back }]));
  }),
  fc.uniqueArray(sid).map((sids) => (p: Pair) => {
    const records = sids.map((s) => ({ sid: s, dirty: p.next() }));
    return p.same((r) => r.push(records));
  }),
  { weight: 1, arbitrary: fc.constant<Step>((p) => p.expireLeases()) },
  {
    weight: 1,
    arbitrary: sid.map((s) => async (p: Pair) => {
      await p.same((r) => r.drop([bucketOf(s), bucketOf(s) + 1]));
    }),
  },
);

describe("Redis and the reference in memory", () => {
  let server: RunningServer;
  let plain: Redis;
  let redis: RedisRecords;

  beforeAll(async () => {
    server = await startRedis();
    plain = plainClient(server.url);
    redis = await openRecords(server.url, { items: { flags: 0 } });
  });
  afterAll(async () => {
    await redis?.end();
    plain?.disconnect();
    await server?.stop();
  });

  it("answer alike, whatever is asked in whatever order", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { minLength: 50, maxLength: 120, size: "max" }), async (walk) => {
        const pair = new Pair(redis, plain);
        await pair.begin();
        for (const step of walk) {
          await step(pair);
          await pair.compare();
        }
      }),
      { seed: SEED, numRuns: 50 * EFFORT, interruptAfterTimeLimit: 40_000 },
    );
  });

  it("keep the invariants under writers, readers, copiers, drainers and crashes that follow the rules", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(), { minLength: 150, maxLength: 300, size: "max" }), async (choices) => {
        const pair = new Pair(redis, plain);
        await pair.begin();
        await new Walk(pair, choices).run();
      }),
      { seed: SEED, numRuns: 20 * EFFORT, interruptAfterTimeLimit: 40_000 },
    );
  });
});

/** What is left of an operation: it does one step and says what comes next. */
type Rest = { readonly step: () => Promise<Rest | null>; readonly intent?: { sid: Sid; id: string } };

/** Operations of several nodes over one L, interleaved as a list of numbers says. */
class Walk {
  readonly #l = new Map<Sid, { session: Session | null; version: number }>();
  readonly #under: Rest[] = [];
  #at = 0;
  #written = 0;

  constructor(
    readonly pair: Pair,
    readonly choices: readonly number[],
  ) {}

  async run(): Promise<void> {
    while (this.#at < this.choices.length) {
      await this.#advance();
      await this.#check();
    }
    while (this.#under.length > 0) {
      await this.#step(0);
      await this.#check();
    }
    for (const sid of SIDS) {
      let rest: Rest | null = this.#drain(sid);
      while (rest !== null) rest = await rest.step();
    }
    await this.#check();
    expect(await this.pair.redis.dirtySids(99)).toEqual([]);
    for (const sid of SIDS) expect(this.pair.memory.snapshot(sid)).toMatchObject({ intents: [], d: null });
  }

  #choose(below: number): number {
    return this.choices[this.#at++ % this.choices.length]! % below;
  }

  async #advance(): Promise<void> {
    const { length } = this.#under;
    if (length > 0 && (length > 5 || this.#choose(3) > 0)) {
      const which = this.#choose(length);
      if (this.#choose(20) > 0) return this.#step(which);
      // The node dies; nothing of it can reach L any more, and its intent is swept.
      const [{ intent }] = this.#under.splice(which, 1) as [Rest];
      if (intent) await this.pair.same((r) => r.close(intent.sid, intent.id, { kind: "none" }));
      return;
    }
    const sid = SIDS[this.#choose(SIDS.length)]!;
    const begin = [
      () => this.#write(sid, "L"),
      () => this.#write(sid, "R"),
      () => this.#touch(sid, "L"),
      () => this.#touch(sid, "R"),
      () => this.#read(sid),
      () => this.#repair(sid),
      () => this.#drain(sid),
    ];
    this.#under.push(begin[this.#choose(begin.length)]!());
    return this.#step(this.#under.length - 1);
  }

  async #step(which: number): Promise<void> {
    const [operation] = this.#under.splice(which, 1);
    const rest = await operation!.step();
    if (rest !== null) this.#under.push(rest);
  }

  #held(sid: Sid): { session: Session | null; version: number } {
    return this.#l.get(sid) ?? { session: null, version: 0 };
  }

  #put(sid: Sid, session: Session | null): void {
    this.#l.set(sid, { session, version: this.#held(sid).version + 1 });
  }

  #write(sid: Sid, mode: Mode): Rest {
    const value = this.#choose(3) === 0 ? null : session(this.#written++, 100 * HOUR);
    const [id, dirty] = [this.pair.next(), this.pair.next()];
    const outcome: Outcome =
      value !== null && this.#choose(4) > 0 ? { kind: "value", session: value } : { kind: "none" };
    return {
      step: async () => {
        if ((await this.pair.same((r) => r.open(sid, id, mode, value, dirty))) === "R") return null;
        return this.#onL(sid, id, () => {
          this.#put(sid, value);
          return outcome;
        });
      },
    };
  }

  #touch(sid: Sid, mode: Mode): Rest {
    const expiresAt = BEGAN + 200 * HOUR + this.#choose(1000);
    const verb = { verb: "touch", expiresAt } as const;
    const [id, dirty] = [this.pair.next(), this.pair.next()];
    return {
      step: async () => {
        const { answer } = await this.pair.same((r) => r.openIf(sid, id, mode, verb, null, false, dirty));
        if (answer !== "L") return null;
        return this.#onL(sid, id, () => {
          const { session: held } = this.#held(sid);
          if (held === null) return { kind: "none" };
          this.#put(sid, { ...held, expiresAt });
          return { kind: "keep", expiresAt };
        });
      },
    };
  }

  #onL(sid: Sid, id: string, change: () => Outcome): Rest {
    const intent = { sid, id };
    return {
      intent,
      step: async () => {
        const outcome = change();
        return {
          intent,
          step: async () => {
            await this.pair.same((r) => r.close(sid, id, outcome));
            return null;
          },
        };
      },
    };
  }

  #read(sid: Sid): Rest {
    const lease = this.pair.next();
    return {
      step: async () => {
        const answer = await this.pair.same((r) => r.read(sid, lease));
        if (answer.from === "R" || answer.lease === null) return null;
        const standing = answer.lease;
        return {
          step: async () => {
            const { session: held } = this.#held(sid);
            return {
              step: async () => {
                await this.pair.same((r) => r.fill(sid, standing, held));
                return null;
              },
            };
          },
        };
      },
    };
  }

  #repair(sid: Sid): Rest {
    return {
      step: async () => {
        await this.pair.same((r) => r.mark([sid]));
        return this.#read(sid);
      },
    };
  }

  #drain(sid: Sid): Rest {
    return {
      step: async () => {
        const { version } = this.#held(sid);
        return {
          step: async () => {
            const [record] = await this.pair.same((r) => timeless(r.dirtyRecords([sid])));
            const { nonce, session: ahead } = record!;
            if (nonce === null) return null;
            return {
              step: async () => {
                if (this.#held(sid).version !== version) return null;
                this.#put(sid, ahead);
                return {
                  step: async () => {
                    await this.pair.same((r) => r.undirty([{ sid, nonce, seen: Date.now() }]));
                    return null;
                  },
                };
              },
            };
          },
        };
      },
    };
  }

  /** I empty, d unset and v present: v equals L's. */
  async #check(): Promise<void> {
    await this.pair.compare();
    for (const sid of SIDS) {
      const { v, intents, d } = this.pair.memory.snapshot(sid);
      const { session: held } = this.#held(sid);
      if (v === null || intents.length > 0 || d !== null) continue;
      expect({ sid, v }).toEqual({ sid, v: isLive(held, clock.now()) ? held : null });
    }
  }
}
