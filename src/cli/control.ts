import { once } from "node:events";
import { newNodeId } from "../core/ids.js";
import { FerryError } from "../errors.js";
import type { ControlStore } from "../ports/control-store.js";
import { openControlOf } from "../runtime/open.js";
import type { Context } from "./command.js";

/** For commands that need nothing but the control store: opens it, and closes it however the work ends. */
export async function withControl<T>(context: Context, work: (control: ControlStore) => Promise<T>): Promise<T> {
  const control = await openControlOf(context.config(), newNodeId());
  try {
    return await abortable(work(control), context.signal);
  } finally {
    // A store that hangs must not keep a command from ending; main exits the process anyway.
    await Promise.race([control.close().catch(() => {}), new Promise((resolve) => setTimeout(resolve, 500).unref())]);
  }
}

/** Rejects as soon as Ctrl-C comes: looking can be broken off at any time. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) return Promise.reject(interrupted());
  return new Promise((resolve, reject) => {
    const abort = () => reject(interrupted());
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** Resolves when the command was told to end. */
export async function untilAborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
}

export function interrupted(): FerryError {
  return new FerryError("INTERRUPTED", "interrupted");
}
