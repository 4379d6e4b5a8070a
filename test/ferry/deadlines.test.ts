import { expect, test, vi } from "vitest";
import { Deadlines } from "../../src/ferry/deadlines.js";
import { systemClock } from "../../src/runtime/clock.js";

test("a clock that is set back while a request waits does not put its deadline off", async () => {
  const deadlines = new Deadlines(systemClock, 50);
  const began = performance.now();
  const request = deadlines.within(new Promise(() => {}));
  const set = vi.spyOn(Date, "now").mockReturnValue(Date.now() - 600_000);
  try {
    await expect(request).rejects.toMatchObject({ code: "DEADLINE" });
  } finally {
    set.mockRestore();
  }
  expect(performance.now() - began).toBeGreaterThanOrEqual(49);
});
