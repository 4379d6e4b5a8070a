import { FerryError } from "../../errors.js";
import { NotSetUp } from "../../ports/control-store.js";
import { systemClock } from "../../runtime/clock.js";
import { openVisitor } from "../../runtime/visitor.js";
import { type OverviewSources, overview } from "../../workflow/overview.js";
import { defineCommand } from "../command.js";
import { abortable } from "../control.js";
import { toFailure } from "../failure.js";
import { flag } from "../options.js";
import { wayOf } from "../phases.js";
import type { Status } from "../schemas.js";
import { statusDocument, statusText } from "../status-text.js";

const WATCH_EVERY = 2_000;

export const command = defineCommand({
  options: { watch: flag("Go on telling, every two seconds; with --json a document a line.") },
  examples: [
    ["$0 status", "Phase, nodes, mirror, backfill, last check, and what the next step still asks"],
    ["$0 status --watch --json", "The same as a stream for a script"],
  ],
  async run(context, { watch }) {
    const config = context.config();
    const way = wayOf(config);
    const visitor = await openVisitor(config, { call: 1_500, batch: 1_500, open: 500 });
    const { control, legacy, records } = visitor;
    const sources: OverviewSources = { control, legacy, records, config };
    const look = async (): Promise<Status> => {
      const seen = await abortable(overview(sources, way).catch(whenGone), context.signal);
      return statusDocument(seen, way.phases);
    };
    /** After complete and cleanup there is no record any more, and that is as it should be. */
    const whenGone = async (error: unknown): Promise<never> => {
      const seal = error instanceof NotSetUp ? await records.seal().catch(() => null) : null;
      if (seal?.state !== "complete") throw error;
      throw new FerryError("NOT_SET_UP", "This migration is complete and cleaned up: Redis is alone.", {
        remedy: "There is nothing left to steer.",
      });
    };
    const { output, signal } = context;
    /** A watch outlives what may heal by itself, such as a control store that is away for a moment. */
    const outlive = (error: unknown): void => {
      if (signal.aborted) return;
      const failure = toFailure(error, config);
      if (!failure.retryable) throw error;
      if (output.json) output.line(failure.toJSON(), "");
      else output.failure(failure);
    };
    try {
      if (!watch) {
        const json = await look();
        return { json, text: statusText(json, output.paint) };
      }
      while (!signal.aborted) {
        await look().then((json) => output.line(json, `${statusText(json, output.paint)}\n`), outlive);
        await systemClock.sleep(WATCH_EVERY, signal);
      }
      return { silent: true, exit: 130 };
    } finally {
      await visitor.close();
    }
  },
});
