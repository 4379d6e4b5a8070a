import { expect, test } from "vitest";
import { Latency } from "../../src/demo/latency.js";
import { formatLatency, Timeline } from "../../src/demo/timeline.js";
import { Account } from "../../src/demo/truth.js";

const cart = (...items: string[]) => ({ version: items.length, items });
const account = () => new Account("u", "connect.sid=s%3Aabc-_1.sig%2Bnature");

test("the session id is taken out of the signed cookie", () => {
  expect(account().sid).toBe("abc-_1");
});

test("a read must hold all that was acknowledged before it began, and nothing that was never sent", () => {
  const mine = account();
  mine.adding("a");
  expect(mine.added("a", cart("a"))).toBeNull();
  const before = mine.reading();
  expect(mine.read(before, cart("a"))).toBeNull();
  expect(mine.read(before, cart())).toMatch(/missing/);
  expect(mine.read(before, cart("a", "x"))).toMatch(/never put in/);
  expect(mine.read(before, cart("x", "a"))).toMatch(/never put in|order/);
  expect(mine.read(before, cart("a", "a"))).toMatch(/never put in/);
  expect(mine.read(before, { version: 7, items: ["a"] })).toMatch(/version/);
});

test("a change in flight may be seen or not, but what was seen once stays", () => {
  const mine = account();
  mine.adding("a");
  mine.added("a", cart("a"));
  const before = mine.reading();
  mine.adding("b");
  expect(mine.read(before, cart("a"))).toBeNull();
  expect(mine.read(before, cart("a", "b"))).toBeNull();
  expect(mine.read(before, cart("a")), "a read that began before may still show the older cart").toBeNull();
  expect(mine.read(mine.reading(), cart("a"))).toMatch(/1 of 2 items are missing/);
});

test("a change that was cut off is tolerated both ways until the next one tells", () => {
  const mine = account();
  mine.adding("lost");
  expect(mine.accepts([])).toBe(true);
  expect(mine.accepts(["lost"])).toBe(true);
  mine.adding("next");
  expect(mine.added("next", cart("next"))).toBeNull();
  expect(mine.accepts(["next"])).toBe(true);
  expect(mine.accepts(["lost", "next"])).toBe(false);
  expect(mine.read(mine.reading(), cart("next", "lost"))).toMatch(/never put in/);
});

test("a lost update shows in the answer of the change itself", () => {
  const mine = account();
  mine.adding("a");
  mine.added("a", cart("a"));
  mine.adding("b");
  expect(mine.added("b", cart("b"))).toMatch(/missing/);
  mine.adding("c");
  expect(mine.added("c", cart("a"))).toMatch(/does not end with/);
});

test("the last renewal counts, and overlapping ones make a range", () => {
  const mine = account();
  mine.renewed(0, 10, 1000);
  expect(mine.expiry()).toEqual({ earliest: 1000, latest: 1000 });
  mine.renewed(5, 20, 1005);
  expect(mine.expiry()).toEqual({ earliest: 1000, latest: 1005 });
  mine.renewed(15, 30, 1015);
  expect(mine.expiry()).toEqual({ earliest: 1005, latest: 1015 });
  mine.renewed(31, 40, 900);
  expect(mine.expiry()).toEqual({ earliest: 900, latest: 900 });
});

test("latency is told by interval", () => {
  const latency = new Latency();
  const end = latency.begin("advance");
  const now = Date.now();
  for (let i = 1; i <= 200; i++) latency.add("GET /page", now, now + i);
  end();
  latency.add("POST /cart", now + 60_000, now + 61_000);
  expect(latency.report()).toEqual([
    { name: "advance", requests: 200, p99: 198, slowest: 200, slowestRoute: "GET /page" },
    { name: "the whole time", requests: 201, p99: 199, slowest: 1000, slowestRoute: "POST /cart" },
  ]);
  expect(formatLatency(latency.report()).split("\n")).toHaveLength(3);
  expect(formatLatency(new Latency().report())).toContain("0 ms");
});

test("the timeline shows commands as they are typed", () => {
  const lines: string[] = [];
  const timeline = new Timeline((line) => lines.push(line));
  timeline.command(["phase", "rollback", "--to", "read-through", "--reason", "a try"]);
  timeline.output("done");
  expect(lines[0]).toMatch(/^ +0\.0 s {2}\$ sessionferry phase rollback --to read-through --reason "a try"$/);
  expect(lines[1]).toBe("          done");
});
