import { defineConfig } from "vitest/config";

/** What takes minutes and is not among `npm test`: `npm run test:long`. */
export default defineConfig({
  test: {
    include: ["test/**/*.long.ts"],
    testTimeout: 600_000,
    hookTimeout: 600_000,
    maxWorkers: 1,
    reporters: ["default", "./tools/closing-line.mjs"],
  },
});
