import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { unprivileged } from "./account.js";
import { type Address, ask } from "./ask.js";
import { startContainer } from "./docker.js";
import { findMemcached } from "./find.js";
import { missing } from "./missing.js";
import { run } from "./process.js";
import type { RunningServer } from "./server.js";
import { processFolder } from "./watchdog.js";

export interface MemcachedOptions {
  /** Appended to the command line, where the last word wins: `["-I", "2m"]`. */
  readonly args?: readonly string[];
  readonly port?: number;
  /** Paths of PEM files that every account may read: memcached speaks TLS alone then. Not in a container. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

/** A memcached with room for the demo and CAS on, which is its default (`-C` would turn it off). */
export async function startMemcached(options: MemcachedOptions = {}): Promise<RunningServer> {
  const { tls } = options;
  const secured = tls === undefined ? [] : ["-Z", "-o", `ssl_chain_cert=${tls.cert},ssl_key=${tls.key}`];
  const settings = ["-U", "0", "-m", "256", "-c", "2048", ...secured, ...(options.args ?? [])];
  const url = ({ host, port }: Address) => `memcached://${host}:${port}`;
  const command = findMemcached();
  if (command === null) {
    const container = await startContainer("memcached", {
      command: ["memcached", ...settings],
      url,
      port: options.port,
      ready: (where) => memcachedServes(where, 1),
    });
    if (container === null) throw missing(["memcached"]);
    return container;
  }
  return run(
    {
      title: "memcached",
      command,
      folder: mkdtempSync(join(processFolder(), "memcached-")),
      account: unprivileged(),
      // It has nothing to save, and its own good order waits for the next full second.
      stopSignal: "SIGKILL",
      args: (port) => ["-l", "127.0.0.1", "-p", String(port), ...settings],
      url,
      ready: (where, pid) => memcachedServes(where, pid, tls !== undefined),
    },
    options.port,
  );
}

async function memcachedServes(where: Address, pid: number, tls = false): Promise<boolean> {
  const isWhole = (text: Buffer) => text.includes("END\r\n") || text.includes("ERROR");
  const answer = await ask(where, "stats\r\n", isWhole, 1_000, tls);
  return answer?.includes(`STAT pid ${pid}\r\n`) ?? false;
}
