import { EXIT } from "../../errors.js";
import { EventLog, Log } from "../../observe/index.js";
import { defineCommand } from "../command.js";
import { untilAborted } from "../control.js";
import { whole } from "../options.js";

export const command = defineCommand({
  options: {
    concurrency: whole("Batches under way at once; by default workers.concurrency of the configuration.", 1, 1_000),
  },
  examples: [
    ["$0 worker", "Do batches of what is started with --workers, until Ctrl-C"],
    ["$0 worker --concurrency 8", "More at once, where the stores are far away"],
  ],
  async run({ config: load, signal, output }, { concurrency }) {
    const config = load();
    const log = new Log({
      json: output.json,
      ...(output.json && { write: (line: string) => void output.streams.stdout.write(line) }),
    });
    const { WorkerProcess } = await import("../../runtime/worker.js");
    const worker = await WorkerProcess.open(config, new EventLog(log), concurrency ?? config.workers.concurrency);
    log.info("working", { node: worker.node?.id ?? "" });
    await untilAborted(signal);
    await worker.close();
    log.close();
    log.info("stopped", { batches: worker.batches });
    return { silent: true, exit: EXIT.done };
  },
});
