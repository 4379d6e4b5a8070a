import { expect, it } from "vitest";
import { Gathering } from "../../src/stores/redis/gathering.js";

const WAITED_FOR = { deadline: 1_000, hold: false };
const LATER = { ...WAITED_FOR, later: true };

/** Two kinds, and what left for Redis with what. */
function gathering() {
  const left: string[][] = [];
  let turn: string[] | null = null;
  const gathered = new Gathering();
  const kind = (name: string) =>
    gathered.kind<number, string>({
      slotOf: () => 0,
      perform: async (items) => {
        if (turn === null) {
          const own: string[] = [];
          turn = own;
          left.push(own);
          queueMicrotask(() => {
            turn = null;
          });
        }
        turn.push(`${name} ${items.join(" ")}`);
        return items.map((item) => `${name} ${item}`);
      },
    });
  return { left, close: kind("close"), open: kind("open") };
}

it("lets what nobody waits for go with what somebody does, before it", async () => {
  const { left, close, open } = gathering();
  const closed = [close.call(1, LATER), close.call(2, LATER)];
  await Promise.resolve();
  expect(left).toEqual([]);
  const opened = open.call(3, WAITED_FOR);
  expect(await Promise.all([...closed, opened])).toEqual(["close 1", "close 2", "open 3"]);
  expect(left).toEqual([["close 1 2", "open 3"]]);
});

it("lets what nobody waits for go by itself where nothing comes", async () => {
  const { left, close, open } = gathering();
  expect(await close.call(1, LATER)).toBe("close 1");
  expect(await Promise.all([open.call(2, WAITED_FOR), close.call(3, LATER)])).toEqual(["open 2", "close 3"]);
  expect(left).toEqual([["close 1"], ["close 3", "open 2"]]);
});
