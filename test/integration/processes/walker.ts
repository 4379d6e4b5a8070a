/**
 * A command of the CLI as a process to be killed: `walker.js CONFIG STEPS WORK`. It tells every point that its work
 * passes, and stops for good at the point number STEPS, so that it can be killed there. WORK is JSON: `{ to }`,
 * `{ finish }`, `{ reverse }` or `{ backfill }`. A message `{ release: true }` lets it go on.
 */
import { runBackfill } from "../../../src/jobs/backfill.js";
import { systemClock } from "../../../src/runtime/clock.js";
import { FerryNode, overdueAfter } from "../../../src/runtime/node.js";
import { Coordinator } from "../../../src/workflow/coordinator.js";

const send = (message: object) => process.send?.(message);

async function main(): Promise<void> {
  const config = JSON.parse(process.argv[2]!);
  const steps = Number(process.argv[3]);
  const work = JSON.parse(process.argv[4]!);
  let passed = 0;
  const node = await FerryNode.open(config, {
    role: "job",
    observer: {
      event() {},
      at(point) {
        passed++;
        send({ point });
        if (passed !== steps) return undefined;
        send({ stopped: point });
        return new Promise<void>((resolve) => process.once("message", () => resolve()));
      },
    },
  });
  const { control, legacy, records, ferry, phases, ctx } = node;
  send({ holder: node.id });
  const coordinator = new Coordinator(
    control,
    phases,
    { legacy, records, copier: ferry, clock: systemClock, control, node: node.id },
    node.eviction,
    { acknowledge: config.timeouts.acknowledge, drain: config.timeouts.drain, overdueAfter: overdueAfter(config) },
    systemClock,
    ctx.observer,
    node.id,
  );
  if ("to" in work) await coordinator.moveTo(work.to, "test");
  else if ("finish" in work) await coordinator.finish();
  else if ("reverse" in work) await coordinator.reverse("test");
  else {
    const deps = { legacy, control, copier: ferry, clock: systemClock };
    await runBackfill(deps, { batch: 20, concurrency: 2, rate: 0, force: true, by: node.id });
  }
  await node.close();
  send({ done: true });
  process.disconnect?.();
}

main().catch((error) => {
  // What is not sent yet would be lost with this process.
  const told = { failed: { code: error.code ?? error.name, message: String(error.message) } };
  if (!process.send?.(told, () => process.exit(1))) process.exitCode = 1;
});
