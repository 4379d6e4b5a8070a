import type { GateResult } from "../../core/gates.js";
import { PHASE_NAMES, type Position } from "../../core/phase.js";
import { begin } from "../../core/transition.js";
import { FerryError } from "../../errors.js";
import type { ControlRecord } from "../../ports/control-store.js";
import type { FerryNode } from "../../runtime/node.js";
import { openVisitor, type Visitor } from "../../runtime/visitor.js";
import { advanceCommand, type Decision, decideAdvance, shown, type Way } from "../../workflow/decide.js";
import { judge } from "../../workflow/gate-facts.js";
import { tellArrival } from "../../workflow/ledger.js";
import { type Context, defineCommand } from "../command.js";
import { coordinatorOf, steered, withNode } from "../node.js";
import { choice, dryRun, duration, flag, reason, whole, yes } from "../options.js";
import { wayOf } from "../phases.js";
import { planOf } from "../plan.js";
import type { PhaseMove } from "../schemas.js";
import { table } from "../terminal.js";

export const command = defineCommand({
  options: {
    to: choice("The phase to enter, at the first step of its ramp; required without a terminal.", PHASE_NAMES),
    percent: whole("The percentage of the sessions, instead of the next step of the ramp.", 1, 100),
    timeout: duration("How long to wait for the nodes before the step is left pending (exit 6)."),
    force: flag("Go past the gates that ask for evidence; barriers and drains are never forced. Needs --reason."),
    reason,
    dryRun,
    yes,
  },
  examples: [
    ["$0 phase advance", "The next ramp step or phase, after a question"],
    ["$0 phase advance --to read-through --percent 50", "That very position; repeated, it never moves twice"],
    ["$0 phase advance --to dual-write --dry-run", "The plan and the gates, nothing else"],
  ],
  async run(context, { to, percent, timeout, force, reason, dryRun, yes }) {
    if (force && reason === undefined) throw new FerryError("USAGE", "--force needs --reason, for the ledger.");
    const config = context.config();
    const way = wayOf(config);
    const goal = { to, percent };
    const interactive = (context.stdin as { isTTY?: boolean }).isTTY === true;
    if (to === undefined && !interactive) {
      throw new FerryError(
        "USAGE",
        "Without a terminal --to is required, so that a repeated command never moves twice.",
        {
          next: "sessionferry status",
        },
      );
    }

    // What is refused, asked or planned is settled before this process becomes a node.
    const look = async (visitor: Visitor): Promise<Prospect> => {
      const record = await visitor.control.read();
      visitor.records.generation = record.generation;
      if (record.pending === null && !dryRun) await tellArrival(visitor.control, record, context.by);
      const decision = decideAdvance(record, way, goal);
      const { control, legacy, records } = visitor;
      const gates = decision.kind === "move" ? await judge({ control, legacy, records, config }, decision.target) : [];
      return { record, decision, gates };
    };
    const visitor = await openVisitor(config, { call: 3_000, batch: 3_000 });
    const prospect = await look(visitor).finally(() => visitor.close());
    const { record, decision } = prospect;

    if (dryRun) return planned(prospect, way, force);
    if (decision.kind === "stay") {
      const json = moveDocument(
        record,
        record,
        prospect.gates,
        { moved: false, forced: false, started: Date.now() },
        way,
      );
      return { json, text: `${record.migration} stands at ${shown(record.position)} already.` };
    }
    refuse(prospect, force);
    await ask(context, prospect, { yes, named: to !== undefined });

    const started = Date.now();
    const settled = await withNode(context, (node) => walk(context, node, prospect, reason ?? "", timeout));
    const forced = force && prospect.gates.some(({ ok }) => !ok);
    const json = moveDocument(record, settled, prospect.gates, { moved: true, forced, started }, way);
    return { json, text: moveText(json) };
  },
});

interface Prospect {
  readonly record: ControlRecord;
  readonly decision: Decision;
  readonly gates: readonly GateResult[];
}

async function walk(
  context: Context,
  node: FerryNode,
  { record, decision: { kind, target } }: Prospect,
  why: string,
  acknowledge: number | undefined,
): Promise<ControlRecord> {
  const coordinator = coordinatorOf(context, node, { acknowledge });
  return steered(node, coordinator, () =>
    kind === "reverse" ? coordinator.reverse(why) : coordinator.moveTo(target, why, record.revision),
  );
}

/** @throws FerryError GATE_REFUSED, with a line for each gate that does not pass */
function refuse({ gates, decision }: Prospect, force: boolean): void {
  const failing = gates.filter(({ ok, forceable }) => !ok && !(force && forceable));
  if (failing.length === 0) return;
  const lines = failing.map(
    ({ gate, measured, required, remedy }) => `  ${gate}: ${measured}; asked: ${required} -> ${remedy}`,
  );
  const command = failing.map(({ remedy }) => commandIn(remedy)).find((text) => text !== null);
  throw new FerryError(
    "GATE_REFUSED",
    `${shown(decision.target)} is not entered:\n${lines.join("\n")}`,
    command === undefined || command === null ? {} : { next: command },
  );
}

function commandIn(remedy: string | null): string | null {
  return /^sessionferry [a-z-]+( [\w-]+)*/.exec(remedy ?? "")?.[0] ?? null;
}

async function ask(context: Context, { record, decision }: Prospect, { yes, named }: { yes: boolean; named: boolean }) {
  const { target, kind } = decision;
  if (target.phase === "complete") {
    await context.confirm({
      text: `complete cannot be undone: the legacy store is no longer written, and no rollback leads back from it.`,
      typed: record.migration,
      yes,
    });
  } else if (!named) {
    const verb =
      kind === "reverse"
        ? "Turn the pending rollback round and go to"
        : kind === "finish"
          ? "Finish the step to"
          : "Go to";
    await context.confirm({ text: `${verb} ${shown(target)}?`, yes });
  }
}

function planned({ record, decision, gates }: Prospect, way: Way, force: boolean) {
  const plan = decision.kind === "stay" ? [] : planOf(statusOf(record, decision, way), way.phases);
  const refused = gates.some(({ ok, forceable }) => !ok && !(force && forceable));
  const json: PhaseMove = {
    migration: record.migration,
    dryRun: true,
    from: { ...record.position },
    to: { ...decision.target },
    moved: false,
    forced: false,
    revision: record.revision,
    milliseconds: 0,
    plan,
    gates: gates.map((gate) => ({ ...gate })),
    refused,
    next: null,
  };
  const rows = gates.map(({ gate, ok, measured, required }) => [
    ok ? "ok" : "no",
    gate,
    measured,
    ok ? "" : `asked: ${required}`,
  ]);
  const lines = [
    decision.kind === "stay"
      ? `It stands at ${shown(record.position)} already.`
      : `From ${shown(record.position)} to ${shown(decision.target)}:`,
    ...plan.map((step, i) => `  ${i + 1}. ${step}`),
    ...(rows.length === 0 ? [] : ["Gates:", table(rows, { indent: "  " })]),
    refused ? "It would be refused. Nothing was changed (--dry-run)." : "Nothing was changed (--dry-run).",
  ];
  return { json, text: lines.join("\n"), exit: refused ? (3 as const) : (0 as const) };
}

/** The transition that is pending, or would be after this decision. */
function statusOf(record: ControlRecord, { kind, target }: Decision, { phases }: Way) {
  if (record.pending === null) return begin(record, target, phases, { by: "", reason: "", at: 0 }).pending!;
  return kind === "reverse" ? { ...record.pending, direction: "up" as const } : record.pending;
}

function moveDocument(
  before: ControlRecord,
  after: ControlRecord,
  gates: readonly GateResult[],
  { moved, forced, started }: { moved: boolean; forced: boolean; started: number },
  way: Way,
): PhaseMove {
  return {
    migration: after.migration,
    dryRun: false,
    from: { ...before.position },
    to: { ...after.position },
    moved,
    forced,
    revision: after.revision,
    milliseconds: moved ? Date.now() - started : 0,
    plan: [],
    gates: gates.map((gate) => ({ ...gate })),
    refused: false,
    next: nextCommand(after.position, way),
  };
}

function nextCommand(position: Position, way: Way): string | null {
  const decision = decideAdvance({ position, pending: null, generation: "", interrupted: false }, way, {});
  return decision.kind === "move" ? advanceCommand(decision.target, way.ramps) : null;
}

function moveText({ from, to, milliseconds, forced, next }: PhaseMove): string {
  const lines = [
    `From ${shown(from)} to ${shown(to)} in ${(milliseconds / 1000).toFixed(1)} s${forced ? ", forced" : ""}.`,
  ];
  if (next !== null) lines.push(`Next: sessionferry status; then ${next}`);
  return lines.join("\n");
}
