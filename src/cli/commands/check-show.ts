import { FerryError } from "../../errors.js";
import { findCheck } from "../../jobs/check-archive.js";
import { renderCheckMarkdown } from "../../observe/check-report.js";
import { defineCommand } from "../command.js";
import { withControl } from "../control.js";
import { text } from "../options.js";

export const command = defineCommand({
  positionals: { id: text("The check; the newest by default.") },
  examples: [
    ["$0 check show", "What the newest check found, and what to type next"],
    ["$0 check show 20260131-081502-123-k3x9 --json", "One of the last fifty, for a script"],
  ],
  async run(context, { id }) {
    const result = await withControl(context, async (control) => {
      await control.read();
      return findCheck(control, id);
    });
    if (result === null) {
      const told = id === undefined ? "There was no check yet." : "There is no check of that id.";
      throw new FerryError("USAGE", told, { remedy: "Run a check.", next: "sessionferry check" });
    }
    return { json: result, text: renderCheckMarkdown(result).trimEnd() };
  },
});
