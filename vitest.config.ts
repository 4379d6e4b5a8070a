import { defineConfig } from "vitest/config";

/** Faults on real servers that take a minute or so each: `npm run test:faults` runs them all, in every phase. */
const LONG = [
  "churn",
  "cluster",
  "cluster-contract",
  "control-faults",
  "faults",
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
    exclude: process.env.SOAK ? [] : LONG.map((name) => `test/integration/${name}.test.ts`),
    setupFiles: ["./test/support/seed.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Most of the tests on real servers wait most of the time, so that three of them keep two cores busy.
    maxWorkers: 3,
    reporters: ["default", "./tools/closing-line.mjs"],
  },
});
