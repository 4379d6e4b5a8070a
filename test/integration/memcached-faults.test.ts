import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type RunningServer, startMemcached } from "../../src/servers/index.js";
import { runJson } from "../cli/support.js";
import { EXPIRY_STEP, type Member } from "../support/history.js";
import { ALL, AWAY, at, BusySite } from "./busy-site.js";
import { processPackage } from "./processes.js";

const own = { folder: "", remove: () => {} };
beforeAll(() => Object.assign(own, processPackage()));
afterAll(() => own.remove());

let busy: BusySite;
afterEach(() => busy?.close());

/** Another application's items, as fast as the server takes them, until the server tells that it has no room. */
async function crowd({ host, port }: RunningServer, noRoom: RegExp): Promise<void> {
  const socket = connect(port, host);
  let said = "";
  socket.on("data", (chunk) => {
    said = (said + chunk.toString("latin1")).slice(-20_000);
  });
  socket.on("error", () => {});
  const enough = Date.now() + 1_000;
  for (let n = 0; !(noRoom.test(said) && Date.now() > enough); n++) {
    if (Date.now() > enough + 20_000) throw new Error(`the server still has room: ${said.slice(-100)}`);
    // Of many sizes, so that every class of the server's memory is contended for.
    for (let size = 40; size < 4_000; size = Math.ceil(size * 1.2)) {
      socket.write(`set junk-${size}-${n} 0 0 ${size}\r\n${"x".repeat(size)}\r\n`);
    }
    if (n % 50 === 0) socket.write("stats\r\n");
    await delay(1);
  }
  socket.destroy();
}

async function openAt(phase: Phase, ...args: string[]): Promise<void> {
  const legacy = await startMemcached({ args });
  busy = await BusySite.open(own.folder, at(phase), { legacy: "memcached", servers: { legacy } });
}

type Phase = "dual-write" | "read-through" | "redis-first" | "full-redis";
const PHASES: readonly Phase[] = ALL
  ? ["dual-write", "read-through", "redis-first", "full-redis"]
  : ["read-through", "redis-first"];
const isAuthority = (phase: Phase) => phase === "dual-write" || phase === "read-through";

describe("memcached", () => {
  test.each(PHASES)(
    "that evicts under memory pressure in %s: nothing older comes back, and Redis keeps what it has",
    async (phase) => {
      await openAt(phase, "-m", "2");
      const forgetful = isAuthority(phase);
      await crowd(busy.site.legacy, /STAT evictions [1-9]/);
      busy.expectOnly([]);
      await busy.traffic.stop();
      const records = await recordCount();
      // What crowded it is nobody's session, wherever Redis alone is read.
      const believed = phase === "full-redis" ? ["--toward", "redis"] : [];
      await runJson("check", ["check", "--repair", ...believed, "--config", busy.configFile()]);
      // A session that memcached merely lost is no session to be destroyed.
      expect(await recordCount()).toBeGreaterThanOrEqual(records);
      await busy.rest({ forgetful });
    },
  );

  test.each(PHASES)(
    "that has no memory left in %s: errors where it is the authority, and nothing older comes back",
    async (phase) => {
      await openAt(phase, "-m", "2", "-M");
      const forgetful = isAuthority(phase);
      await crowd(busy.site.legacy, /SERVER_ERROR out of memory/);
      await busy.traffic.stop();
      busy.expectOnly(
        forgetful ? ["LEGACY_REFUSED", "OUTCOME_UNKNOWN"] : ["LEGACY_REFUSED", "OUTCOME_UNKNOWN", "LEGACY_UNREACHABLE"],
      );
      // There is room again; what waited to be drained is.
      await flush(busy.site.legacy);
      if (forgetful) busy.traffic.startOver();
      busy.traffic.start();
      await delay(400);
      if (!forgetful) {
        // What memcached lost, and nobody changed since, is in Redis alone: a repair brings it back.
        await busy.traffic.stop();
        await runJson("check", ["check", "--repair", "--config", busy.configFile()]);
      }
      await busy.rest({ forgetful });
    },
  );

  test("restarted in read-through: what Redis has is answered as before, and a repair removes nothing of it", async () => {
    await openAt("read-through");
    const { traffic, history, site } = busy;
    await traffic.stop();
    await runJson("check", ["check", "--config", busy.configFile()]);
    const records = await recordCount();
    await site.legacy.restart();
    await busy.recovered();
    // Memcached has nothing: two touches of each session at once, a read beside them, and one afterwards.
    const [first, second] = busy.serving as [Member, Member];
    for (const sid of history.sids) {
      const soon = Math.ceil(Date.now() / EXPIRY_STEP) * EXPIRY_STEP + 1_800_000;
      const touched = [first, second].map((member, i) => history.touch(member, sid, soon + i * EXPIRY_STEP));
      await Promise.all([...touched, history.get(first, sid)]);
      await history.get(second, sid);
    }
    // Strictly: not one session is gone.
    expect(history.violations()).toEqual([]);
    await runJson("check", ["check", "--repair", "--config", busy.configFile()]);
    expect(await recordCount()).toBe(records);
    await busy.climb(at("redis-first"));
    traffic.start();
    await delay(300);
    await busy.descend(at("dual-write"));
    await busy.rest();
    busy.expectOnly(AWAY);
  });
});

async function recordCount(): Promise<number> {
  return busy.site.look(async ({ records }) => {
    let count = 0;
    for await (const page of records.listRecords({ pageSize: 500 })) count += page.length;
    return count;
  });
}

async function flush({ host, port }: RunningServer): Promise<void> {
  const socket = connect(port, host);
  socket.write("flush_all\r\n");
  await new Promise((resolve) => socket.once("data", resolve));
  socket.destroy();
  await delay(1_100);
}
