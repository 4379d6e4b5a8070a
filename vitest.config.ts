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
].map((name) => `test/integration/${name}.test.ts`);

/** No wall clock has a say in these: the same seed gives the same run, so that a second try would prove nothing. */
const REPEATABLE = ["test/{core,property}/**/*.test.ts", "test/*.test.ts"];

/** These measure milliseconds, or set deadlines of a few hundred: they run after all others, with a core for each. */
const TIMED = [
  "test/stores/*-failures.test.ts",
  "test/stores/{memcached,own-clock,postgres-pooler,redis}.test.ts",
  "test/doors/memcached/hardening.test.ts",
];

export default defineConfig({
  test: {
    setupFiles: ["./test/support/seed.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 10_000 } },
    reporters: ["default", "./tools/closing-line.mjs"],
    // Most of the tests on real servers wait most of the time, so that three of them keep two cores busy.
    maxWorkers: 3,
    // What runs on real servers by a real clock may meet a machine that stands still for a second. It may try again
    // once; the closing line's reporter names each test that had to, and more than a few of them are a failure.
    projects: [
      { extends: true, test: { name: "repeatable", include: REPEATABLE } },
      {
        extends: true,
        test: {
          name: "real",
          include: ["test/**/*.test.ts"],
          exclude: [...REPEATABLE, ...TIMED, ...(process.env.SOAK ? [] : LONG)],
          retry: 1,
        },
      },
      {
        extends: true,
        test: { name: "timed", include: TIMED, retry: 1, maxWorkers: 2, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
