import { setTimeout as delay } from "node:timers/promises";
import connectMemcachedStore from "connect-memcached";
import connectMemjsStore from "connect-memjs";
import session from "express-session";
import Memcached from "memcached";
import * as memjs from "memjs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NEVER } from "../../src/core/session.js";
import type { FerryError } from "../../src/errors.js";
import type { ItemVerb } from "../../src/ports/items.js";
import { LegacyRefused, OutcomeUnknown } from "../../src/ports/legacy-store.js";
import { connectMemcached } from "../../src/presets/connect-memcached.js";
import { connectMemjs } from "../../src/presets/connect-memjs.js";
import { type RunningServer, startMemcached } from "../../src/servers/index.js";
import {
  type MemcachedLegacyOptions,
  type MemcachedLegacyStore,
  openMemcachedLegacy,
} from "../../src/stores/memcached/store.js";
import { openMemcachedWitness } from "../../src/stores/witness-memcached.js";
import { raw } from "./memcached-support.js";
import { aSession, HOUR, newSid, promised, rejection } from "./support.js";

describe("memcached", () => {
  let server: RunningServer;
  const stores: MemcachedLegacyStore[] = [];

  const open = (options: Partial<MemcachedLegacyOptions> = {}) => {
    const store = openMemcachedLegacy({
      url: server.url,
      preset: connectMemjs,
      connections: 2,
      deadline: 500,
      ...options,
    });
    stores.push(store);
    return store;
  };

  beforeAll(async () => {
    server = await startMemcached();
  });

  afterAll(async () => {
    await Promise.all(stores.map((store) => store.close()));
    await server?.stop();
  });

  describe("beside the stores that wrote the sessions", () => {
    let servers: RunningServer[];
    beforeAll(async () => {
      servers = await Promise.all([startMemcached(), startMemcached(), startMemcached()]);
    });
    afterAll(() => Promise.all(servers.map((one) => one.stop())));

    const cookie = (life: number) => ({
      originalMaxAge: life,
      expires: new Date(Date.now() + life),
      maxAge: life,
      path: "/",
    });

    it.each(["connect-memcached", "connect-memjs"] as const)("agrees with %s, on three servers", async (name) => {
      const list = servers.map(({ host, port }) => `${host}:${port}`);
      const preset = name === "connect-memjs" ? connectMemjs : connectMemcached;
      const url = `memcached://${list.join(",")}`;
      const store = open({ url, preset });
      const npm = new Memcached(list);
      const client = memjs.Client.create(list.join(","), { logger: { log() {} } });
      const Plain = name === "connect-memjs" ? connectMemjsStore(session) : connectMemcachedStore(session);
      const plain = promised(new Plain({ client: (name === "connect-memjs" ? client : npm) as Memcached }));
      const witness = await openMemcachedWitness({ url, prefix: "", distribution: preset.distribution!, timeout: 500 });
      const data = { cookie: cookie(HOUR), cart: ["naïve \u0000 ☃"], user: 7 };
      for (let n = 0; n < 30; n++) {
        const [theirs, ours] = [newSid(), newSid()];
        await plain.set(theirs, data);
        const read = await store.get(theirs);
        expect(read?.value.toString()).toBe(JSON.stringify(data));
        expect(read?.flags).toBe(preset.flags);
        expect(Math.abs(read!.expiresAt - Date.now() - HOUR)).toBeLessThan(1_600);

        await store.set(ours, read!);
        expect(await plain.get(ours)).toEqual(JSON.parse(JSON.stringify(data)));
        expect(await witness.get(ours)).toEqual(read!.value);
        expect(await witness.get(theirs)).toEqual(read!.value);

        const absent = newSid();
        await store.tokens([absent]);
        expect(await plain.get(absent)).toBeNull();
        expect(await witness.get(absent)).toBeNull();

        await store.destroy(theirs);
        expect(await plain.get(theirs)).toBeNull();
        await plain.destroy(ours);
        expect(await store.get(ours)).toBeNull();
      }
      npm.end();
      client.close();
      await witness.close();
    });

    it("reads and writes the keys of the binary protocol, whatever they are made of", async () => {
      const store = open();
      const client = memjs.Client.create(server.url.replace("memcached://", ""), { logger: { log() {} } });
      for (const key of ["with space", "control\u0001\r\n", "ünïcode ☃", "x".repeat(250), " ".repeat(186)]) {
        await client.set(key, "from memjs", { expires: 100 });
        expect((await store.get(key))?.value.toString()).toBe("from memjs");
        await store.set(key, { ...aSession(), value: Buffer.from("from us") });
        expect((await client.get(key)).value?.toString()).toBe("from us");
      }
      const listed: string[] = [];
      for await (const page of store.list({ pageSize: 100 })) listed.push(...page);
      expect(listed).toContain("control\u0001\r\n");
      expect(listed).toContain(" ".repeat(186));
      client.close();
    });

    it("refuses keys that memcached cannot have, and finds nothing under them", async () => {
      const reported: FerryError[] = [];
      const store = open({ report: (error) => reported.push(error) });
      for (const sid of ["x".repeat(251), " ".repeat(187), ""]) {
        const error = await rejection(store.set(sid, aSession()));
        expect(error).toMatchObject({ code: "KEY_TOO_LONG" });
        expect(error.message).not.toMatch("xxx");
        expect(await store.get(sid)).toBeNull();
        expect(await store.destroy(sid)).toBe(false);
        const [token] = await store.tokens([sid]);
        expect(await store.applyIf([{ token: token!, session: aSession() }])).toEqual(["refused"]);
        expect(await store.applyIf([{ token: token!, session: null }])).toEqual(["applied"]);
      }
      expect(reported.map(({ code }) => code)).toEqual(["KEY_TOO_LONG", "KEY_TOO_LONG", "KEY_TOO_LONG"]);
    });
  });

  describe("items", () => {
    it("are under the prefix, and what is ignored or empty is not listed", async () => {
      const one = await startMemcached();
      const preset = { ...connectMemjs, prefix: "app:", ignore: [/^lock\./] };
      const store = open({ url: one.url, preset });
      const plain = memjs.Client.create(one.url.replace("memcached://", ""), { logger: { log() {} } });
      await plain.set("app:abc", "{}", { expires: 100 });
      await plain.set("app:lock.abc", "1", { expires: 100 });
      await plain.set("app:empty", "", { expires: 0 });
      await plain.set("app:", "{}", { expires: 0 });
      await plain.set("other", "{}", { expires: 100 });
      await plain.set("app:dying", "{}", { expires: 1 });
      await raw(one, Buffer.from("set app:\xff\xfe 0 100 2\r\n{}\r\n", "latin1"));
      await delay(1_100);
      const listed: string[] = [];
      for await (const page of store.list({ pageSize: 100 })) listed.push(...page);
      expect(listed).toEqual(["abc"]);
      expect(await store.get("empty")).toBeNull();
      expect((await store.get("abc"))?.value.toString()).toBe("{}");
      expect((await open({ url: one.url, prefix: "oth" }).get("er"))?.value.toString()).toBe("{}");
      plain.close();
      await one.stop();
    });

    it("that are left behind on the wrong server are nobody's", async () => {
      const two = await Promise.all([startMemcached(), startMemcached()]);
      const url = `memcached://${two.map(({ host, port }) => `${host}:${port}`).join(",")}`;
      const store = open({ url });
      await raw(two[0]!, "set a 0 0 2\r\n{}\r\n");
      await raw(two[1]!, "set a 0 0 2\r\n{}\r\n");
      const listed: string[] = [];
      for await (const page of store.list({ pageSize: 100 })) listed.push(...page);
      expect(listed).toEqual(["a"]);
      expect(await store.count()).toBe(2);
      await Promise.all(two.map((one) => one.stop()));
    });

    it("too large for the server are refused before the old one is lost", async () => {
      const reported: FerryError[] = [];
      const small = await startMemcached({ args: ["-I", "2m"] });
      const store = open({ url: small.url, report: (error) => reported.push(error) });
      const before = aSession({ n: "before" });
      await store.set("a", before);
      const large = { ...before, value: Buffer.alloc(2 * 1024 * 1024, "x") };
      await expect(store.set("a", large)).rejects.toMatchObject({ code: "VALUE_TOO_LARGE" });
      expect((await store.get("a"))?.value).toEqual(before.value);
      const [token] = await store.tokens(["a"]);
      expect(await store.applyIf([{ token: token!, session: large }])).toEqual(["refused"]);
      expect(reported.map(({ code }) => code)).toEqual(["VALUE_TOO_LARGE"]);
      expect((await store.get("a"))?.value).toEqual(before.value);
      await expect(store.set("a", { ...before, value: Buffer.alloc(0) })).rejects.toMatchObject({
        code: "VALUE_INVALID",
      });
      await store.set("a", { ...before, value: Buffer.alloc(2 * 1024 * 1024 - 200, "x") });
      await small.stop();
    });

    it("on a condition that find no room leave the old value where it is, as memcached's classic commands do", async () => {
      const full = await startMemcached({ args: ["-m", "2", "-M"] });
      const store = open({ url: full.url, items: true });
      const verbs = store.verbs();
      const old = { ...aSession(), value: Buffer.from("old") };
      await store.set("a", old);
      const more = { ...old, value: Buffer.alloc(100_000, "x") };
      // No room is left for such a value, nor for its pieces.
      for (const size of [100_000, 10_000, 1_000]) {
        const filler = { ...old, value: Buffer.alloc(size, "y") };
        for (let n = 0, isFull = false; !isFull; n++) {
          expect(n).toBeLessThan(5_000);
          isFull = (await store.set(`f${size}-${n}`, filler).catch(() => "full")) === "full";
        }
      }
      const item = async () => (await verbs.read(["a"], { token: true }))[0]!;
      const refused: ItemVerb[] = [
        { verb: "add", session: more },
        { verb: "replace", session: more },
        { verb: "cas", session: more, token: (await item()).token },
        { verb: "append", data: more.value, token: 0n },
        { verb: "prepend", data: more.value, token: 0n },
      ];
      for (const verb of refused) {
        expect(await rejection(verbs.perform("a", verb, { token: false }, true)), verb.verb).toBeInstanceOf(
          LegacyRefused,
        );
        expect((await item()).value.toString(), verb.verb).toBe("old");
      }
      const none: ItemVerb[] = [
        { verb: "replace", session: old },
        { verb: "append", data: old.value, token: 0n },
      ];
      for (const verb of none)
        expect(await verbs.perform("none", verb, { token: false }, true)).toEqual({ result: "absent" });
      const present = { verb: "add", session: old } as const;
      expect(await verbs.perform("a", present, { token: false }, true)).toEqual({ result: "present" });
      const stale = { verb: "cas", session: old, token: 999_999_999n } as const;
      expect(await verbs.perform("a", stale, { token: false }, true)).toEqual({ result: "changed" });
      expect(await verbs.perform("none", stale, { token: false }, true)).toEqual({ result: "absent" });
      await full.stop();
    });

    it("that find no room take their old value with them, which is told as unknown", async () => {
      const full = await startMemcached({ args: ["-m", "2", "-M"] });
      const store = open({ url: full.url });
      const big = { ...aSession(), value: Buffer.alloc(100_000, "x") };
      let error: Error | null = null;
      let sid = "";
      for (let n = 0; n < 60 && error === null; n++) {
        sid = `a${n}`;
        await store.set(sid, aSession({ n: "before" }));
        error = await store.set(sid, big).then(
          () => null,
          (failure: Error) => failure,
        );
      }
      expect(error).toBeInstanceOf(OutcomeUnknown);
      expect(error?.cause).toBeInstanceOf(LegacyRefused);
      await (error as OutcomeUnknown).settled;
      expect(await store.get(sid)).toBeNull();
      await full.stop();
    });

    it("are touched without a new token, and moved by a change on the old one", async () => {
      const store = open();
      const sid = newSid();
      await store.set(sid, aSession({ n: 1 }, HOUR));
      const [token] = await store.tokens([sid]);
      await store.touch(sid, Date.now() + 2 * HOUR);
      const drained = aSession({ n: 2 }, 3 * HOUR);
      expect(await store.applyIf([{ token: token!, session: drained }])).toEqual(["applied"]);
      expect(Math.abs((await store.get(sid))!.expiresAt - drained.expiresAt)).toBeLessThan(1_600);
    });

    // A process that was about to store it there must not bring back what was logged out meanwhile.
    it.each([
      ["a delete", { verb: "delete", token: 0n }],
      ["a delete of one version", { verb: "delete", token: 5n }],
      ["a touch", { verb: "touch", expiresAt: Date.now() + HOUR }],
      ["a get-and-touch", { verb: "get-and-touch", expiresAt: Date.now() + HOUR }],
    ] as const)("%s that meets a placeholder takes it away, and what it is the token of", async (_, verb) => {
      const store = open({ items: true });
      const sid = newSid();
      const [token] = await store.tokens([sid]);
      expect(await store.verbs().perform(sid, verb, { token: false })).toEqual({ result: "absent" });
      expect(await store.applyIf([{ token: token!, session: aSession() }])).toEqual(["changed"]);
      expect(await store.get(sid)).toBeNull();
    });

    it("a session's touch does so, too", async () => {
      const store = open();
      const sid = newSid();
      const [token] = await store.tokens([sid]);
      expect(await store.touch(sid, Date.now() + HOUR)).toBe(false);
      expect(await store.applyIf([{ token: token!, session: aSession() }])).toEqual(["changed"]);
    });

    it("that stand for an absence last ten seconds", async () => {
      const store = open();
      const sid = newSid();
      await store.tokens([sid]);
      const [line] = (await raw(server, `mg ${sid} t s f\r\n`)).toString().split("\r\n");
      expect(line).toMatch(/^HD t(9|10) s0 f4265877077$/);
    });

    it("tell when they end though this process stopped before it looked", async () => {
      const store = open({ deadline: 10_000, items: true });
      const verbs = store.verbs();
      const sid = newSid();
      const earliest = Date.now();
      await raw(server, `set ${sid} 0 30 1\r\nx\r\n`);
      const latest = Date.now();
      const reads = [
        () => store.get(sid),
        async () => (await store.getMany([sid, newSid()]))[0]!,
        async () => (await verbs.read([sid], { token: true }))[0]!,
      ];
      for (const read of reads) {
        await read();
        const reading = read();
        await stoppedWhenSent(2_000);
        const item = await reading;
        // The item dies after 29 to 30 seconds.
        expect(item!.expiresAt).toBeGreaterThan(earliest + 29_000 - 1_000);
        expect(item!.expiresAt).toBeLessThan(latest + 30_000 + 1_000);
      }
    });

    it("tell when they end though this process stopped beyond its deadline with the answer at hand", async () => {
      const store = open({ deadline: 1_000, items: true });
      const sid = newSid();
      const earliest = Date.now();
      await raw(server, `set ${sid} 0 30 1\r\nx\r\n`);
      const latest = Date.now();
      await store.get(sid);
      const reading = store.get(sid);
      await stoppedWhenSent(5_000);
      const session = await reading;
      expect(session!.expiresAt).toBeGreaterThan(earliest + 29_000 - 1_000);
      expect(session!.expiresAt).toBeLessThan(latest + 30_000 + 1_000);
    });

    it("are looked for only where there may be some, and are nobody's items", async () => {
      const store = open({ deadline: 10_000, items: true });
      const verbs = store.verbs();
      const value = Buffer.from("x");
      const session = { value, flags: 0, expiresAt: Date.now() + HOUR };
      const all = [
        { verb: "replace", session },
        { verb: "append", data: value, token: 0n },
        { verb: "prepend", data: value, token: 0n },
        { verb: "delete", token: 0n },
      ] as const;
      const looks = async () => Number(/cmd_get (\d+)/.exec((await raw(server, "stats\r\n", "END")).toString())![1]);
      for (const bare of [true, false]) {
        for (const verb of all) {
          const sid = newSid();
          await store.set(sid, session);
          const before = await looks();
          const answered = await verbs.perform(sid, verb, { token: false }, bare);
          expect(answered.result).toBe("done");
          expect((await looks()) - before, verb.verb).toBe(bare ? 0 : 1);
        }
      }
      for (const verb of all) {
        const sid = newSid();
        await store.tokens([sid]);
        expect(await verbs.perform(sid, verb, { token: false })).toEqual({ result: "absent" });
      }
    });

    it("that lie beyond thirty days or never end keep their expiry through a touch", async () => {
      const store = open();
      const sid = newSid();
      await store.set(sid, aSession({}, 50 * 24 * HOUR));
      expect(Math.abs((await store.get(sid))!.expiresAt - Date.now() - 50 * 24 * HOUR)).toBeLessThan(1_600);
      await store.touch(sid, NEVER);
      expect((await store.get(sid))?.expiresAt).toBe(NEVER);
    });
  });

  describe("a listing", () => {
    it("of very many sessions comes whole, while they are read and written", async () => {
      const one = await startMemcached();
      const store = open({ url: one.url, deadline: 5_000 });
      const count = 20_000;
      const commands = Array.from({ length: count }, (_, n) => `set many-${n} 0 1000 2 noreply\r\n{}\r\n`).join("");
      await raw(one, `${commands}mn\r\n`, "MN");
      let reading = true;
      const readers = [0, 1].map(async () => {
        while (reading) {
          const sids = Array.from({ length: 500 }, () => `many-${Math.floor(Math.random() * count)}`);
          await store.getMany(sids);
          await Promise.all(sids.slice(0, 50).map((sid) => store.set(sid, aSession())));
        }
      });
      const listed = new Set<string>();
      for await (const page of store.list({ pageSize: 1_000 })) for (const sid of page) listed.add(sid);
      reading = false;
      await Promise.all(readers);
      expect(listed.size).toBe(count);
      expect(await store.count()).toBe(count);
      await one.stop();
    });

    it("waits for another one that is under way", async () => {
      const store = open({ deadline: 2_000 });
      await store.set("a", aSession());
      const both = await Promise.all(
        [0, 1, 2].map(async () => {
          const listed: string[] = [];
          for await (const page of store.list({ pageSize: 1_000 })) listed.push(...page);
          return listed;
        }),
      );
      expect(both[1]).toEqual(both[0]);
      expect(both[2]).toEqual(both[0]);
    });
  });
});

/** Stops this process when what was just asked for has left, with this turn of the event loop: its answer lies unread. */
async function stoppedWhenSent(milliseconds: number): Promise<void> {
  // What is sent asks for its turn a few promises after the call; so this comes next, before anything is read.
  for (let promises = 0; promises < 20; promises++) await Promise.resolve();
  await new Promise<void>((resolve) => setImmediate(resolve));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
