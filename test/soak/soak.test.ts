import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { processPackage } from "../integration/processes.js";
import { Soak } from "./soak.js";
import { soakTable } from "./table.js";

/** Of faults, for each store; a little of what `npm run soak` does for as long as one likes. */
const SECONDS = 75;
/** The soak knows a hang by itself (watch.ts); this is for the day when it does not. */
const MOST = 600_000;

const own = { folder: "", remove: () => {} };
beforeAll(() => Object.assign(own, processPackage()));
afterAll(() => own.remove());

describe.concurrent("random faults", () => {
  test.each(["postgres", "memcached"] as const)(
    "over %s break nothing",
    async (legacy) => {
      const told: string[] = [];
      const soak = new Soak({ seconds: SECONDS, seed: 5, legacy, folder: own.folder, tell: (line) => told.push(line) });
      const result = await soak.run();
      console.log(`${legacy}: ${SECONDS} seconds of faults\n\n${soakTable(result)}\n`);
      expect(result.violations, told.join("\n")).toEqual([]);
      // Enough to have been a test at all; a busy machine gets less done.
      expect(result.operations).toBeGreaterThan(200);
      expect(result.histories).toBeGreaterThan(10);
    },
    MOST,
  );
});
