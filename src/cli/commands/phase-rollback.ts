import type { Position } from "../../core/phase.js";
import { abandonRedis, begin, type Steering } from "../../core/transition.js";
import { FerryError } from "../../errors.js";
import { notedDirty } from "../../ferry/drainer.js";
import type { ControlRecord } from "../../ports/control-store.js";
import { requireRedisIsRead } from "../../workflow/coordinator.js";
import { decideRollback, ROLLBACK_GOALS, shown, type Way, wayDown } from "../../workflow/decide.js";
import { type CommandResult, type Context, defineCommand } from "../command.js";
import { withControl } from "../control.js";
import { coordinatorOf, steered, withNode } from "../node.js";
import { choice, dryRun, duration, flag, reason, yes } from "../options.js";
import { wayOf } from "../phases.js";
import { planOf } from "../plan.js";
import type { PhaseMove } from "../schemas.js";
import { span } from "../terminal.js";

export const command = defineCommand({
  options: {
    to: choice("Down to this phase, step by step; by default one phase down.", ROLLBACK_GOALS),
    redisLost: flag("Redis will not come back: leave it behind for dual-write, without draining it. Needs --reason."),
    timeout: duration("How long to wait for the nodes before the step is left pending (exit 6)."),
    reason,
    dryRun,
    yes,
  },
  examples: [
    ["$0 phase rollback", "Out of a pending step, or to the phase below at 100 %"],
    ["$0 phase rollback --to dual-write", "Down to dual-write; repeated, it finishes and stays there"],
    ["$0 phase rollback --to dual-write --redis-lost --reason 'host burnt down'", "Without Redis"],
  ],
  async run(context, { to, redisLost, timeout, reason, dryRun, yes }) {
    if (redisLost && reason === undefined)
      throw new FerryError("USAGE", "--redis-lost needs --reason, for the ledger.");
    if (redisLost && to !== undefined && to !== "dual-write") {
      throw new FerryError("USAGE", "--redis-lost leads to dual-write.");
    }
    const way = wayOf(context.config());
    const start = await withControl(context, (control) => control.read());
    if (redisLost) return abandon(context, start, way, { timeout, reason: reason ?? "", dryRun });

    const steps = wayDown(start, to);
    if (dryRun || steps.length === 0) return told(start, steps, way, dryRun);
    if (to === undefined && hasTerminal(context)) {
      await context.confirm({ text: `Go back to ${shown(steps.at(-1)!)}?`, yes });
    } else if (to === undefined && start.pending === null) throw unnamed(steps.at(-1)!);

    const started = Date.now();
    const settled = await withNode(context, async (node) => {
      const coordinator = coordinatorOf(context, node, { acknowledge: timeout });
      for (;;) {
        const record = await node.control.read();
        const decision = decideRollback(record, { to, start });
        if (decision.kind === "stay") return record;
        await steered(node, coordinator, () => {
          if (decision.kind === "reverse") return coordinator.reverse(reason ?? "");
          if (decision.kind === "finish") return coordinator.finish();
          return coordinator.moveTo(decision.target, reason ?? "", record.revision);
        }).catch((error) => {
          // The fleet, or another command, took it elsewhere: from there it is decided anew.
          if (!(error instanceof FerryError && error.code === "OVERTAKEN")) throw error;
        });
      }
    });
    return moved(start, settled, started);
  },
});

/** A script repeats its command where another was faster, and "one phase down" would be another phase then. */
function unnamed(goal: Position): FerryError {
  const next = `sessionferry phase rollback --to ${goal.phase}`;
  return new FerryError("USAGE", "Without a terminal a rollback needs --to: repeated, it would go on down.", {
    remedy: `Name the phase: ${next}`,
    next,
  });
}

/** Going back where a phase is named needs no question: an alarm must not wait for --yes. */
function hasTerminal({ stdin }: Context): boolean {
  return (stdin as { isTTY?: boolean }).isTTY === true;
}

async function abandon(
  context: Context,
  start: ControlRecord,
  way: Way,
  options: { timeout: number | undefined; reason: string; dryRun: boolean },
): Promise<CommandResult> {
  const { phase } = start.position;
  if (phase === "complete") throw new FerryError("IRREVERSIBLE", "complete cannot be undone.");
  const below = phase === "legacy" || phase === "dual-write";
  if (below && start.pending === null) return told(start, [], way, options.dryRun);
  requireRedisIsRead(start);
  const goal: Position = { phase: "dual-write", percent: 100 };
  if (options.dryRun) {
    const { pending } = abandonRedis(start, way.phases, { by: "", reason: "", at: 0 });
    const plan = ["publish a new generation: what Redis holds is trusted no more", ...planOf(pending!, way.phases)];
    return dry(start, goal, plan);
  }
  const started = Date.now();
  const settled = await withNode(context, async (node) => {
    // Where Redis does not answer any more, what the fleet noted of it last.
    const seen = await node.records.dirtyState().then(
      ({ count }) => ({ count, at: null }),
      () => notedDirty(node.control),
    );
    const dirty = seen?.count ?? null;
    const ago = seen?.at ? `, ${span(Math.max(0, (await node.control.now()) - seen.at))} ago` : "";
    const known = dirty === null ? "nobody knows how many" : String(dirty);
    context.output.log(
      `Sessions changed in Redis and not yet carried to the legacy store, as last seen${ago}: ${known}`,
    );
    const coordinator = coordinatorOf(context, node, { acknowledge: options.timeout });
    return steered(node, coordinator, () => coordinator.abandon(options.reason, dirty));
  });
  return moved(start, settled, started);
}

function told(start: ControlRecord, steps: readonly Position[], way: Way, dryRun: boolean): CommandResult {
  const to = steps.at(-1) ?? start.position;
  if (steps.length === 0) {
    const json = document(start, start.position, {
      dryRun,
      moved: false,
      revision: start.revision,
      milliseconds: 0,
      plan: [],
    });
    return { json, text: `${start.migration} stands at ${shown(start.position)} already.` };
  }
  const plan: string[] = [];
  let state: Steering = start;
  for (const target of steps) {
    const pending =
      state.pending === null
        ? begin(state, target, way.phases, { by: "", reason: "", at: 0 }).pending!
        : { ...state.pending, direction: "down" as const };
    plan.push(...planOf(pending, way.phases).map((step) => `${shown(target)}: ${step}`));
    state = { ...state, position: target, pending: null };
  }
  return dry(start, to, plan);
}

function dry(start: ControlRecord, to: Position, plan: string[]): CommandResult {
  const json = document(start, to, { dryRun: true, moved: false, revision: start.revision, milliseconds: 0, plan });
  const lines = plan.map((step, i) => `  ${i + 1}. ${step}`);
  const text = [`From ${shown(start.position)} to ${shown(to)}:`, ...lines, "Nothing was changed (--dry-run)."].join(
    "\n",
  );
  return { json, text };
}

function moved(start: ControlRecord, settled: ControlRecord, started: number): CommandResult {
  const milliseconds = Date.now() - started;
  const { revision, position } = settled;
  const json = document(start, position, { dryRun: false, moved: true, revision, milliseconds, plan: [] });
  const text = `From ${shown(start.position)} to ${shown(position)} in ${(milliseconds / 1000).toFixed(1)} s.\nNext: sessionferry status`;
  return { json, text };
}

function document(
  start: ControlRecord,
  to: Position,
  rest: Pick<PhaseMove, "dryRun" | "moved" | "revision" | "milliseconds" | "plan">,
): PhaseMove {
  const { migration, position } = start;
  return {
    migration,
    from: { ...position },
    to: { ...to },
    forced: false,
    gates: [],
    refused: false,
    next: null,
    ...rest,
  };
}
