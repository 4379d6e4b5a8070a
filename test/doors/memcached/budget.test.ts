import { expect, test } from "vitest";
import { Budget } from "../../../src/doors/memcached/budget.js";

test("who has much to do does not keep out who waits while there is no room", async () => {
  const budget = new Budget(100);
  budget.change(200);
  const begun: string[] = [];
  /** As a connection does it: after each of its commands it begins the next one at once. */
  const client = (name: string, commands: number) => {
    let left = commands;
    const go = () => {
      if (left === 0 || !budget.begin(go)) return;
      left--;
      begun.push(name);
      void Promise.resolve().then(() => {
        budget.end();
        go();
      });
    };
    go();
  };
  client("busy", 20);
  client("other", 1);
  client("third", 1);
  for (let turns = 0; begun.length < 22; turns++) {
    expect(turns).toBeLessThan(1_000);
    await Promise.resolve();
  }
  expect(begun.indexOf("other")).toBe(1);
  expect(begun.indexOf("third")).toBe(2);
});
