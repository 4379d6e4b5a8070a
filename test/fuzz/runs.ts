/** `npm run fuzz` plays this many times what a test among the others plays. */
const FACTOR = Number(process.env.FUZZ_FACTOR ?? 1);

/**
 * How often fast-check plays a property that is played so often among the other tests, or for how long: a slow machine
 * plays fewer. One run that takes longer than `timeout` is one that hangs.
 */
export function runs(usual: number) {
  const numRuns = Math.max(1, Math.round(usual * FACTOR));
  return { numRuns, interruptAfterTimeLimit: 3_000 * Math.max(1, FACTOR), timeout: 20_000 };
}

/** Milliseconds for a test that usually ends within a few seconds. */
export const PATIENCE = 60_000 * Math.max(1, FACTOR);
