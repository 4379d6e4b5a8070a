import { EXIT, type ExitCode } from "../../errors.js";
import { type BackfillProgress, type BackfillResult, countForBackfill, runBackfill } from "../../jobs/backfill.js";
import { toldDuplicates } from "../../jobs/duplicates.js";
import { refuseWithoutCopies } from "../../jobs/guards.js";
import { progressDisplay } from "../../jobs/progress.js";
import { HANDED_OUT } from "../../jobs/spread/dispatcher.js";
import { systemClock } from "../../runtime/clock.js";
import { type CommandResult, type Context, defineCommand } from "../command.js";
import { withNode } from "../node.js";
import { dryRun, flag, whole } from "../options.js";
import type { BackfillDocument } from "../schemas.js";
import { span } from "../terminal.js";
import { withWorkers } from "../workers.js";

export const command = defineCommand({
  options: {
    rate: whole("Sessions per second at most, 0 for no limit; by default backfill.rate of the configuration.", 0, 1e7),
    force: flag("Copy also what Redis holds already; begins anew."),
    workers: flag("Have the batches copied by `sessionferry worker` processes."),
    dryRun,
  },
  examples: [
    ["$0 backfill", "Copy every live session, from the checkpoint where there is one"],
    ["$0 backfill --rate 2000", "Gently"],
    ["$0 backfill --workers", "Spread over any number of sessionferry worker processes"],
    ["$0 backfill --dry-run", "Count what would be copied"],
  ],
  async run(context, { rate, force, workers, dryRun }) {
    if (dryRun) return count(context);
    const { batch, concurrency, rate: configured } = context.config().backfill;
    const display = progressDisplay(context.output.streams.stderr, systemClock, "backfill");
    const result = await withNode(context, (node) =>
      withWorkers(context, node, "backfill", workers, (carrier) => {
        const { legacy, control, ferry } = node;
        const deps = { legacy, control, copier: ferry, clock: systemClock, ...(carrier && { carrier }) };
        return runBackfill(deps, {
          batch,
          concurrency: carrier === null ? concurrency : HANDED_OUT,
          rate: rate ?? configured,
          force,
          by: context.by,
          signal: context.signal,
          onProgress: (progress) => display.show(progress, noteOf(progress)),
        });
      }),
    );
    display.end(result, noteOf(result));
    return { json: documentOf(result), text: textOf(result), exit: EXITS[result.state] };
  },
});

/** What did not end as it should must not look done to a script. */
const EXITS: Readonly<Record<BackfillResult["state"], ExitCode>> = {
  complete: EXIT.done,
  incomplete: EXIT.unexpected,
  stopped: EXIT.interrupted,
  running: EXIT.unexpected,
  paused: EXIT.unexpected,
};

async function count(context: Context): Promise<CommandResult> {
  const { byPhase, wouldCopy, notYet } = await withNode(context, async ({ legacy, control, ferry }) => {
    refuseWithoutCopies(await control.read(), "copied");
    return countForBackfill({ legacy, copier: ferry, clock: systemClock }, context.signal);
  });
  const json: BackfillDocument = { dryRun: true, byPhase, wouldCopy, notYet, result: null };
  const lines = [`${wouldCopy} live sessions would be copied, or found in Redis already.`];
  if (notYet > 0) lines.push(`${notYet} are in legacy still: raise dual-write's percentage first.`);
  return { json, text: [...lines, "Nothing was changed (--dry-run)."].join("\n") };
}

function documentOf(result: BackfillResult): BackfillDocument {
  const { state, resumed, milliseconds, done, total, rate, duplicates } = result;
  const { copied, hit, dirty, absent, notYet, skipped, refused, failed } = result;
  const counts = { copied, hit, dirty, absent, notYet, skipped, refused, failed };
  return {
    dryRun: false,
    byPhase: null,
    wouldCopy: null,
    notYet,
    result: { state, resumed, milliseconds, done, total, rate, counts, duplicates },
  };
}

function noteOf({ refused, failed, state }: BackfillProgress): string {
  const parts = [
    state === "paused" ? "paused" : "",
    refused > 0 ? `${refused} repeated` : "",
    failed > 0 ? `${failed} failed` : "",
  ];
  return parts.filter((part) => part !== "").join(", ");
}

function textOf(result: BackfillResult): string {
  const { state, resumed, copied, hit, dirty, absent, skipped, notYet, failed, milliseconds } = result;
  const figures = [
    `${copied} copied`,
    `${hit + dirty} in Redis already`,
    absent > 0 ? `${absent} gone when they were read` : "",
    skipped > 0 ? `${skipped} that cannot move` : "",
    notYet > 0 ? `${notYet} in legacy still` : "",
    failed > 0 ? `${failed} failed` : "",
  ].filter((figure) => figure !== "");
  const from = resumed ? " (from its checkpoint on)" : "";
  const next = {
    complete: "Next: sessionferry check",
    incomplete: "Some sessions could not be copied: look at the stores, then run it again.",
    stopped: "It was stopped; sessionferry backfill goes on from here.",
    running: "",
    paused: "",
  }[state];
  const old = result.duplicates === null ? "" : `${toldDuplicates(result.duplicates)}\n`;
  return `Backfill ${state}${from} in ${span(milliseconds)}: ${figures.join(", ")}.\n${old}${next}`;
}
