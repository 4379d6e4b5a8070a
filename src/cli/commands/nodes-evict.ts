import { nodeOf } from "../../core/ids.js";
import { FerryError } from "../../errors.js";
import { evict } from "../../ferry/eviction.js";
import { trust } from "../../ferry/follower.js";
import { intentsLeft, sweepUnregistered } from "../../ferry/sweep.js";
import { loadPhases } from "../../phases.js";
import { SILENT } from "../../ports/observer.js";
import { RedisLost } from "../../ports/redis-records.js";
import { systemClock } from "../../runtime/clock.js";
import { openVisitor } from "../../runtime/visitor.js";
import { defineCommand } from "../command.js";
import { interrupted } from "../control.js";
import { dryRun, must, text, yes } from "../options.js";
import type { NodesEvict } from "../schemas.js";
import { span } from "../terminal.js";

/** How long to wait for the node's connections to end before asking for the operator's word. */
const PATIENCE = 10_000;

export const command = defineCommand({
  positionals: { id: must(text("The node, as `sessionferry nodes` names it.")) },
  options: { dryRun, yes },
  examples: [["$0 nodes evict k3x9a7fq", "Fence off a node that is dead for certain"]],
  async run(context, { id, dryRun, yes }) {
    const visitor = await openVisitor(context.config());
    const { control, legacy, records, node: self } = visitor;
    try {
      const record = await control.read();
      trust(records, record);
      const node = (await control.nodes()).find((candidate) => candidate.id === id);
      const plan = ["refuse its renewals", "end its connections", "close the writes it left open", "forget it"];
      const document = (evicted: boolean): NodesEvict => ({
        node: id,
        known: node !== undefined,
        evicted,
        dryRun,
        plan: node === undefined || !dryRun ? [] : plan,
      });
      if (node === undefined) {
        const unknown = "No node of that id is registered (any more).";
        // In legacy Redis need not be there to be asked.
        const left = await intentsLeft(records).catch(() => null);
        if (!left?.some(({ intent }) => nodeOf(intent) === id) || dryRun)
          return { json: document(false), text: unknown };
        await context.confirm({ text: `${unknown} It left writes open. Is that process dead for certain?`, yes });
        await sweepUnregistered(visitor, [id], true);
        return { json: document(true), text: `${unknown} The writes that it left open were closed, on your word.` };
      }
      const seen = span(Math.max(0, (await control.now()) - node.renewedAt));
      const name = `node ${id} (${node.host}, pid ${node.pid}, seen ${seen} ago)`;
      if (dryRun) {
        return { json: document(false), text: `${name}: would ${plan.join(", ")}. Nothing was changed (--dry-run).` };
      }
      await context.confirm({ text: `Take ${name} for dead?`, yes });

      const stores = { control, legacy, records, phases: loadPhases(), observer: SILENT };
      const by = `${context.by} (${self})`;
      for (const ends = systemClock.elapsed() + PATIENCE; ; await systemClock.sleep(200, context.signal)) {
        if (context.signal.aborted) throw interrupted();
        if (await evict(stores, id, by)) return { json: document(true), text: `${name} was evicted.` };
        if (systemClock.elapsed() >= ends) break;
      }
      await context.confirm({
        text: "A store cannot tell that its connections are gone. Is that process dead for certain?",
        yes,
      });
      if (await evict(stores, id, by, { word: true })) {
        return { json: document(true), text: `${name} was evicted, on your word.` };
      }
      await records.ping().catch((cause) => {
        const isLost = cause instanceof RedisLost;
        const why = isLost ? "it is not the Redis that was armed" : "Redis is away";
        throw new FerryError(
          isLost ? "REDIS_LOST" : "REDIS_UNREACHABLE",
          `What ${name} left in Redis cannot be closed while ${why}.`,
          {
            changed: "its renewals are refused, and its connections were ended as far as the stores could be asked to",
            remedy: "Bring Redis back; then the processes end it by themselves, or repeat the command.",
            cause,
          },
        );
      });
      throw new FerryError("HELD", `Somebody else is evicting ${name}.`);
    } finally {
      await visitor.close();
    }
  },
});
