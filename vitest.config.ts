import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Two cores and real servers: more workers only make timings worse.
    maxWorkers: 2,
    reporters: ["default", "./tools/closing-line.mjs"],
  },
});
