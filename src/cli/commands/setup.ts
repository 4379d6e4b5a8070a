import { redactUrl } from "../../config/urls.js";
import { FerryError } from "../../errors.js";
import { systemClock } from "../../runtime/clock.js";
import { openPatients } from "../../runtime/patients.js";
import { openVisitor } from "../../runtime/visitor.js";
import { examine, gather } from "../../workflow/doctor.js";
import { planRedisLost, planSetup, refuseUnfit, runSetup, type SetupStep } from "../../workflow/setup.js";
import { isOccupied, recordIfAny } from "../../workflow/standing.js";
import { type CommandResult, type Context, defineCommand } from "../command.js";
import { abortable } from "../control.js";
import { dryRun, flag, reason, yes } from "../options.js";
import type { Setup } from "../schemas.js";

export const command = defineCommand({
  options: {
    adopt: flag("Take over a Redis prefix where live keys or another migration's seal lie; they are dropped later."),
    redisLost: flag("After complete: Redis came back without its sessions; seal it, so that users log in anew."),
    reason,
    dryRun,
    yes,
  },
  examples: [
    ["$0 setup --dry-run", "What would be made, and where"],
    ["$0 setup", "Make the control record and seal Redis; may be repeated"],
    ["$0 setup --adopt --yes", "The same over keys that may be dropped"],
    ["$0 setup --redis-lost --reason 'the volume is gone'", "After complete: an empty Redis instead of the lost one"],
  ],
  async run(context, { adopt, redisLost, reason, dryRun, yes }) {
    if (redisLost) return sealLost(context, { adopt, reason, dryRun, yes });
    const config = context.config();
    const patients = await openPatients(config, systemClock);
    try {
      const facts = await abortable(gather(patients), context.signal);
      refuseUnfit(examine(facts), { adopt });
      const steps = planSetup(facts, { adopt });
      const plan = steps.map((step) => ({ step, what: describe(step, facts.where, facts.prefixes[0] ?? "") }));
      if (!dryRun && steps.includes("adopt-prefix")) {
        await context.confirm({
          text: `Live keys lie under the prefix ${facts.prefixes[0]}; they will be dropped when dual-write is entered. Go on?`,
          yes,
        });
      }
      const done = dryRun
        ? null
        : await runSetup(patients.control.store, patients.redis.records, steps, { adopt, by: context.by });
      const position = done?.record.position ?? facts.control.facts?.record?.position ?? null;
      const json: Setup = {
        migration: config.migration,
        dryRun,
        plan,
        created: done?.created ?? false,
        position,
        next: steps.length > 0 && dryRun ? "sessionferry setup" : "sessionferry phase advance --to dual-write",
      };
      return { json, text: textOf(json) };
    } finally {
      await patients.close();
    }
  },
});

async function sealLost(
  context: Context,
  { adopt, reason, dryRun, yes }: { adopt: boolean; reason: string | undefined; dryRun: boolean; yes: boolean },
): Promise<CommandResult> {
  if (reason === undefined) throw new FerryError("USAGE", "--redis-lost needs --reason, for the ledger.");
  const config = context.config();
  const { migration } = config;
  const visitor = await openVisitor(config);
  const { control, records } = visitor;
  try {
    const record = await recordIfAny(control);
    const lost = { record, seal: await records.seal(), occupied: await isOccupied(records) };
    const generation = planRedisLost(lost, { adopt });
    const restart = record === null ? "; without a control record, processes that run must be restarted" : "";
    const what = `seal Redis at ${redactUrl(config.redis.url)} as complete${restart}`;
    if (generation !== null && !dryRun) {
      const text = `Whoever is not in this Redis is logged out for good${restart}.`;
      await context.confirm({ text, typed: migration, yes });
      await records.arm(generation, "complete");
      if (record !== null) await control.append({ by: context.by, action: "redis-lost", detail: { reason, adopt } });
    }
    const json: Setup = {
      migration,
      dryRun,
      plan: generation === null ? [] : [{ step: "seal-complete", what }],
      created: false,
      position: record?.position ?? null,
      next: dryRun && generation !== null ? "sessionferry setup --redis-lost --reason TEXT" : "sessionferry status",
    };
    const told = dryRun ? "Nothing was changed (--dry-run)." : "Redis is sealed: users log in anew.";
    const text = generation === null ? "Redis carries its seal: nothing is lost." : `1. ${what}\n${told}`;
    return { json, text };
  } finally {
    await visitor.close();
  }
}

function describe(step: SetupStep, where: { control: string; redis: string }, prefix: string): string {
  if (step === "install-control") return `make the control record at ${where.control}, at legacy 100 %`;
  if (step === "adopt-prefix") return `take over what lies under ${prefix}: it is dropped when dual-write is entered`;
  return `seal Redis at ${where.redis} for this migration`;
}

function textOf({ migration, dryRun, plan, position, next }: Setup): string {
  const lines = plan.map(({ what }, i) => `${i + 1}. ${what}`);
  if (plan.length === 0) lines.push(`${migration} is set up already, at ${position?.phase} ${position?.percent} %.`);
  else if (dryRun) lines.push("Nothing was changed (--dry-run).");
  else lines.push(`${migration} is set up.`);
  if (plan.length === 0 && position?.phase !== "legacy") return [...lines, "Next: sessionferry status"].join("\n");
  return [...lines, `Next: ${next}`].join("\n");
}
