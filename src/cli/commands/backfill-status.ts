import { NO_COUNTS } from "../../core/backfill-state.js";
import { backfillStatus } from "../../jobs/backfill-desk.js";
import { defineCommand } from "../command.js";
import { withControl } from "../control.js";
import type { BackfillStatusDocument } from "../schemas.js";
import { span, table } from "../terminal.js";

export const command = defineCommand({
  examples: [["$0 backfill status", "How far it is, how fast, and whether a process is at it"]],
  async run(context) {
    const json: BackfillStatusDocument = await withControl(context, async (control) => {
      const record = await control.read();
      const { checkpoint, alive, done, etaSeconds } = await backfillStatus(control);
      if (checkpoint === null)
        return { state: "none", alive, done, total: 0, rate: 0, etaSeconds, outdated: false, counts: NO_COUNTS };
      const { state, total, rate, counts, generation } = checkpoint;
      return { state, alive, done, total, rate, etaSeconds, outdated: generation !== record.generation, counts };
    });
    return { json, text: textOf(json) };
  },
});

function textOf({ state, alive, done, total, rate, etaSeconds, outdated, counts }: BackfillStatusDocument): string {
  if (state === "none") return "There was no backfill yet. Next: sessionferry backfill";
  const gone = (state === "running" || state === "paused") && !alive;
  const rows = [["state", gone ? `${state}, but its process is gone; go on with: sessionferry backfill` : state]];
  if (outdated) rows.push(["", "it filled an older Redis and counts no more: sessionferry backfill begins anew"]);
  rows.push(["done", `${done} of ${total}`]);
  if (alive && state === "running") {
    rows.push(["rate", `${Math.round(rate)}/s${etaSeconds === null ? "" : `, ${span(etaSeconds * 1000)} left`}`]);
  }
  const told = Object.entries(counts).filter(([, count]) => count > 0);
  if (told.length > 0) rows.push(["of them", told.map(([name, count]) => `${count} ${name}`).join(", ")]);
  return table(rows);
}
