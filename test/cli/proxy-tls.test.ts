/** TLS on both sides of the proxy, and accounts: the real command, a memcached that speaks TLS alone, real clients. */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Client } from "memjs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findClient, type RunningServer, startMemcached } from "../../src/servers/index.js";
import { openTlsTunnel, type TlsTunnel } from "../../src/stores/tls-tunnel.js";
import { DoorSite, evidence, type ProxyProcess } from "../clients/site.js";
import { type Certificate, makeCertificate } from "../support/certificate.js";

const KEY = "memc.sess.key.one";
const ACCOUNT = { user: "shop", password: "geheim & süß" };

describe("sessionferry proxy with TLS and accounts", () => {
  let certificate: Certificate;
  let memcached: RunningServer;
  let site: DoorSite;
  let proxy: ProxyProcess;
  let tunnel: TlsTunnel;

  beforeAll(async () => {
    certificate = makeCertificate();
    const { certFile, keyFile } = certificate;
    memcached = await startMemcached({ tls: { cert: certFile, key: keyFile } });
    const server = `${memcached.host}:${memcached.port}`;
    const listeners = [{ listen: "127.0.0.1:0", server }];
    const tls = { cert: certFile, key: keyFile };
    const legacy = { url: memcached.url, tls: { ca: certFile, servername: "localhost" } };
    site = await DoorSite.open("php-memcached", { legacy, proxy: { listeners, tls, sasl: [ACCOUNT] } });
    await site.run("setup");
    proxy = await site.startProxy();
    tunnel = await openTlsTunnel({ ...proxy.place, ca: certificate.cert, servername: "localhost" });
  }, 180_000);
  afterAll(async () => {
    await tunnel?.close();
    await site?.close();
    await memcached?.stop();
    certificate?.remove();
  });

  const client = (password: string): Client => {
    const { user: username } = ACCOUNT;
    const made = Client.create("localhost:1", {
      username,
      password,
      retries: 1,
      timeout: 20,
      conntimeout: 20,
      logger: { log() {} },
    });
    for (const server of made.servers) server.port = tunnel.path;
    return made;
  };

  test("serves who names an account over TLS, and nobody else", async () => {
    const shop = client(ACCOUNT.password);
    expect(await shop.set(KEY, "x".repeat(100_000), { expires: 600 })).toBe(true);
    expect((await shop.get(KEY)).value?.toString()).toBe("x".repeat(100_000));
    shop.close();
    const stranger = client("wrong");
    await expect(stranger.get(KEY)).rejects.toThrow();
    stranger.close();
  });

  test("speaks TLS to memcached in everything: the doctor, a backfill, a check with its plain client", async () => {
    const { checks } = (await site.run("doctor")) as { checks: { name: string; ok: string }[] };
    expect(checks.filter(({ ok }) => ok !== "ok" && ok !== "warn")).toEqual([]);
    await site.run("phase", "advance", "--to", "dual-write", "--percent", "100");
    const { result } = (await site.run("backfill")) as { result: { counts: { copied: number } } };
    expect(result.counts.copied).toBe(1);
    await evidence(site);
  });

  test("is understood by pymemcache, whose TLS checks the certificate", async ({ skip }) => {
    const python = await findClient("pymemcache");
    if (python === null) return skip("pymemcache is not on this machine");
    const path = join(site.folder, "open.json");
    const { proxy: section, ...rest } = site.config as { proxy: Record<string, unknown> };
    writeFileSync(path, JSON.stringify({ ...rest, proxy: { ...section, sasl: [] } }));
    const { place } = await site.startProxy("--config", path);
    const script = fileURLToPath(new URL("../clients/drivers/tls.py", import.meta.url));
    const words = [script, "localhost", String(place.port), certificate.certFile, `${KEY}.tls`];
    const { stdout } = await promisify(execFile)(python.program, words);
    expect(stdout.trim()).toBe("True True None");
  });

  test("refuses a memcached whose certificate nobody vouches for", async () => {
    const path = join(site.folder, "distrustful.json");
    const { legacy, ...rest } = site.config as { legacy: Record<string, unknown> };
    writeFileSync(path, JSON.stringify({ ...rest, legacy: { ...legacy, tls: { servername: "localhost" } } }));
    await expect(site.run("doctor", "--config", path)).rejects.toThrow(/not trusted \(DEPTH_ZERO/);
  });
});
