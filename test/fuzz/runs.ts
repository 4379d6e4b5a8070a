/** `npm run fuzz` plays this many times what a test among the others plays. */
const FACTOR = Number(process.env.FUZZ_FACTOR ?? 1);

/** How often fast-check plays a property that is played so often among the other tests. */
export function runs(usual: number): { numRuns: number } {
  return { numRuns: Math.max(1, Math.round(usual * FACTOR)) };
}

/** Milliseconds for a test that usually ends within a few seconds. */
export const PATIENCE = 60_000 * Math.max(1, FACTOR);
