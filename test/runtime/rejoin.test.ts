import { expect, it } from "vitest";
import { SILENT } from "../../src/ports/observer.js";
import { rejoin } from "../../src/runtime/rejoin.js";

/** A join that ends when the test says so, and what became of what it gave. */
function joining() {
  let attempts = 0;
  let closed = 0;
  let end: (error?: Error) => void = () => {};
  const join = () => {
    attempts++;
    return new Promise<{ close(): Promise<void> }>((resolve, reject) => {
      end = (error) => (error === undefined ? resolve({ close: async () => void closed++ }) : reject(error));
    });
  };
  return { join, end: (error?: Error) => end(error), attempts: () => attempts, closed: () => closed };
}

it("closes a node that joined while its process was being closed", async () => {
  const closing = new AbortController();
  const node = joining();
  const ended = rejoin(node.join, SILENT, closing.signal);
  closing.abort();
  node.end();
  await ended;
  expect([node.attempts(), node.closed()]).toEqual([1, 1]);
});

it("tries again until it has joined, and leaves the node open", async () => {
  const told: string[] = [];
  const observer = { ...SILENT, event: ({ type }: { type: string }) => void told.push(type) };
  const node = joining();
  const ended = rejoin(node.join, observer, new AbortController().signal);
  node.end(new Error("away"));
  while (node.attempts() < 2) await new Promise((resolve) => setTimeout(resolve, 10));
  node.end();
  await ended;
  expect(told).toEqual(["background-error"]);
  expect(node.closed()).toBe(0);
});

it("does not wait for another try when its process is closed", async () => {
  const closing = new AbortController();
  const node = joining();
  const ended = rejoin(node.join, SILENT, closing.signal);
  node.end(new Error("away"));
  closing.abort();
  await ended;
  expect(node.attempts()).toBe(1);
});
