/** What the proxies pass through as it is, while a fleet leaves `legacy` and comes back to it. */
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Log } from "../../src/observe/index.js";
import { ProxyProcess } from "../../src/runtime/proxy.js";
import { startMemcached } from "../../src/servers/index.js";
import { portOf, Talk } from "../doors/memcached/support.js";
import { LEGACY, Site } from "../integration/site.js";
import { until } from "../support/processes.js";

const KEYS = Array.from({ length: 12 }, (_, n) => `k${n}`);
const RESTLESS = ["r0", "r1"];
const ROUNDS = 3;
const DUAL = { phase: "dual-write", percent: 100 } as const;

let site: Site;
let proxies: ProxyProcess[];
const talks: Talk[] = [];

beforeAll(async () => {
  const memcached = await startMemcached();
  site = await Site.open({
    ...{ legacy: "memcached", control: "redis", servers: { legacy: memcached } },
    config: {
      legacy: { preset: "memcached", prefix: "s.", url: memcached.url },
      timeouts: { legacy: "20s", redis: "10s", acknowledge: "60s" },
    },
  });
  const listeners = [{ listen: "127.0.0.1:0", server: `${memcached.host}:${memcached.port}` }];
  const config = { ...site.config, proxy: { ...site.config.proxy, listeners } };
  const log = new Log({ write: () => {} });
  proxies = await Promise.all([0, 1].map(() => ProxyProcess.open(config, log, { relayAfter: 0 })));
}, 60_000);
afterAll(async () => {
  site?.legacy.resume();
  for (const talk of talks) talk.close();
  await Promise.all((proxies ?? []).map((proxy) => proxy.close()));
  await site?.close();
});

async function client(n: number): Promise<Talk> {
  const talk = await Talk.to({ port: portOf(proxies[n % proxies.length]!.door) });
  talks.push(talk);
  return talk;
}

const inFlight = () => proxies.reduce((sum, { live }) => sum + live.node!.ctx.routing.inFlight, 0);

/** Bytes of sets, every other of them without a reply. */
function sets(value: string, keys = KEYS): string {
  return keys.map((key, n) => `set s.${key} 0 0 ${value.length}${n % 2 ? " noreply" : ""}\r\n${value}\r\n`).join("");
}
const ANSWERED = KEYS.length / 2;

/** Those that this one of four writes alone. */
const shareOf = (n: number) => KEYS.filter((_, i) => i % 4 === n);

async function say(talk: Talk, bytes: string, replies: number): Promise<void> {
  const lines = () => talk.text.split("\r\n").length - 1;
  const wanted = lines() + replies;
  talk.send(bytes);
  await until("all is answered", () => lines() >= wanted);
}

describe("the relays of two proxies", () => {
  test("leave nothing behind when the fleet leaves legacy, and pass nothing on from then", async () => {
    const early = await Promise.all([0, 1, 2, 3].map(client));
    for (let round = 0; round < ROUNDS; round++) {
      await until("the relays are open", async () => {
        for (const talk of early) await say(talk, `get s.none\r\n`, 1);
        await site.legacy.pause();
        for (const talk of early) talk.send("get s.none\r\n");
        await delay(50);
        const relayed = inFlight() === early.length;
        await site.legacy.resume();
        return relayed;
      });
      // Writers that never stop, and meet the change of routes at any moment.
      let going = true;
      const restless = Promise.all(
        [0, 1].map(async (n) => {
          const talk = await client(n);
          for (let i = 0; going; i++) await say(talk, sets(`${i}`, RESTLESS), RESTLESS.length / 2);
        }),
      );
      restless.catch(() => {});
      await delay(50);

      // What memcached has been sent under the old routes and has not done yet.
      await site.legacy.pause();
      const said = early.map((talk, n) => say(talk, sets(`early-${round}-${n}`), ANSWERED));
      await until("it is under way", () => inFlight() >= early.length);
      await delay(50);
      let arrived = false;
      const walk = site.moveTo(DUAL).then(() => {
        arrived = true;
      });
      walk.catch(() => {});
      const followed = () => proxies.every(({ live }) => live.node!.ctx.routing.record.pending !== null);
      await until("the nodes follow", () => followed() || arrived);
      await Promise.race([delay(500), walk]);
      expect(arrived).toBe(false);

      // Writes under the new routes, which memcached may do before those.
      const late = await Promise.all([0, 1, 2, 3].map(client));
      said.push(...late.map((talk, n) => say(talk, sets(`late-${round}-${n}`, shareOf(n)), 2)));
      await delay(50);
      await site.legacy.resume();
      await Promise.all([walk, ...said]);
      going = false;
      await restless;
      await site.settle();
      expect(await site.differences([...KEYS, ...RESTLESS])).toEqual([]);

      // What Redis now holds must not outlive a write of a client that was relayed before.
      await Promise.all(late.map((talk, n) => say(talk, sets(`late-${round}`, shareOf(n)), 2)));
      await Promise.all(early.map((talk, n) => say(talk, sets(`after-${round}`, shareOf(n)), 2)));
      await site.settle();
      const held = await site.look(({ records }) => records.view(KEYS));
      expect(held.map(({ session }) => session?.value.toString())).toEqual(KEYS.map(() => `after-${round}`));
      expect(await site.differences(KEYS)).toEqual([]);
      for (const talk of late) talk.close();
      await site.moveTo(LEGACY);
    }
    for (const { text } of talks) expect(text).not.toMatch(/ERROR/);
  }, 120_000);
});
