import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningServer, startMemcached } from "../../../src/servers/index.js";
import { type DoorOver, openDoorOver, TestRelay } from "./support.js";

const PROGRAM = "/usr/bin/memccapable";
const run = promisify(execFile);

interface Verdicts {
  readonly [test: string]: "pass" | "fail";
}

/** Runs libmemcached's conformance tests, one protocol; it flushes whatever it is pointed at. */
async function verdicts(port: number, protocol: "-a" | "-b"): Promise<Verdicts> {
  const { stdout } = await run(PROGRAM, ["-h", "127.0.0.1", "-p", String(port), "-t", "5", protocol]).catch(
    (error: { stdout: string }) => error,
  );
  const found = [...stdout.matchAll(/^((?:ascii|binary) .+?)\s+\[(pass|FAIL)\]/gm)];
  return Object.fromEntries(found.map(([, name, verdict]) => [name!, verdict === "pass" ? "pass" : "fail"]));
}

describe.runIf(existsSync(PROGRAM))("memccapable", () => {
  let server: RunningServer;
  let over: DoorOver;
  let relayed: DoorOver;

  beforeAll(async () => {
    server = await startMemcached();
    over = await openDoorOver(server);
    relayed = await openDoorOver(server, { relay: new TestRelay(server) });
  });
  afterAll(async () => {
    await over.close();
    await relayed.close();
    await server.stop();
  });

  test.each([
    ["text", "-a"],
    ["binary", "-b"],
  ] as const)("passes in the %s protocol exactly where it passes against memcached", async (_, protocol) => {
    const ofMemcached = await verdicts(server.port, protocol);
    expect(Object.keys(ofMemcached).length).toBeGreaterThan(20);
    expect(await verdicts(over.port, protocol)).toEqual(ofMemcached);
    if (protocol === "-a") expect(await verdicts(relayed.port, protocol)).toEqual(ofMemcached);
  });
});
