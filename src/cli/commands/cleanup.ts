import { isPostgres, redactUrl } from "../../config/urls.js";
import type { Config } from "../../core/config.js";
import { legacyPreset } from "../../presets/index.js";
import { overdueAfter } from "../../runtime/node.js";
import { redisPrefix, servesItems } from "../../runtime/open.js";
import { openVisitor } from "../../runtime/visitor.js";
import { type CleanupStep, cleanupState, planCleanup, runCleanup } from "../../workflow/cleanup.js";
import { defineCommand } from "../command.js";
import { abortable } from "../control.js";
import { dryRun, flag } from "../options.js";
import type { Cleanup } from "../schemas.js";

export const command = defineCommand({
  options: { yes: flag("Do it; without it the plan is printed and nothing is changed."), dryRun },
  examples: [
    ["$0 cleanup", "What would be removed"],
    ["$0 cleanup --yes", "Remove it"],
  ],
  async run(context, { yes, dryRun }) {
    const config = context.config();
    const only = dryRun || !yes;
    const visitor = await openVisitor(config);
    try {
      const { control, records } = visitor;
      const state = await abortable(cleanupState(control, records, overdueAfter(config)), context.signal);
      const steps = planCleanup(state, servesItems(config));
      const plan = async () =>
        planCleanup(await cleanupState(control, records, overdueAfter(config)), servesItems(config));
      if (!only) await runCleanup(plan, control, records);
      const json: Cleanup = {
        migration: config.migration,
        dryRun: only,
        plan: steps.map((step) => describe(step, config)),
        left: state.record?.position.phase === "complete" ? leftOver(config, steps) : [],
      };
      return { json, text: textOf(json) };
    } finally {
      await visitor.close();
    }
  },
});

function describe(step: CleanupStep, config: Config): string {
  const redis = redactUrl(config.redis.url);
  const what: Readonly<Record<CleanupStep, string>> = {
    "drop-records": `remove every session under ${redisPrefix(config)} and its marks from ${redis}`,
    "remove-marks": `remove leftover marks from ${redis}`,
    "remove-items": `remove the flags and CAS tokens of memcached's clients from ${redis}`,
    "remove-seal": `remove the seal of this migration from ${redis}`,
    "destroy-control": `remove everything of this migration from ${redactUrl(config.control.url)}`,
  };
  return what[step];
}

function leftOver(config: Config, steps: readonly CleanupStep[]): string[] {
  const seal = `The seal sf:${config.migration}:seal stays in Redis as long as applications run with sessionferry; after that: DEL sf:${config.migration}:seal`;
  if (!isPostgres(config.legacy.url)) {
    const items = `Flags and CAS tokens stay in Redis under sf:${config.migration}:i: for the proxies that run; each goes with its session.`;
    const memcached = "memcached is yours: switch it off when nothing else uses it.";
    return servesItems(config) && !steps.includes("remove-items") ? [seal, items, memcached] : [seal, memcached];
  }
  const table = config.legacy.table ?? legacyPreset(config.legacy.preset).table?.name ?? "session";
  return [
    seal,
    `The legacy table is yours: DROP TABLE "${table.replaceAll(".", '"."')}"; when no backup of it is wanted.`,
  ];
}

function textOf({ dryRun, plan, left }: Cleanup): string {
  if (plan.length === 0) return "There is nothing of ours left.";
  const lines = plan.map((step, i) => `${i + 1}. ${step}`);
  lines.push(dryRun ? "Nothing was changed. To do it: sessionferry cleanup --yes" : "Done.", ...left);
  return lines.join("\n");
}
