import { FerryError } from "../errors.js";
import { systemClock } from "../runtime/clock.js";
import { FerryNode, overdueAfter } from "../runtime/node.js";
import { Coordinator, type Progress } from "../workflow/coordinator.js";
import { wayOut } from "../workflow/decide.js";
import type { Context } from "./command.js";
import { toFailure } from "./failure.js";
import { wayOf } from "./phases.js";

/** For commands that write by the protocol: joins the fleet as a job, and leaves it however the work ends. */
export async function withNode<T>(context: Context, work: (node: FerryNode) => Promise<T>): Promise<T> {
  const { output, verbose } = context;
  const node = await FerryNode.open(context.config(), {
    role: "job",
    observer: {
      event(event) {
        if (verbose && event.type !== "operation" && event.type !== "relayed") output.log(`[${event.type}]`);
      },
    },
  });
  try {
    return await work(node);
  } finally {
    await node.close();
  }
}

/** The coordinator of one command; its steps are told on stderr. */
export function coordinatorOf(
  context: Context,
  node: FerryNode,
  times: { readonly acknowledge?: number | undefined },
): Coordinator {
  const { timeouts } = node.config;
  const { legacy, records, ferry, control, phases, ctx } = node;
  const tell = stepTeller((text) => context.output.log(text));
  return new Coordinator(
    control,
    phases,
    { legacy, records, copier: ferry, clock: systemClock, control, node: node.id },
    node.eviction,
    {
      acknowledge: times.acknowledge ?? timeouts.acknowledge,
      drain: timeouts.drain,
      overdueAfter: overdueAfter(node.config),
    },
    systemClock,
    ctx.observer,
    // Two commands of one person must not share the lock.
    `${context.by} (${node.id})`,
    tell,
    context.signal,
  );
}

/** Of these the remedy differs, and what is pending is told beside it. */
const OWN_EXIT: ReadonlySet<string> = new Set(["HELD", "INTERRUPTED", "REVISION_WENT_BACK"]);

/**
 * Runs a walk of the coordinator. Whatever ends it, a script must learn what it has changed, and whether a transition was
 * left behind: exit 5 says that none is pending, exit 6 that one is.
 */
export async function steered<T>(node: FerryNode, coordinator: Coordinator, walk: () => Promise<T>): Promise<T> {
  try {
    return await walk();
  } catch (error) {
    const failure = toFailure(error, node.config);
    const { code, message, cause } = failure;
    const way = wayOf(node.config);
    if (code === "TRANSITION_PENDING" && coordinator.pending !== null) {
      throw failure.having(failure.changed, wayOut(coordinator.pending, way));
    }
    if (code === "TRANSITION_PENDING" || failure.changed !== "nothing") throw failure;
    // Another command is at work, before this one did anything.
    if (code === "HELD" && coordinator.changed === null) throw failure;
    await coordinator.look().catch(() => {});
    const { changed, pending } = coordinator;
    if (changed === null) throw failure;
    if (pending === null || OWN_EXIT.has(code)) throw failure.having(changed);
    throw new FerryError("TRANSITION_PENDING", `${message} (${code}) The step is left pending.`, {
      remedy: wayOut(pending, way),
      changed,
      cause,
    });
  }
}

/** How often a step that takes its time is told again, in milliseconds. */
const AGAIN = 5_000;

/** Tells each step of a transition once, and again while it lasts. */
function stepTeller(log: (text: string) => void): (progress: Progress) => void {
  let last = "";
  let toldAt = 0;
  return ({ transition, step }) => {
    const { ladder, rung, direction } = transition;
    const what = "work" in step ? step.work : "barrier";
    const key = `${ladder} ${rung} ${direction} ${what}`;
    if (key === last && Date.now() - toldAt < AGAIN) return;
    last = key;
    toldAt = Date.now();
    const where = `${ladder}, rung ${rung}, ${direction}`;
    if ("work" in step) log(`${where}: ${step.work} ${step.count}`);
    else if (step.barrier.length > 0) log(`${where}: waiting for ${step.barrier.join(", ")}`);
  };
}
