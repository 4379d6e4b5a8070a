/** The command of the memcached door: where it listens, what it tells, and how it ends. */
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { converse } from "../clients/converse.js";
import { DoorSite } from "../clients/site.js";
import { until } from "../support/processes.js";
import { runError } from "./support.js";

describe("sessionferry proxy", () => {
  let site: DoorSite;
  beforeAll(async () => {
    site = await DoorSite.open("php-memcached");
    await site.run("setup");
  }, 180_000);
  afterAll(() => site?.close());

  test("joins as a proxy though Redis is down, serves, tells of itself, and leaves", async () => {
    await site.redis.kill();
    const proxy = await site.startProxy();
    expect(proxy.lines[0]).toMatchObject({ level: "info", msg: "listening", server: expect.stringContaining(":") });
    expect(await converse(proxy.place, "set memc.sess.key.one 0 60 1\r\nx\r\n")).toBe("STORED\r\n");
    expect(await converse(proxy.place, "get memc.sess.key.one\r\n")).toBe(
      "VALUE memc.sess.key.one 0 1\r\nx\r\nEND\r\n",
    );
    // What is no session goes to memcached as it is.
    expect(await converse(proxy.place, "set fragment 7 60 1\r\ny\r\n")).toBe("STORED\r\n");
    expect(await converse(site.memcached, "get fragment\r\n")).toBe("VALUE fragment 7 1\r\ny\r\nEND\r\n");
    expect(await converse(proxy.place, "flush_all\r\n", /\r\n$/)).toMatch(/^(CLIENT|SERVER)_ERROR/);
    expect(await converse(proxy.place, "version\r\n", /\r\n$/)).toMatch(/^VERSION \d/);
    await site.redis.restart();

    const answer = async (path: string, method = "GET") => {
      const response = await fetch(proxy.http + path, { method });
      return { status: response.status, text: await response.text() };
    };
    expect(await answer("/healthz")).toEqual({ status: 200, text: "alive\n" });
    expect(await answer("/readyz")).toEqual({ status: 200, text: "ready\n" });
    expect((await answer("/metrics", "POST")).status).toBe(405);
    expect((await answer("/etc/passwd")).status).toBe(404);
    expect((await answer("/constructor")).status).toBe(404);
    const { text: metrics } = await answer("/metrics");
    expect(metrics).toMatch(/^sessionferry_nodes\{role="proxy",state="live",.*\} 1$/m);
    expect(metrics).toMatch(/^sessionferry_door_commands_total [1-9]/m);
    expect(metrics).not.toContain("one");
    expect((await site.run("nodes")).nodes).toMatchObject([{ role: "proxy" }]);

    // A client that stays connected is hung up on, and the exit code says that all is well.
    const idle = connect(proxy.place);
    await new Promise((resolve) => idle.once("connect", resolve));
    const closed = new Promise((resolve) => idle.once("close", resolve));
    expect(await proxy.stop()).toBe(0);
    await closed;
    expect(proxy.lines.map(({ msg }) => msg)).toEqual(expect.arrayContaining(["draining", "stopped"]));
    expect((await site.run("nodes")).nodes).toEqual([]);
  });

  test("is known to the doctor", async () => {
    await converse(site.memcached, "set memc.sess.key.packed 1 60 1\r\nz\r\n");
    const { checks } = (await site.run("doctor")) as { checks: { name: string; ok: string; detail: string }[] };
    const verdicts = Object.fromEntries(checks.map(({ name, ok }) => [name, ok]));
    expect(verdicts).toMatchObject({
      "proxy-listeners": "ok",
      "legacy-prefix": "ok",
      "legacy-flags": "warn",
      "proxy-item-size": "ok",
    });
    expect(checks.find(({ name }) => name === "legacy-flags")?.detail).toMatch(/^1 of 2 sessions/);
  });

  test("listens on a unix socket where it is told to", async () => {
    const path = join(site.folder, "door.sock");
    const proxy = await site.startProxy("--listen", path);
    const socket = connect(path);
    let said = "";
    socket.on("data", (chunk: Buffer) => (said += chunk));
    socket.write("get memc.sess.key.one\r\n");
    await until("the item came", () => said.endsWith("END\r\n"));
    expect(said).toContain("VALUE memc.sess.key.one 0 1");
    socket.destroy();
    expect(await proxy.stop()).toBe(0);
  });

  test("refuses what it cannot serve, before anything is opened", async () => {
    const config = ["--config", join(site.folder, "sessionferry.json")];
    expect(await runError(["proxy", "--server", "a:1", ...config])).toMatchObject({ exit: 2, code: "USAGE" });
    expect(await runError(["proxy", "--listen", "11211", ...config])).toMatchObject({ exit: 2, code: "USAGE" });
    const stranger = await runError(["proxy", "--listen", "127.0.0.1:0", "--server", "10.0.0.1:11211", ...config]);
    expect(stranger).toMatchObject({ exit: 2, code: "CONFIG_INVALID" });
    expect(stranger.message).toContain("no server of legacy.url");
  });
});
