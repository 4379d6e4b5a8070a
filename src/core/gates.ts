import type { GateFacts, Verdict } from "./gate-judges.js";
import * as judges from "./gate-judges.js";
import type { PhaseName } from "./phase.js";

export type { GateFacts, NodeFacts } from "./gate-judges.js";

export type GateName =
  | "protocol"
  | "backfill"
  | "evidence"
  | "redis-evidence"
  | "freshness"
  | "nodes"
  | "eviction"
  | "redis-memory"
  | "errors"
  | "latency"
  | "dirty-age"
  | "dirty-count"
  | "dirty-refused"
  | "stay";

export interface GateResult {
  readonly gate: GateName;
  readonly ok: boolean;
  /** What was found and what is asked, for people. */
  readonly measured: string;
  readonly required: string;
  /** What to do about it: a command to type where one provides it. Null when it passes. */
  readonly remedy: string | null;
  /** Whether `--force --reason` may go past it. Barriers and drains are no gates and are never forced. */
  readonly forceable: boolean;
}

/**
 * What a step upwards asks, by the phase it enters or enlarges. dual-write asks for no evidence, since nothing is read
 * from Redis there. Steps downwards ask for nothing but equal protocol numbers.
 */
const STEPS: Readonly<Record<PhaseName, readonly GateName[]>> = {
  legacy: [],
  "dual-write": ["protocol", "stay"],
  "read-through": ["protocol", "stay", "backfill", "evidence", "freshness", "nodes", "eviction", "redis-memory"],
  "redis-first": [
    "protocol",
    "stay",
    "evidence",
    "freshness",
    "nodes",
    "eviction",
    "redis-memory",
    "errors",
    "latency",
    "dirty-refused",
  ],
  "full-redis": [
    "protocol",
    "stay",
    "evidence",
    "freshness",
    "nodes",
    "eviction",
    "redis-memory",
    "errors",
    "latency",
    "dirty-age",
    "dirty-refused",
  ],
  complete: [
    "protocol",
    "stay",
    "redis-evidence",
    "freshness",
    "nodes",
    "eviction",
    "redis-memory",
    "errors",
    "latency",
    "dirty-age",
    "dirty-count",
    "dirty-refused",
  ],
};

interface Gate {
  readonly forceable: boolean;
  readonly judge: (facts: GateFacts) => Verdict;
}

const GATES: Readonly<Record<GateName, Gate>> = {
  // Not forceable: nodes of another protocol number would not understand the routes.
  protocol: { forceable: false, judge: judges.protocol },
  // Not forceable: a Redis that evicts loses sessions; `accept` is where that risk is taken, by name and for good.
  eviction: { forceable: false, judge: judges.eviction },
  backfill: { forceable: true, judge: judges.backfill },
  evidence: { forceable: true, judge: judges.evidence },
  "redis-evidence": { forceable: true, judge: judges.redisEvidence },
  freshness: { forceable: true, judge: judges.freshness },
  // Not forceable: the barrier would wait for the same gaps, so forcing would only end in a pending transition.
  nodes: { forceable: false, judge: judges.nodes },
  "redis-memory": { forceable: true, judge: judges.redisMemory },
  errors: { forceable: true, judge: judges.errors },
  latency: { forceable: true, judge: judges.latency },
  "dirty-age": { forceable: true, judge: judges.dirtyAge },
  "dirty-count": { forceable: true, judge: judges.dirtyCount },
  "dirty-refused": { forceable: true, judge: judges.dirtyRefused },
  stay: { forceable: true, judge: judges.stay },
};

/** The names of the gates of a step, in the order in which they are told. */
export function gatesOf(target: PhaseName, direction: "up" | "down"): readonly GateName[] {
  return direction === "up" ? STEPS[target] : ["protocol"];
}

/** Judges a step. Every gate that applies is told, whether it passes or not. */
export function judgeStep(facts: GateFacts, direction: "up" | "down" = "up"): GateResult[] {
  return gatesOf(facts.target.phase, direction).map((gate) => {
    const { forceable, judge } = GATES[gate];
    const verdict = judge(facts);
    return { gate, ...verdict, remedy: verdict.ok ? null : verdict.remedy, forceable };
  });
}
