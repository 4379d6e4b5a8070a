import { defineCommand } from "../command.js";
import { configIfAny, phasesOf } from "../phases.js";
import type { PhaseList } from "../schemas.js";
import { headedTable } from "../terminal.js";

export const command = defineCommand({
  examples: [["$0 phase list", "The way from legacy to complete"]],
  async run(context) {
    const phases = phasesOf(configIfAny(context));
    const json: PhaseList = {
      phases: phases.map(({ name, title, ramp, reversible }) => ({ name, title, ramp: [...ramp], reversible })),
    };
    const { paint } = context.output;
    const rows = json.phases.map(({ name, title, ramp, reversible }) => [
      paint("bold", name),
      ramp.length === 0 ? "-" : ramp.map((percent) => `${percent}`).join(", "),
      reversible ? "yes" : paint("red", "no"),
      title,
    ]);
    return { json, text: headedTable(paint, ["PHASE", "RAMP %", "CAN BE UNDONE", "WHAT IS TRUE"], rows) };
  },
});
