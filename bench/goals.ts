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

// Figures in these texts come from profiles and counts of November 2026 on two shared cores: `--cpu-prof` of the measured
// process, Redis' INFO commandstats, and plain and ours in turns within one process (1 KB, 64 under way). See README.md.

const MARKS =
  "every write leaves an intent in Redis before the old store is written and takes it away afterwards, or a crash or an " +
  "overtaking write would leave the two stores apart. The old store must wait for the first of the two: one journey to " +
  "Redis is the floor of the latency. The second is made after the answer, and rides with the next first one. Counted: " +
  "0.35 script calls for a write with 64 under way; in Redis 2.3 GET, 2.0 SET and 1.0 DEL. By the profile the rest is " +
  "this process': its share of a write is 1.8 times the plain store's, spread over promises, the driver and the " +
  "collector of garbage, with no single place above a tenth.";
const SEAL =
  "a hit is one MGET for all reads of one turn of the event loop: the session, its marks (only while the old store has a " +
  "say) and the seal, without a script. By the profile Redis spends no more on it than on plain GETs; the process does, " +
  "1.4 to 1.5 times connect-redis' time for a read: a deadline, the count of operations that a transition waits for, the " +
  "metrics, and the check of every reply's shape before the driver reads it. Leaving out the deadline " +
  "with the metrics, the check, or the clocks changed nothing that could be measured; what is left is promises and " +
  "short-lived objects.";

/** The goals of issue 5, part 1. Ratios of throughput or latency under the same load in the same round. */
export const GOALS: readonly Goal[] = [
  {
    of: "operations/latency/postgres/legacy",
    text: "legacy adds under 3 % to PostgreSQL alone",
    most: 1.03,
    cost:
      "touch is the dearest: a statement each, as with the plain store, and a deadline, an era and the metrics besides. By " +
      "the profiles statements of one session are prepared, which halves what PostgreSQL does for each (100 for 185 µs), and " +
      "reads that wait for a connection go together, twenty to a statement; writes never do, since one that waits for a row's " +
      "lock must not hold up the others.",
  },
  {
    of: "operations/latency/memcached/legacy",
    text: "legacy adds under 3 % to memcached alone",
    most: 1.03,
    cost:
      "each request passes the era counter, a deadline and the metrics, and every session is parsed for its expiry; a request " +
      "to memcached costs the plain client so little that these show.",
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
    cost:
      "every change is also carried to the old store by the drain, on the same two cores while it is measured. Counted " +
      "(/proc) beside `complete`, which has neither marks nor a drain, a set costs the process 87 for 47 µs, Redis 51 for " +
      "15 µs, and PostgreSQL 58 µs.",
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
    cost:
      "a write is a script that looks at the seal first, so that an emptied or replaced Redis takes nothing: Redis spends some " +
      "15 µs on it where a plain SET takes 5, nearly all of it on the language of scripts and not on the commands " +
      "(INFO commandstats).",
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
  {
    of: "plan/memory",
    text: "doctor --plan foretells memory within 25 %",
    most: 0.25,
    cost: "another allocator or release of Redis spends more or less on the same keys.",
  },
  {
    of: "plan/network",
    text: "doctor --plan foretells a backfill's traffic within 25 %",
    most: 0.25,
    cost: "longer keys travel several times with each session.",
  },
  {
    of: "plan/backfill-corrected",
    text: "doctor --plan --measure foretells the duration of a backfill within 25 %",
    most: 0.25,
    cost: "the probe reads for three seconds; what a shared machine does in the minutes after, it cannot know.",
  },
  {
    of: "plan/check-corrected",
    text: "doctor --plan --measure foretells the duration of a check within 25 %",
    most: 0.25,
    cost: "the probe reads for three seconds; what a shared machine does in the minutes after, it cannot know.",
  },
];
