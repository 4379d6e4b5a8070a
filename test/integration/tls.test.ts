import { chmodSync, chownSync, copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loadConfig } from "../../src/config.js";
import { newNodeId } from "../../src/core/ids.js";
import type { PhaseName } from "../../src/core/phase.js";
import { NO_FENCE } from "../../src/ports/fence.js";
import { openRecords, redisPrefix } from "../../src/runtime/open.js";
import { openWitnesses } from "../../src/runtime/witnesses.js";
import { unprivileged } from "../../src/servers/account.js";
import { findRedis } from "../../src/servers/find.js";
import { type RunningServer, startPostgres, startRedis } from "../../src/servers/index.js";
import { freePort } from "../../src/servers/ports.js";
import { slotOfKey } from "../../src/stores/redis/slots.js";
import { type Certificate, makeCertificate } from "../support/certificate.js";
import { RedisCluster, tlsArguments } from "../support/redis-cluster.js";
import { Sentinel } from "../support/sentinels.js";
import { Site } from "./site.js";

const UP: readonly PhaseName[] = ["dual-write", "read-through", "redis-first", "full-redis"];
const WALK: readonly PhaseName[] = [...UP, "redis-first", "read-through", "dual-write", "legacy"];

/** Slots that move from the first server of the Cluster to the second, and a session that is in one of them. */
const MOVED = 100;
const SID = "moving-314";

let certificate: Certificate;
const endings: (() => unknown)[] = [];
beforeEach(() => {
  certificate = makeCertificate();
  endings.push(() => certificate.remove());
});
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

/** A PostgreSQL that lets nobody in without TLS; and its URL. */
async function securePostgres(): Promise<{ server: RunningServer; url: string }> {
  const folder = mkdtempSync(join(tmpdir(), "sessionferry-postgres-tls-"));
  endings.push(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o755);
  const keyFile = join(folder, "key.pem");
  copyFileSync(certificate.keyFile, keyFile);
  // PostgreSQL takes no key that others can read.
  chmodSync(keyFile, 0o600);
  const account = unprivileged();
  if (account !== null) chownSync(keyFile, account.uid, account.gid);
  const server = await startPostgres({
    settings: { ssl: "on", ssl_cert_file: certificate.certFile, ssl_key_file: keyFile },
  });
  endings.push(() => server.stop());
  return { server, url: `${server.url}?sslmode=verify-full&sslrootcert=${certificate.certFile}` };
}

/** The site's servers and addresses, with the certificate named as a configuration file names it. */
async function openSite(redis: RunningServer, url: string, control: "legacy" | "target" = "legacy"): Promise<Site> {
  const legacy = await securePostgres();
  const site = await Site.open({
    legacy: "postgres",
    control: "legacy",
    servers: { legacy: legacy.server, redis },
    config: {
      legacy: { preset: "connect-pg-simple", url: legacy.url },
      control: { url: control === "target" ? control : legacy.url },
      redis: { url, tls: { ca: certificate.certFile } },
    },
  });
  endings.push(() => site.close());
  return site;
}

/** A session goes all the way up and down, and is never lost; what a plain client finds is the same. */
async function walk(site: Site, atTop = async () => {}): Promise<void> {
  const { ferry } = await site.join();
  const { witnesses, close } = await openWitnesses(site.config);
  endings.push(close);
  const textOf = async () => (await ferry.get(SID))?.value.toString() ?? "";
  let text = await textOf();
  for (const phase of WALK) {
    await site.moveTo({ phase, percent: 100 });
    expect(await textOf()).toBe(text);
    text = JSON.stringify({ cookie: {}, phase });
    await ferry.set(SID, { value: Buffer.from(text), flags: 0, expiresAt: Date.now() + 3_600_000 });
    if (phase !== "full-redis") continue;
    await atTop();
    expect(await textOf()).toBe(text);
    expect(String(await witnesses.redis.get(SID))).toBe(text);
  }
  expect(await textOf()).toBe(text);
}

// A machine whose servers come out of containers has no binary for a sentinel, nor an account for a key.
describe.runIf(findRedis() !== null)("over TLS alone", () => {
  test("PostgreSQL, and one Redis with the control record", async () => {
    const port = await freePort();
    const redis = await startRedis({ args: tlsArguments(certificate, port) });
    endings.push(() => redis.stop());
    const site = await openSite(redis, `rediss://127.0.0.1:${port}`, "target");
    await walk(site);

    const client = new pg.Client({ connectionString: site.legacy.url });
    await client.connect();
    const { rows } = await client.query(
      "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'sessionferry:%'",
    );
    await client.end();
    expect(rows).toEqual([{ ssl: true }]);
  });

  test.each([
    ["no certificate of its own is trusted", {}, "AUTHENTICATION_FAILED", /certificate of Redis at .* is not trusted/],
    ["a file is not there", { ca: "/nowhere/ca.pem" }, "CONFIG_INVALID", /redis\.tls\.ca: the file cannot be read/],
  ])("a Redis, where %s: the error says what to set", async (_, tls, code, message) => {
    const port = await freePort();
    const redis = await startRedis({ args: tlsArguments(certificate, port) });
    endings.push(() => redis.stop());
    const config = loadConfig({
      env: {},
      config: {
        migration: "shop",
        legacy: { preset: "connect-pg-simple", url: "postgres://127.0.0.1/shop" },
        redis: { url: `rediss://127.0.0.1:${port}`, tls },
      },
    });
    const opened = openRecords(config, { node: newNodeId(), fence: NO_FENCE });
    await expect(opened).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test("a Sentinel group, sentinels included", async () => {
    const port = await freePort();
    const redis = await startRedis({ args: tlsArguments(certificate, port) });
    endings.push(() => redis.stop());
    const sentinel = await Sentinel.start({ masterPort: port, certificate });
    endings.push(() => sentinel.stop());
    await walk(await openSite(redis, `redis-sentinel://127.0.0.1:${sentinel.port}/shop`));
  });

  test("a Redis Cluster whose servers announce names", async () => {
    const cluster = await RedisCluster.start({ certificate });
    endings.push(() => cluster.stop());
    const site = await openSite(cluster.masters[0]!.server, cluster.url);
    const slot = slotOfKey(redisPrefix(site.config) + SID);
    expect(slot).toBeLessThan(MOVED);
    await walk(site);

    await cluster.reshard(cluster.masters[0]!, cluster.masters[1]!, MOVED);
    expect(await cluster.slotsOf(cluster.masters[1]!)).toContain(slot);
    await walk(site);
  });
});
