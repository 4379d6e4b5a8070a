import { Dispatcher } from "../jobs/spread/dispatcher.js";
import { systemClock } from "../runtime/clock.js";
import type { FerryNode } from "../runtime/node.js";
import { openEngine, type SpreadJob } from "../runtime/worker.js";
import type { Context } from "./command.js";

/** With --workers: hands the batches of a job out, and takes back what is left of them however the job ends. */
export async function withWorkers<T>(
  context: Context,
  { legacy, control }: FerryNode,
  job: SpreadJob,
  spread: boolean,
  work: (dispatcher: Dispatcher | null) => Promise<T>,
): Promise<T> {
  if (!spread) return work(null);
  const engine = await openEngine(context.config(), job);
  const dispatcher = await Dispatcher.open(
    engine,
    { legacy, control, clock: systemClock },
    { signal: context.signal, onAlone: (message) => context.output.log(message) },
  );
  try {
    return await work(dispatcher);
  } finally {
    await dispatcher.close();
  }
}
