import { systemClock } from "../../runtime/clock.js";
import { openPatients } from "../../runtime/patients.js";
import { type Examination, examine, exitOf, gather } from "../../workflow/doctor.js";
import { defineCommand } from "../command.js";
import { abortable } from "../control.js";
import type { Doctor } from "../schemas.js";
import type { Paint } from "../terminal.js";

export const command = defineCommand({
  examples: [
    ["$0 doctor", "Everything that should be known before setup"],
    ["$0 doctor --json", "The same for a pipeline: exit 3 when something forbids to go on, 5 when a store is away"],
  ],
  async run(context) {
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
