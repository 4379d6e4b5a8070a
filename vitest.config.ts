import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Random faults take as long as they take: `npm run soak` draws them for minutes, SOAK=1 for half a minute a store.
    exclude: process.env.SOAK ? [] : ["test/soak/**"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Two cores and real servers: more workers only make timings worse.
    maxWorkers: 2,
    reporters: ["default", "./tools/closing-line.mjs"],
  },
});
