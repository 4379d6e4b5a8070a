import { expect, test } from "vitest";
import { MemoryControlStore } from "../../src/control/memory.js";
import { EVIDENCE_KIND } from "../../src/core/evidence.js";
import { keepCheck } from "../../src/jobs/check-archive.js";
import { readStanding } from "../../src/workflow/evidence.js";
import { aResult } from "../support/check-results.js";
import { VirtualClock } from "../support/virtual-clock.js";

test("a process that was frozen while it told what its check had seen takes back nothing that another one found", async () => {
  const clock = new VirtualClock();
  const control = new MemoryControlStore({ clock, migration: "test" });
  await control.setup({
    ...{ position: { phase: "dual-write", percent: 100 }, pending: null, generation: "g1", interrupted: false },
  });
  let wake = () => {};
  const frozen = new Promise<void>((resolve) => {
    wake = resolve;
  });
  let isFrozen = true;
  const freezing = new Proxy(control, {
    get(_, name) {
      if (name !== "putDocument") return Reflect.get(control, name).bind(control);
      return async (kind: string, id: string, body: unknown) => {
        if (kind === EVIDENCE_KIND && isFrozen) await frozen;
        return control.putDocument(kind, id, body);
      };
    },
  });
  const first = keepCheck(freezing, clock, aResult({ id: "1", startedAt: 1_000, endedAt: 2_000 }));
  await new Promise((resolve) => setImmediate(resolve));
  clock.advance(6_000);
  const faulty = aResult({ id: "2", startedAt: 1_000, endedAt: 3_000, counts: { ...aResult().counts, mismatched: 1 } });
  await keepCheck(control, clock, faulty);
  expect((await readStanding(control)).contradicted?.id).toBe("2");
  isFrozen = false;
  wake();
  await first;
  const { contradicted, full } = await readStanding(control);
  expect(contradicted?.id).toBe("2");
  expect(full?.id).toBe("1");
});
