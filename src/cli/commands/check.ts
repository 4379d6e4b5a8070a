import type { CheckResult } from "../../core/check-result.js";
import { EXIT, type ExitCode, FerryError } from "../../errors.js";
import { type CheckDeps, type CheckOptions, type CheckProgress, runCheck } from "../../jobs/check.js";
import { toldDuplicates } from "../../jobs/duplicates.js";
import { progressDisplay } from "../../jobs/progress.js";
import { type Dispatcher, HANDED_OUT } from "../../jobs/spread/dispatcher.js";
import { adviceFor } from "../../observe/check-advice.js";
import { requireReport, writeReport } from "../../observe/report.js";
import { isIgnored } from "../../ports/preset.js";
import { legacyPreset } from "../../presets/index.js";
import { systemClock } from "../../runtime/clock.js";
import type { FerryNode } from "../../runtime/node.js";
import { openWitnesses } from "../../runtime/witnesses.js";
import { type Context, defineCommand } from "../command.js";
import { toFailure } from "../failure.js";
import { withNode } from "../node.js";
import { choice, dryRun, duration, flag, text, whole } from "../options.js";
import { span } from "../terminal.js";
import { withWorkers } from "../workers.js";

/** Sessions of each side that a repeated check looks at, unless told. */
const WATCH_SAMPLE = 2_000;
const WATCH_EVERY = 60_000;

export const command = defineCommand({
  options: {
    sample: whole("Look at so many random sessions of each side, instead of all.", 1, 1e7),
    watch: flag("Repeat a sample until Ctrl-C; with --json a document a line."),
    every: duration("With --watch: how often; 1m by default."),
    repair: flag("Bring the other store back to what the authority holds, then check again."),
    toward: choice("With --repair: which store is right about what only one of them has.", ["legacy", "redis"]),
    report: text("Write the result to a file, too; its name ends in .md or .json.", "FILE"),
    rate: whole("Sessions per second at most; 0 for no limit.", 0, 1e7),
    workers: flag("Have the batches looked at by `sessionferry worker` processes; not with --repair."),
    dryRun,
  },
  examples: [
    ["$0 check", "Compare every session; what the gates ask for"],
    ["$0 check --sample 2000 --json", "Keep the evidence fresh: exit 4 when the stores differ"],
    ["$0 check --workers", "The same, spread over any number of sessionferry worker processes"],
    ["$0 check --repair --report repair.md", "Repair, check again, and keep a report"],
  ],
  async run(context, values) {
    const { sample, watch, every, repair, toward, report, rate, workers, dryRun } = values;
    if (toward !== undefined && !repair) throw new FerryError("USAGE", "--toward needs --repair.");
    if (watch && (repair || report !== undefined))
      throw new FerryError("USAGE", "--watch only looks: no --repair, no --report.");
    if (workers && repair) throw new FerryError("USAGE", "A repair is made by one process: no --workers.");
    if (every !== undefined && !watch) throw new FerryError("USAGE", "--every needs --watch.");
    if (report !== undefined) await requireReport(report);
    const size = sample ?? (watch ? WATCH_SAMPLE : null);
    const repairing = repair && !dryRun ? { repair: { toward: toward ?? null } } : {};

    const openedWitnesses = await openWitnesses(context.config());
    try {
      const examining = async (node: FerryNode, dispatcher: Dispatcher | null) => {
        const deps = { witnesses: openedWitnesses.witnesses, ...(dispatcher && { dispatcher }) };
        const once = (options: Partial<CheckOptions>) =>
          checkOnce(context, node, deps, {
            sample: size,
            readOnly: dryRun,
            ...(rate === undefined ? {} : { rate }),
            ...(dispatcher && { concurrency: HANDED_OUT }),
            ...options,
          });
        if (watch) return await repeat(context, () => once({}), every ?? WATCH_EVERY);
        let result = await once(repairing);
        // A run that repairs is no evidence: only a second, clean one is.
        if (repairing.repair !== undefined && !result.aborted) result = await once({});
        if (report !== undefined) await keepReport(context, report, result);
        return { json: result, text: textOf(result, dryRun), exit: exitOf(result) };
      };
      return await withNode(context, (node) =>
        withWorkers(context, node, "check", workers, (dispatcher) => examining(node, dispatcher)),
      );
    } finally {
      await openedWitnesses.close();
    }
  },
});

async function checkOnce(
  context: Context,
  node: FerryNode,
  deps: Pick<CheckDeps, "witnesses" | "dispatcher">,
  options: Pick<CheckOptions, "sample"> & Partial<CheckOptions>,
): Promise<CheckResult> {
  const { legacy, records, control, ferry, ctx, config } = node;
  const display = progressDisplay(context.output.streams.stderr, systemClock, options.repair ? "repair" : "check");
  let last: CheckProgress | null = null;
  const result = await runCheck(
    { legacy, records, control, copier: ferry, clock: systemClock, ids: ctx.ids, ...deps },
    {
      batch: config.backfill.batch,
      concurrency: config.backfill.concurrency,
      limits: config.gates,
      flags: ferry.defaults?.flags ?? 0,
      ignored: (sid) => isIgnored(legacyPreset(config.legacy.preset), sid),
      signal: context.signal,
      by: context.by,
      onProgress: (progress) => {
        last = progress;
        display.show(progress, noteOf(progress));
      },
      ...options,
    },
  );
  if (last !== null) display.end(last, noteOf(last));
  return result;
}

/** What a check has found is told, with its own exit code, though its report is lost. */
async function keepReport({ output, config }: Context, file: string, result: CheckResult): Promise<void> {
  await writeReport(file, result).catch((error) => output.warn(toFailure(error, config()).message));
}

async function repeat(context: Context, once: () => Promise<CheckResult>, every: number) {
  while (!context.signal.aborted) {
    const result = await once();
    if (!result.aborted) context.output.line(result, textOf(result));
    await systemClock.sleep(every, context.signal);
  }
  return { silent: true, exit: EXIT.interrupted } as const;
}

function exitOf({ aborted, clean }: CheckResult): ExitCode {
  if (!clean) return EXIT.inconsistent;
  return aborted ? EXIT.interrupted : EXIT.done;
}

function noteOf({ differences, busy, copied }: CheckProgress): string {
  const parts = [
    differences > 0 ? `${differences} differ` : "",
    copied > 0 ? `${copied} copied` : "",
    busy > 0 ? `${busy} busy` : "",
  ];
  return parts.filter((part) => part !== "").join(", ");
}

/** The result in a few lines; `check show` tells the whole. */
function textOf(result: CheckResult, dryRun = false): string {
  const { verdict, meaning, next } = adviceFor(result);
  const found = Object.entries(result.counts).filter(([, count]) => count > 0);
  const { planted, coverage, witness } = result;
  const witnessed =
    witness === null ? "no plain clients" : `plain clients confirm ${witness.agreed} of ${witness.read}`;
  const lines = [
    `${verdict}: ${found.map(([name, count]) => `${count} ${name}`).join(", ") || "nothing was compared"}`,
    `  planted ${planted.planted}, found ${planted.found}; saw ${coverage.listed} of ${coverage.counted}; ${witnessed}; took ${span(result.endedAt - result.startedAt)}`,
    meaning,
    ...(result.duplicates ? [`  ${toldDuplicates(result.duplicates)}`] : []),
    ...result.whyNot.map((reason) => `  - ${reason}`),
    ...next.map(({ command, why }) => `Next: ${command}  (${why})`),
    dryRun
      ? "Nothing was changed, and nothing is kept of this run (--dry-run)."
      : `The whole result: sessionferry check show ${result.id}`,
  ];
  return lines.join("\n");
}
