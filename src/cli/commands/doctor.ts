import { FerryError } from "../../errors.js";
import { systemClock } from "../../runtime/clock.js";
import { openPatients } from "../../runtime/patients.js";
import { type Examination, examine, exitOf, gather } from "../../workflow/doctor.js";
import { defineCommand } from "../command.js";
import { abortable } from "../control.js";
import { plan } from "../doctor-plan.js";
import { flag, whole } from "../options.js";
import type { Doctor } from "../schemas.js";
import type { Paint } from "../terminal.js";

export const command = defineCommand({
  options: {
    plan: flag("Instead: what a migration of this size asks of Redis, of the network and of time."),
    sessions: whole(
      "With --plan: live sessions; by default what is there, 10 thousand, 1 million and 50 million.",
      1,
      1e11,
    ),
    valueBytes: whole("With --plan: bytes of a session's value; by default those of a sample.", 0, 512 * 1024 ** 2),
    keyBytes: whole("With --plan: bytes of a session's key in Redis; by default those of a sample.", 1, 512),
    readsPerSecond: whole("With --plan: reads of all processes together; by default in proportion.", 0, 1e9),
    writesPerSecond: whole("With --plan: writes and destroys; by default in proportion.", 0, 1e9),
    touchesPerSecond: whole("With --plan: touches; by default in proportion.", 0, 1e9),
    measure: flag("With --plan: read sessions for three seconds at most, to correct durations for this machine."),
  },
  examples: [
    ["$0 doctor", "Everything that should be known before setup"],
    ["$0 doctor --json", "The same for a pipeline: exit 3 when something forbids to go on, 5 when a store is away"],
    ["$0 doctor --plan", "Memory, scripts, durations, proxies, shards and network, for sites of three sizes"],
    [
      "$0 doctor --plan --sessions 2000000 --value-bytes 3000 --reads-per-second 9000 --writes-per-second 1500",
      "The same for one site",
    ],
    ["$0 doctor --plan --measure", "With durations corrected by what this machine reads"],
  ],
  async run(context, options) {
    if (options.plan) {
      const { sessions, valueBytes, keyBytes, readsPerSecond, writesPerSecond, touchesPerSecond, measure } = options;
      const told = { sessions, valueBytes, keyBytes, reads: readsPerSecond, writes: writesPerSecond };
      return plan(context, { ...told, touches: touchesPerSecond, measure });
    }
    const { plan: _plan, ...rest } = options;
    if (Object.values(rest).some((value) => value !== undefined && value !== false)) {
      throw new FerryError("USAGE", "These options need --plan.");
    }
    const config = context.config();
    const patients = await openPatients(config, systemClock);
    try {
      const facts = await abortable(gather(patients), context.signal);
      const examinations = examine(facts);
      const exit = exitOf(examinations);
      const json: Doctor = {
        migration: config.migration,
        ready: exit === 0,
        checks: examinations.map(({ name, ok, detail, remedy, code }) => ({
          name,
          ok,
          detail,
          remedy,
          code: code ?? null,
        })),
      };
      const next = facts.control.facts?.record ? "sessionferry status" : "sessionferry setup";
      return { json, text: textOf(examinations, next, context.output.paint), exit };
    } finally {
      await patients.close();
    }
  },
});

const SIGNS = {
  ok: ["green", "ok"],
  warn: ["yellow", "warning"],
  refused: ["red", "refused"],
  unreachable: ["red", "away"],
} as const;

function textOf(examinations: readonly Examination[], next: string, paint: Paint): string {
  const lines = examinations.flatMap(({ name, ok, detail, remedy }) => {
    const [style, word] = SIGNS[ok];
    const line = `${paint(style, word.padEnd(8))} ${name.padEnd(18)} ${detail}`;
    return remedy === null ? [line] : [line, `${" ".repeat(28)}-> ${remedy}`];
  });
  const count = (verdict: Examination["ok"]) => examinations.filter(({ ok }) => ok === verdict).length;
  const bad = count("refused") + count("unreachable");
  const end =
    bad === 0
      ? `Nothing forbids to go on${count("warn") === 0 ? "" : `; ${count("warn")} warnings`}. Next: ${next}`
      : `${bad} of ${examinations.length} findings forbid to go on.`;
  return [...lines, "", end].join("\n");
}
