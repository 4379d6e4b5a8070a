import { afterAll, beforeAll, expect, test } from "vitest";
import { processPackage } from "../integration/processes.js";
import { Soak } from "./soak.js";

/** Half a minute of what `npm run soak` does for as long as one likes. */
const SECONDS = 20;

const own = { folder: "", remove: () => {} };
beforeAll(() => Object.assign(own, processPackage()));
afterAll(() => own.remove());

test.each(["postgres", "memcached"] as const)(
  "random faults over %s break nothing",
  async (legacy) => {
    const told: string[] = [];
    const soak = new Soak({ seconds: SECONDS, seed: 5, legacy, folder: own.folder, tell: (line) => told.push(line) });
    const result = await soak.run();
    expect(result.violations, told.join("\n")).toEqual([]);
    expect(result.operations).toBeGreaterThan(500);
    expect(result.histories).toBeGreaterThan(20);
  },
  120_000,
);
