import { defineConfig } from "vitest/config";

/** Faults on real servers that take a minute or so each: `npm run test:faults` runs them all, in every phase. */
const LONG = [
  "churn",
  "control-faults",
  "memcached-faults",
  "network",
  "postgres-failover",
  "redis-faults",
  "redis-lost",
  "sentinel",
];

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Random faults take as long as they take: `npm run soak` draws them for minutes, SOAK=1 for a minute a store.
    exclude: process.env.SOAK ? [] : ["test/soak/**", ...LONG.map((name) => `test/integration/${name}.test.ts`)],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Two cores and real servers: more workers only make timings worse.
    maxWorkers: 2,
    reporters: ["default", "./tools/closing-line.mjs"],
  },
});
