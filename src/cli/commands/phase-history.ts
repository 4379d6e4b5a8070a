import type { LedgerEntry } from "../../ports/control-store.js";
import { defineCommand } from "../command.js";
import { withControl } from "../control.js";
import { whole } from "../options.js";
import type { PhaseHistory } from "../schemas.js";
import { headedTable, timestamp } from "../terminal.js";

const DEFAULT_LIMIT = 50;

export const command = defineCommand({
  options: { limit: whole(`How many entries, newest first; ${DEFAULT_LIMIT} by default.`, 1, 10_000) },
  examples: [
    ["$0 phase history", "The last steps, who took them and why"],
    ["$0 phase history --limit 500 --json", "More of them, for a script"],
  ],
  async run(context, { limit }) {
    const entries = await withControl(context, async (control) => {
      // An empty ledger of a migration that was never set up would look like good news.
      await control.read();
      return control.ledger(limit ?? DEFAULT_LIMIT);
    });
    const json: PhaseHistory = { migration: context.config().migration, entries: [...entries] };
    const rows = entries.map((entry) => [timestamp(entry.at), entry.action, entry.by, detailText(entry)]);
    return { json, text: headedTable(context.output.paint, ["WHEN", "WHAT", "WHO", "DETAIL"], rows) };
  },
});

/** An entry's detail in one line: `to redis-first 50 %, reason deploy of the week`. */
function detailText({ detail }: LedgerEntry): string {
  return Object.entries(detail)
    .filter(([, value]) => value !== "" && value !== null)
    .map(([key, value]) => `${key} ${valueText(value)}`)
    .join(", ");
}

function valueText(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  const { phase, percent } = value as { phase?: unknown; percent?: unknown };
  if (typeof phase === "string" && typeof percent === "number") return `${phase} ${percent} %`;
  return JSON.stringify(value);
}
