import { FerryError } from "../errors.js";
import { type BackfillWish, backfillStatus, readWish, wishOfBackfill } from "../jobs/backfill-desk.js";
import { type CommandModule, defineCommand } from "./command.js";
import { withControl } from "./control.js";
import { dryRun } from "./options.js";
import type { BackfillWished } from "./schemas.js";

interface Wish {
  readonly command: BackfillWish["command"];
  /** What was asked for, as a sentence. */
  readonly told: string;
  readonly example: readonly [line: string, describe: string];
}

/** `backfill pause`, `resume` and `stop` differ in what they wish of the process that is at it. */
export function defineWish({ command, told, example }: Wish): CommandModule {
  return defineCommand({
    options: { dryRun },
    examples: [example],
    async run(context, { dryRun }) {
      const json: BackfillWished = await withControl(context, async (control) => {
        await control.read();
        const { checkpoint, alive } = await backfillStatus(control);
        const state = checkpoint?.state ?? "none";
        const isOver = state !== "running" && state !== "paused";
        if (isOver && command === "stop") return { asked: null, dryRun, state };
        // What was wished counts, not what has come of it yet: that is told up to a second later.
        if (alive && (await readWish(control)).command === command) return { asked: null, dryRun, state };
        if (!alive) {
          throw new FerryError("GUARD_REFUSED", "No backfill is running.", {
            remedy: "Start one; it goes on from its checkpoint where there is one.",
            next: "sessionferry backfill",
          });
        }
        if (!dryRun) {
          await wishOfBackfill(control, { command });
          await control.append({ by: context.by, action: "backfill", detail: { wish: command } });
        }
        return { asked: command, dryRun, state };
      });
      const isOver = json.state !== "running" && json.state !== "paused";
      if (json.asked === null)
        return { json, text: isOver ? `The backfill is ${json.state} already.` : `Asked already: ${told}` };
      return { json, text: dryRun ? `Would ask: ${told} Nothing was changed (--dry-run).` : told };
    },
  });
}
