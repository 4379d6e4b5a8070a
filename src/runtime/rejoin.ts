import type { Observer } from "../ports/observer.js";
import { systemClock } from "./clock.js";

/** Milliseconds between attempts of an evicted process to join again. */
const REJOIN = 500;

/** Tries to join, until it succeeds or this process is closed, which the signal tells. */
export async function rejoin(
  join: () => Promise<{ close(): Promise<void> }>,
  observer: Observer,
  closing: AbortSignal,
): Promise<void> {
  while (!closing.aborted) {
    try {
      const joined = await join();
      // Whoever closed this process meanwhile knew nothing of a node that was only joining.
      if (closing.aborted) await joined.close();
      return;
    } catch (error) {
      observer.event({ type: "background-error", task: "rejoin", error });
      await systemClock.sleep(REJOIN, closing);
    }
  }
}
