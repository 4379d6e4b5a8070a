import { expect, it } from "vitest";
import { parseNodes } from "../../src/stores/redis/topology.js";

const ID = "e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca";

function nodesOf(lines: readonly string[], byName = false) {
  return parseNodes(lines.map((line) => `${ID} ${line}`).join("\n"), "asked", byName);
}

it("reads who has which slots, and which are on their way", () => {
  const [node] = nodesOf([
    `10.0.0.1:6379@16379,shop-1 myself,master - 0 0 7 connected 0-5460 9000 [77->-${ID}] [78-<-${ID}]`,
  ]);
  expect(node).toMatchObject({ host: "10.0.0.1", port: 6379, isMaster: true, hasFailed: false, isMyself: true });
  expect(node?.slots).toEqual([
    [0, 5460],
    [9000, 9000],
  ]);
  expect(node?.isMoving).toBe(true);
  expect(node?.holding).toBe(`${ID} 7 0-5460 9000 [77->-${ID}] [78-<-${ID}]`);
});

it("calls servers as they are to be called", () => {
  const lines = [
    "10.0.0.1:6379@16379,shop-1 master - 0 0 1 connected",
    "10.0.0.2:6379@16379,? master - 0 0 1 connected",
    ":6379@16379 myself,master - 0 0 1 connected",
    "2001:db8::1:6380@16380,,tls-port=0 master - 0 0 1 connected",
    "10.0.0.3:6379 master - 0 0 1 connected",
  ];
  const hosts = ["10.0.0.1", "10.0.0.2", "asked", "2001:db8::1", "10.0.0.3"];
  expect(nodesOf(lines).map(({ host }) => host)).toEqual(hosts);
  expect(nodesOf(lines, true).map(({ host }) => host)).toEqual(["shop-1", ...hosts.slice(1)]);
});

it("leaves out who cannot be spoken to, and tells who failed", () => {
  const nodes = nodesOf([
    "10.0.0.1:6379@16379 master,fail - 0 0 1 disconnected 0-10",
    "10.0.0.2:6379@16379 master,fail? - 0 0 1 connected 11-20",
    "10.0.0.3:6379@16379 slave 3 0 0 1 connected",
    ":0@0 master,noaddr - 0 0 1 disconnected",
    "10.0.0.4:6379@16379 handshake - 0 0 0 connected",
    "",
  ]);
  expect(nodes.map(({ isMaster, hasFailed }) => [isMaster, hasFailed])).toEqual([
    [true, true],
    [true, false],
    [false, false],
  ]);
});
