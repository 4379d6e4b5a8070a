import { type BackfillCheckpoint, isFilled } from "./backfill-state.js";
import { percent } from "./check-result.js";
import type { Config } from "./config.js";
import { duration, type EvidenceAnswer, type Standing, weigh } from "./evidence.js";
import { type Position, phaseBelow } from "./phase.js";

/** One registered node, as far as the gates look at it. */
export interface NodeFacts {
  readonly id: string;
  readonly role: "app" | "proxy" | "job";
  readonly protocol: number;
  readonly state: "live" | "evicted";
  readonly report: {
    readonly gap: number;
    readonly redis: "up" | "down" | "lost" | "unused";
    readonly operations: number;
    readonly errors: number;
    readonly p95: number | null;
  };
}

/** Everything the gates are decided by. Null stands for "could not be found out", and never passes a gate. */
export interface GateFacts {
  readonly target: Position;
  /** The buckets below this are in the target's phase afterwards. */
  readonly below: number;
  readonly limits: Config["gates"];
  readonly accept: Config["accept"];
  /** Milliseconds since the epoch by the control store's clock. */
  readonly now: number;
  readonly generation: string;
  readonly legacyIdentity: string | null;
  readonly standing: Standing;
  readonly backfill: BackfillCheckpoint | null;
  /** Since when R has kept the copies of the buckets below `below` without a break; null: as far as is known. */
  readonly copiesSince: number | null;
  readonly nodes: readonly NodeFacts[];
  readonly redis: {
    readonly runId: string;
    readonly usedMemory: number;
    readonly maxMemory: number | null;
    readonly evictionPolicy: string | null;
  } | null;
  readonly dirty: { readonly count: number; readonly oldestAge: number } | null;
  /** Of these, what the legacy store never takes, by the error that it gives: only Redis has it. */
  readonly refused: readonly { readonly code: string; readonly count: number }[];
  /** Since when the phase below the target's has held at 100 % without a break; null where the ledger does not tell. */
  readonly below100Since: number | null;
}

export interface Verdict {
  readonly ok: boolean;
  readonly measured: string;
  readonly required: string;
  readonly remedy: string;
}

/** "Small" for the last step: so many changes are drained within the seconds that the barrier takes anyway. */
const MAX_DIRTY_COUNT = 1000;

function serving(facts: GateFacts): NodeFacts[] {
  return facts.nodes.filter((node) => node.role !== "job" && node.state === "live");
}

export function protocol(facts: GateFacts): Verdict {
  const numbers = [...new Set(facts.nodes.filter((n) => n.state === "live").map((n) => n.protocol))].sort();
  return {
    ok: numbers.length <= 1,
    measured: numbers.length === 0 ? "no nodes" : `protocol ${numbers.join(" and ")}`,
    required: "one protocol number on all nodes",
    remedy: "Bring every node to the same release; see them with: sessionferry nodes",
  };
}

export function backfill(facts: GateFacts): Verdict {
  const checkpoint = facts.backfill;
  let measured = "none was run";
  if (checkpoint !== null) {
    const share = `${checkpoint.coveredBelow / 100} % of the buckets`;
    const lost = checkpoint.generation !== facts.generation || checkpoint.startedAt < (facts.copiesSince ?? 0);
    measured = lost ? "before Redis' records were dropped" : `${checkpoint.state}, ${share}`;
  }
  return {
    ok: isFilled(checkpoint, facts.generation, facts.below, facts.copiesSince),
    measured,
    required: `complete for ${facts.below / 100} % of the buckets`,
    remedy: "sessionferry backfill",
  };
}

function weighed(facts: GateFacts, underRedis = false): EvidenceAnswer {
  const { generation, legacyIdentity, below, copiesSince, now, limits, standing } = facts;
  return weigh(standing, {
    generation,
    legacyIdentity,
    redisRun: facts.redis?.runId ?? null,
    below,
    copiesSince,
    underRedis,
    now,
    freshness: limits.freshness,
    limits,
  });
}

export function evidence(facts: GateFacts): Verdict {
  return fullCheck(weighed(facts));
}

/** For the step that cannot be undone: the check must have been made with R as the authority of every session. */
export function redisEvidence(facts: GateFacts): Verdict {
  return fullCheck(weighed(facts, true));
}

function fullCheck({ noFull, full }: EvidenceAnswer): Verdict {
  return {
    ok: noFull === null,
    measured: noFull === null ? `check ${full?.id} was clean` : noFull,
    required: "a clean full check that nothing has voided since",
    remedy: "sessionferry check",
  };
}

export function freshness(facts: GateFacts): Verdict {
  const { noFull, notFresh, fresh } = weighed(facts);
  const age = fresh === null ? "" : `check ${fresh.id} ended clean ${duration(facts.now - fresh.endedAt)} ago`;
  return {
    ok: notFresh === null,
    measured: notFresh ?? age,
    required: `a clean check within the last ${duration(facts.limits.freshness)}`,
    remedy: noFull === null ? "sessionferry check --sample 2000" : "sessionferry check",
  };
}

export function nodes(facts: GateFacts): Verdict {
  const gaps = serving(facts).filter((node) => node.report.gap > 0).length;
  const away = serving(facts).filter((node) => node.report.redis !== "up" && node.report.redis !== "unused").length;
  const problems = [
    gaps > 0 ? `${gaps} with writes that Redis has missed` : "",
    away > 0 ? `${away} without Redis` : "",
  ].filter((problem) => problem !== "");
  return {
    ok: problems.length === 0,
    measured: `${serving(facts).length} nodes${problems.length === 0 ? "" : `, ${problems.join(", ")}`}`,
    required: "every node sees Redis and has flushed its gap",
    remedy: "Bring Redis back for these nodes and wait until their gaps are 0: sessionferry nodes",
  };
}

export function eviction(facts: GateFacts): Verdict {
  const policy = facts.redis?.evictionPolicy ?? null;
  const accepted = facts.accept.includes("eviction");
  return {
    ok: policy === "noeviction" || (accepted && facts.redis !== null),
    measured: `${policy ?? "unknown"}${accepted ? " (accepted in the configuration)" : ""}`,
    required: "maxmemory-policy noeviction",
    remedy: "CONFIG SET maxmemory-policy noeviction on Redis, or take the risk with `accept: [eviction]`",
  };
}

export function redisMemory(facts: GateFacts): Verdict {
  const { redis, limits } = facts;
  const required = `at most ${percent(limits.maxRedisMemory)} of maxmemory used`;
  const remedy = "Give Redis more memory; see what the sessions need with: sessionferry doctor";
  if (redis === null) return { ok: false, measured: "Redis did not tell", required, remedy };
  // No limit, or a service that hides it: there is nothing to measure by, and the doctor has said so.
  if (redis.maxMemory === null) return { ok: true, measured: "the service hides its limit", required, remedy };
  if (redis.maxMemory === 0) return { ok: true, measured: "no limit is set", required, remedy };
  const share = redis.usedMemory / redis.maxMemory;
  return { ok: share <= limits.maxRedisMemory, measured: percent(share), required, remedy };
}

export function errors(facts: GateFacts): Verdict {
  const reports = serving(facts).map((node) => node.report);
  const operations = reports.reduce((sum, report) => sum + report.operations, 0);
  const failed = reports.reduce((sum, report) => sum + report.errors, 0);
  const rate = operations === 0 ? 0 : failed / operations;
  return {
    ok: rate <= facts.limits.maxErrorRate,
    measured: operations === 0 ? "no operations lately" : `${failed} of ${operations} operations failed`,
    required: `at most ${facts.limits.maxErrorRate * 100} % failed`,
    remedy: "Find the cause in the logs of the nodes, then repeat the command; see: sessionferry status",
  };
}

export function latency(facts: GateFacts): Verdict {
  const measured = serving(facts).flatMap((node) => (node.report.p95 === null ? [] : [node.report.p95]));
  const worst = measured.length === 0 ? null : Math.max(...measured);
  return {
    ok: worst === null || worst <= facts.limits.maxP95,
    measured: worst === null ? "no operations lately" : `p95 ${worst.toFixed(1)} ms on the slowest node`,
    required: `p95 at most ${facts.limits.maxP95} ms`,
    remedy: "Find what slows the nodes or their stores, then repeat the command; see: sessionferry status",
  };
}

export function dirtyAge(facts: GateFacts): Verdict {
  const { dirty, limits } = facts;
  return {
    ok: dirty !== null && dirty.oldestAge <= limits.maxDirtyAge,
    measured: dirty === null ? "Redis did not tell" : `the oldest of ${dirty.count} waits ${duration(dirty.oldestAge)}`,
    required: `no change waits longer than ${duration(limits.maxDirtyAge)} for the legacy store`,
    remedy: "Wait for the drain, or raise `drain.rate`; see: sessionferry status",
  };
}

export function dirtyCount(facts: GateFacts): Verdict {
  const { dirty } = facts;
  return {
    ok: dirty !== null && dirty.count <= MAX_DIRTY_COUNT,
    measured: dirty === null ? "Redis did not tell" : `${dirty.count} changes wait`,
    required: `at most ${MAX_DIRTY_COUNT} changes wait for the legacy store`,
    remedy: "Wait for the drain, or raise `drain.rate`; see: sessionferry status",
  };
}

/** What is refused is in Redis alone: every way down waits for it, and one without Redis loses it. */
export function dirtyRefused({ refused }: GateFacts): Verdict {
  const told = refused.map(({ code, count }) => `${count} with ${code}`).join(", ");
  return {
    ok: refused.length === 0,
    measured: refused.length === 0 ? "it takes every change" : `it does not take ${told}`,
    required: "a legacy store that takes every change, or the way down ends at those sessions",
    remedy: "Log these sessions out, or wait until they expire: sessionferry status tells their digests",
  };
}

export function stay(facts: GateFacts): Verdict {
  const phase = phaseBelow(facts.target.phase);
  const least = facts.limits.minStay[phase] ?? 0;
  const stayed = facts.below100Since === null ? null : facts.now - facts.below100Since;
  const left = duration(least - (stayed ?? 0));
  return {
    ok: least === 0 || (stayed !== null && stayed >= least),
    measured: stayed === null ? `not yet at 100 % of ${phase}` : `${duration(stayed)} in ${phase}`,
    required: least === 0 ? "no least stay" : `at least ${duration(least)} in ${phase}`,
    remedy: `Stay in ${phase} for another ${left} (gates.minStay.${phase})`,
  };
}
