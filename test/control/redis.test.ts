import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openControl } from "../../src/control/open.js";
import { redisOptionsOf } from "../../src/control/redis-url.js";
import { FerryError } from "../../src/errors.js";
import { ControlUnreachable } from "../../src/ports/control-store.js";
import { type RunningServer, startRedis } from "../../src/servers/index.js";
import { controlStoreContract, DUAL_WRITE, LEGACY, registration } from "../contract/control-store.js";

const DEADLINE = 1_000;
const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

controlStoreContract("Redis", async () => {
  const server = await startRedis({ args: ["--appendonly", "yes"] });
  let opened = 0;
  return {
    deadline: DEADLINE,
    open: (migration) => openControl(server.url, { migration, node: `n${opened++}`, deadline: DEADLINE }),
    pass: pause,
    outage: async (kind) => {
      if (kind === "paused") {
        server.pause();
        return { end: async () => server.resume() };
      }
      await server.stop();
      return { end: () => server.restart() };
    },
    end: () => server.stop(),
  };
});

describe("Redis", () => {
  let server: RunningServer;
  let admin: Redis;

  beforeAll(async () => {
    server = await startRedis();
    admin = new Redis(server.url);
  });
  afterAll(async () => {
    admin?.disconnect();
    await server?.stop();
  });

  const open = (url = server.url, migration = "shop") =>
    openControl(url, { migration, node: "node0001", deadline: DEADLINE });

  it("keeps everything under one hash tag and names its one connection", async () => {
    const store = await open();
    await Promise.all([store.setup(LEGACY), store.now()]);
    await store.join(registration("a"), { presence: 1000 });
    await store.lock("phase", "a", 1000);
    await store.putDocument("check", "1", {});
    await store.append({ by: "anna", action: "setup", detail: {} });
    const keys = await admin.keys("*");
    expect(keys.length).toBeGreaterThan(6);
    expect(keys.filter((key) => !key.startsWith("{sf:shop}:control:"))).toEqual([]);
    const clients = String(await admin.client("LIST")).match(/name=sessionferry-control:node0001 /g);
    expect(clients).toHaveLength(1);
    await store.destroy();
    expect(await admin.keys("*")).toEqual([]);
    await store.close();
  });

  it("leaves other keys of the same Redis alone", async () => {
    await admin.set("sf:shop:seal", "x");
    await admin.set("sess:1", "x");
    const store = await open();
    await store.setup(LEGACY);
    await store.destroy();
    expect((await admin.keys("*")).sort()).toEqual(["sess:1", "sf:shop:seal"]);
    await admin.flushall();
    await store.close();
  });

  it("goes on after the server forgot the scripts and after its connection was ended", async () => {
    const store = await open();
    await store.setup(LEGACY);
    await admin.script("FLUSH");
    expect((await store.compareAndSet(1, DUAL_WRITE))?.revision).toBe(2);
    await admin.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    await pause(50);
    expect((await store.read()).revision).toBe(2);
    await store.destroy();
    await store.close();
  });

  it("changes nothing on a Redis that is out of memory, and says that it could not", async () => {
    const store = await open();
    await store.setup(LEGACY);
    await admin.config("SET", "maxmemory", "1");
    const failure = await store.compareAndSet(1, DUAL_WRITE).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ControlUnreachable);
    expect((failure as ControlUnreachable).sent).toBe(false);
    await admin.config("SET", "maxmemory", "0");
    expect(await store.read()).toMatchObject({ revision: 1, ...LEGACY });
    await store.destroy();
    await store.close();
  });

  it("never prints a password, and tells a wrong one from missing rights", async () => {
    await admin.call("ACL", "SETUSER", "anna", "on", ">s3cr3t", "~*", "+ping", "+info", "+client");
    const address = server.url.replace("redis://", "");
    const codes: Record<string, string> = {};
    for (const [kind, url] of Object.entries({
      wrong: `redis://anna:s3cr3tly@${address}`,
      rights: `redis://anna:s3cr3t@${address}`,
      away: "redis://anna:s3cr3t@127.0.0.1:1",
      unreadable: `redis://anna:s3cr3t@${address}/shop/x`,
    })) {
      const failure = await open(url)
        .then((store) => store.setup(LEGACY).finally(() => store.close()))
        .catch((error: unknown) => error as Error);
      const chain = [failure as Error, (failure as Error).cause as Error];
      for (const each of chain) expect(`${each?.stack} ${JSON.stringify(each)}`).not.toMatch(/s3cr3t/);
      codes[kind] = failure instanceof FerryError ? failure.code : (failure as Error).name;
    }
    expect(codes).toEqual({
      wrong: "AUTHENTICATION_FAILED",
      rights: "GUARD_REFUSED",
      away: "ControlUnreachable",
      unreadable: "CONFIG_INVALID",
    });
  });

  it("works with the rights that the error names", async () => {
    await admin.call("ACL", "SETUSER", "bert", "on", ">pass", "resetkeys", "-@all");
    const store = await open(`redis://bert:pass@${server.url.replace("redis://", "")}`);
    const failure = (await store.setup(LEGACY).catch((error: unknown) => error)) as FerryError;
    expect(failure.code).toBe("GUARD_REFUSED");
    await admin.call(...(failure.remedy.split(": ")[1]!.split(" ") as [string, ...string[]]));
    expect(await store.setup(LEGACY)).toBe(true);
    await store.join(registration("a"), { presence: 1000 });
    expect(await store.now()).toBeGreaterThan(0);
    await store.destroy();
    await store.close();
  });
});

describe("Redis URLs", () => {
  it.each([
    ["redis://h", { host: "h", port: 6379, db: 0 }],
    ["redis://h:1/2", { host: "h", port: 1, db: 2 }],
    ["redis://[::1]:1", { host: "::1", port: 1, db: 0 }],
    ["redis://:p%40ss@h", { host: "h", port: 6379, db: 0, password: "p@ss" }],
    ["redis://u:100%@h", { host: "h", port: 6379, db: 0, username: "u", password: "100%" }],
    ["rediss://u:p:q@h", { host: "h", port: 6379, db: 0, username: "u", password: "p:q", tls: {} }],
    [
      "redis-sentinel://p@a:1,b/main/3",
      {
        sentinels: [
          { host: "a", port: 1 },
          { host: "b", port: 26379 },
        ],
        name: "main",
        db: 3,
        username: "p",
      },
    ],
  ])("%s", (url, expected) => {
    expect(redisOptionsOf(url)).toEqual(expected);
  });

  it.each(["redis://", "redis://h/x", "redis://a,b", "redis-sentinel://a:1", "redis://u:secret@h:port", "http://h"])(
    "%s is refused",
    (url) => {
      expect(() => redisOptionsOf(url)).toThrow(FerryError);
      expect(() => redisOptionsOf(url)).not.toThrow(/secret/);
    },
  );
});
