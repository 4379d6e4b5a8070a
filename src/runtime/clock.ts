import { setTimeout as delay } from "node:timers/promises";
import type { Clock } from "../ports/clock.js";

/** Real time. */
export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  async sleep(milliseconds, signal) {
    // An abort only ends the sleep: whoever slept looks at the signal itself.
    await delay(milliseconds, undefined, signal === undefined ? {} : { signal }).catch(() => {});
  },
};
