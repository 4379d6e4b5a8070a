import type { Sample } from "./statistics.js";

/** What a section measured, by a name that goals refer to. */
export interface Measure {
  readonly id: string;
  readonly unit: string;
  readonly sample: Sample;
}

export interface Goal {
  /** The measure it is about: all of those whose name begins so. */
  readonly of: string;
  readonly text: string;
  /** The median must be no more, or no less, than this. */
  readonly most?: number;
  readonly least?: number;
  /** Where it is missed: what the difference buys, and why it costs that. */
  readonly cost: string;
}

export interface Verdict {
  readonly goal: string;
  readonly measure: string;
  readonly bound: string;
  readonly unit: string;
  readonly measured: Sample;
  readonly held: boolean;
  /** Empty where it is held. */
  readonly why: string;
}

/** Compares medians with goals. A goal without a measure is not judged, since its section did not run. */
export function judge(goals: readonly Goal[], measures: readonly Measure[]): Verdict[] {
  return goals.flatMap((goal) => {
    const { of, text, most = Number.POSITIVE_INFINITY, least = Number.NEGATIVE_INFINITY, cost } = goal;
    return measures
      .filter(({ id }) => id === of || id.startsWith(`${of}/`))
      .map(({ id, unit, sample }) => {
        const held = sample.median <= most && sample.median >= least;
        const bound = goal.most === undefined ? `at least ${least}` : `at most ${most}`;
        return { goal: text, measure: id, bound, unit, measured: sample, held, why: held ? "" : cost };
      });
  });
}

const MARKS =
  "every write leaves an intent in Redis before the old store is written and takes it away afterwards: two calls to " +
  "Redis, of which the first is waited for. Without it a crash or an overtaking write leaves the two stores apart.";
const SEAL =
  "a read looks at the session, its marks and the seal of this Redis in one call and asks for the expiry in a second " +
  "that travels along: the driver and the server handle two commands where the plain store has one.";

/** The goals of issue 5, part 1. Ratios of throughput or latency under the same load in the same round. */
export const GOALS: readonly Goal[] = [
  {
    of: "operations/latency/postgres/legacy",
    text: "legacy adds under 3 % to PostgreSQL alone",
    most: 1.03,
    cost:
      "each request passes the era counter, a deadline and the metrics; the SQL store tells for every statement whether " +
      "it was carried out, which costs a listener more than the plain store's.",
  },
  {
    of: "operations/latency/memcached/legacy",
    text: "legacy adds under 3 % to memcached alone",
    most: 1.03,
    cost: "each request passes the era counter, a deadline and the metrics, and every session is parsed for its expiry.",
  },
  {
    of: "operations/latency/postgres/dual-write/set",
    text: "dual-write set at most 1.15 times the latency of PostgreSQL alone",
    most: 1.15,
    cost: MARKS,
  },
  {
    of: "operations/throughput/memcached/dual-write/set",
    text: "dual-write set at least half of memcached's own throughput",
    least: 0.5,
    cost: MARKS,
  },
  {
    of: "operations/redis/postgres/read-through/get",
    text: "read-through get (a hit) at least 0.85 of plain connect-redis",
    least: 0.85,
    cost: SEAL,
  },
  {
    of: "operations/redis/postgres/full-redis/get",
    text: "full-redis get at least 0.85 of plain connect-redis",
    least: 0.85,
    cost: SEAL,
  },
  {
    of: "operations/redis/postgres/full-redis/set",
    text: "full-redis set at least 0.4 of plain connect-redis, with the drain running",
    least: 0.4,
    cost: "every change is also carried to the old store by the drain, on the same two cores while it is measured.",
  },
  {
    of: "operations/drain/postgres/full-redis",
    text: "the drain keeps up: empty again within the time in which it was filled",
    most: 1,
    cost: "the old store writes fewer sessions a second than Redis takes; the index grows until the load eases.",
  },
  {
    of: "operations/redis/postgres/complete/get",
    text: "complete get at least 0.97 of plain connect-redis",
    least: 0.97,
    cost: SEAL,
  },
  {
    of: "operations/redis/postgres/complete/set",
    text: "complete set at least 0.97 of plain connect-redis",
    least: 0.97,
    cost: "a write is a script that looks at the seal first, so that an emptied or replaced Redis takes nothing.",
  },
  {
    of: "load/p95",
    text: "6,000 writes/s with p95 under 5 ms",
    most: 5,
    cost: "stores, two nodes and the load share two cores: where the plain store misses it as well, the machine does.",
  },
  {
    of: "load/rate",
    text: "6,000 writes/s are carried out",
    least: 0.99,
    cost: "stores, two nodes and the load share two cores: where the plain store misses it as well, the machine does.",
  },
  {
    of: "load/errors",
    text: "no write fails",
    most: 0,
    cost: "our requests have a deadline of 5 s: where the machine cannot carry the load, as the plain store's latency shows beside it, requests end there.",
  },
  {
    of: "door/p95",
    text: "6,000 writes/s through the proxy with p95 under 5 ms",
    most: 5,
    cost: "two stores, the proxy and the load share two cores: see what memcached and nutcracker have in the same run.",
  },
  {
    of: "door/rate",
    text: "6,000 writes/s through the proxy are carried out",
    least: 0.99,
    cost: "two stores, the proxy and the load share two cores: see what memcached and nutcracker have in the same run.",
  },
  { of: "door/errors", text: "no write through the proxy fails", most: 0, cost: "see the table." },
  {
    of: "backfill/postgres/script",
    text: "backfill from PostgreSQL faster than the usual script",
    least: 1,
    cost: "see the backfill's own table.",
  },
  {
    of: "backfill/postgres/limit",
    text: "backfill from PostgreSQL at least 0.6 of psql COPY into redis-cli --pipe",
    least: 0.6,
    cost:
      "a safe copy takes a lease before it reads and asks for it again when it fills, two scripts a session where the " +
      "pipe has one SET, and it must read by session id what COPY streams past in the table's own order.",
  },
  {
    of: "backfill/memcached/script",
    text: "backfill from memcached faster than the usual script",
    least: 1,
    cost: "see the backfill's own table.",
  },
  {
    of: "check",
    text: "check at least at the backfill's rate",
    least: 1,
    cost: "a check lists both stores, looks at each session in both, and shows that it finds planted faults.",
  },
  {
    of: "transition/slower",
    text: "no request more than 20 ms slower while the authority moves",
    most: 20,
    cost: "a request that begins while a node takes new routes waits for nothing; see the spread of the quiet seconds.",
  },
  { of: "transition/failed", text: "no request fails while the authority moves", most: 0, cost: "see the table." },
  {
    of: "growth/time",
    text: "time grows with the number of sessions and no faster (within 20 %)",
    most: 1.2,
    cost: "beyond the processor's caches every look-up of a key costs more, in the old store as in Redis.",
  },
  {
    of: "growth/memory",
    text: "memory of backfill, check and node flat (within 20 %)",
    most: 1.2,
    cost: "the heap grows with what the collector leaves lying, up to a bound that does not depend on the count.",
  },
];
