import { formatDuration, loadConfig } from "../../config.js";
import { percent } from "../../core/check-result.js";
import type { Config } from "../../core/config.js";
import { type GateName, gatesOf } from "../../core/gates.js";
import { finalRoutes, PHASE_NAMES, type Phase, type PhaseName, phaseBelow, type Rung } from "../../core/phase.js";
import { defineCommand } from "../command.js";
import { choice, must } from "../options.js";
import { configIfAny, phasesOf } from "../phases.js";
import type { PhaseShow } from "../schemas.js";
import { table } from "../terminal.js";

export const command = defineCommand({
  positionals: { name: must(choice("The phase.", PHASE_NAMES)) },
  examples: [
    ["$0 phase show read-through", "What is true in it, how it is entered and left"],
    ["$0 phase show complete --json", "The same for a script"],
  ],
  async run(context, { name }) {
    const config = configIfAny(context) ?? DEFAULTS;
    const phase = phasesOf(config).find((candidate) => candidate.name === name)!;
    const json: PhaseShow = {
      name,
      title: phase.title,
      reversible: phase.reversible,
      ramp: [...phase.ramp],
      below: name === "legacy" ? null : phaseBelow(name),
      above: PHASE_NAMES[PHASE_NAMES.indexOf(name) + 1] ?? null,
      routes: { ...finalRoutes(phase) },
      rungs: phase.ladder.map(({ name: rung, routes, enter, leave }) => ({
        name: rung,
        routes: { ...routes },
        enter: [...(enter ?? [])],
        leave: [...(leave ?? [])],
      })),
      settle: [...(phase.settle ?? [])],
      gates: gatesOf(name, "up").map((gate) => ({ gate, asks: askedBy(gate, name, config.gates) })),
    };
    return { json, text: textOf(json, phase) };
  },
});

/** Gates and ramps by default, for reading about phases where no configuration is at hand. */
const DEFAULTS: Config = loadConfig({
  env: {},
  config: {
    migration: "example",
    legacy: { preset: "connect-pg-simple", url: "postgres://localhost/example" },
    redis: { url: "redis://localhost" },
  },
});

function askedBy(gate: GateName, phase: PhaseName, limits: Config["gates"]): string {
  const stay = phase === "legacy" ? 0 : (limits.minStay[phaseBelow(phase)] ?? 0);
  const asked: Readonly<Record<GateName, string>> = {
    protocol: "every node speaks the same protocol number",
    backfill: "a whole backfill of the sessions that move",
    evidence: "a clean full check that nothing has voided",
    "redis-evidence": "a clean full check made with Redis as the authority of every session",
    freshness: `a clean check, full or sample, within the last ${formatDuration(limits.freshness)}`,
    nodes: "every node sees Redis and has flushed its gap",
    eviction: "Redis evicts nothing (noeviction), unless accepted by name",
    "redis-memory": `at most ${percent(limits.maxRedisMemory)} of Redis' memory in use`,
    errors: `at most ${percent(limits.maxErrorRate)} of the applications' requests failed`,
    latency: `p95 of the applications' requests at most ${formatDuration(limits.maxP95)}`,
    "dirty-age": `no change waits longer than ${formatDuration(limits.maxDirtyAge)} for the legacy store`,
    "dirty-count": "few changes wait for the legacy store",
    "dirty-refused": "the legacy store refuses no change",
    stay: stay === 0 ? "no least stay in the phase below" : `${formatDuration(stay)} in the phase below at 100 %`,
  };
  return asked[gate];
}

const WRITES: Readonly<Record<Rung["routes"]["write"], string>> = {
  legacy: "the legacy store alone",
  L: "the legacy store first, mirrored to Redis",
  R: "Redis first, drained to the legacy store",
  alone: "Redis alone",
};
const READS: Readonly<Record<Rung["routes"]["read"], string>> = {
  L: "the legacy store",
  through: "Redis, through to the legacy store where Redis has nothing",
  R: "Redis alone",
};
const LIBERTIES: Readonly<Record<Rung["routes"]["liberty"], string>> = {
  none: "waits for Redis up to the deadline, then fails the request",
  gap: "goes on with the legacy store and catches up later",
  fallback: "reads go on with the legacy store, writes wait",
  "write-behind": "waits for Redis up to the deadline, then fails the request",
};

function textOf(json: PhaseShow, phase: Phase): string {
  const { routes } = json;
  const away = routes.write === "legacy" ? "is not noticed" : LIBERTIES[routes.liberty];
  const lines = [
    `${phase.name}: ${phase.title}`,
    "",
    table([
      ["writes", WRITES[routes.write]],
      ["reads", READS[routes.read]],
      ["Redis away", away],
      ["ramp", json.ramp.length === 0 ? "none: everybody at once" : json.ramp.map((step) => `${step} %`).join(", ")],
      [
        "undone by",
        json.below === null ? "nothing lies below" : phase.reversible ? "sessionferry phase rollback" : "nothing",
      ],
    ]),
  ];
  if (json.rungs.length > 0) {
    const ways = json.rungs.map((rung, i) => {
      const works = [
        ...rung.enter.map((work) => `${work} on the way up`),
        ...rung.leave.map((work) => `${work} on the way down`),
        ...(i === json.rungs.length - 1 ? json.settle.map((work) => `${work} at the end`) : []),
      ];
      return [`${i}`, rung.name, `writes ${rung.routes.write}, reads ${rung.routes.read}`, works.join(", ")];
    });
    lines.push("", "Its rungs, each acknowledged by every node before the next:", table(ways, { indent: "  " }));
  }
  if (json.gates.length > 0) {
    const rows = json.gates.map(({ gate, asks }) => [gate, asks]);
    lines.push("", "To enter it, or to raise its percentage, phase advance asks for:", table(rows, { indent: "  " }));
  }
  return lines.join("\n");
}
