/** A proxy that was frozen for so long that it was taken for dead wakes up: it joins again by itself, as another node. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { converse } from "../clients/converse.js";
import { DoorSite, type ProxyProcess } from "../clients/site.js";
import { until } from "../support/processes.js";

const KEY = "memc.sess.key.one";

interface Node {
  readonly id: string;
  readonly state: "live" | "evicted";
}

let site: DoorSite;
let proxies: ProxyProcess[];

beforeAll(async () => {
  const timeouts = { legacy: "1s", redis: "1s", acknowledge: "60s", drain: "60s" };
  site = await DoorSite.open("php-memcached", { timeouts });
  await site.run("setup");
  proxies = await Promise.all([site.startProxy(), site.startProxy()]);
  await site.run("phase", "advance", "--to", "dual-write", "--percent", "100");
}, 180_000);
afterAll(async () => {
  for (const { child } of proxies ?? []) child.kill("SIGCONT");
  await site?.close();
});

test("a frozen proxy is fenced off, and serves again as soon as it wakes", async () => {
  const [frozen, other] = proxies as [ProxyProcess, ProxyProcess];
  const nodes = async () => (await site.run("nodes")).nodes as Node[];
  const before = (await nodes()).map(({ id }) => id);
  expect(await converse(frozen.place, `set ${KEY} 0 600 1\r\na\r\n`)).toBe("STORED\r\n");

  frozen.child.kill("SIGSTOP");
  await until("it is taken for dead", async () => (await nodes()).some(({ state }) => state !== "live"), 120_000);
  // Nobody waits for it: its clients' sessions go on at the other one.
  expect(await converse(other.place, `set ${KEY} 0 600 1\r\nb\r\n`)).toBe("STORED\r\n");

  frozen.child.kill("SIGCONT");
  const isBack = async () => {
    const now = await nodes();
    return now.length === 2 && now.every(({ state }) => state === "live");
  };
  await until("it is back as another node, and the dead one is forgotten", isBack, 120_000);
  const after = (await nodes()).map(({ id }) => id);
  expect(after.filter((id) => before.includes(id))).toHaveLength(1);
  await until("it is ready", async () => (await fetch(`${frozen.http}/readyz`)).status === 200);
  expect(await converse(frozen.place, `get ${KEY}\r\n`)).toContain("\r\nb\r\n");
  expect(await converse(frozen.place, `set ${KEY} 0 600 1\r\nc\r\n`)).toBe("STORED\r\n");
  expect(await converse(other.place, `get ${KEY}\r\n`)).toContain("\r\nc\r\n");
  // It takes its part in the next step like any other.
  await site.run("phase", "rollback", "--to", "legacy");
}, 400_000);
