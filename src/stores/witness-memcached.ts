import type { ConnectionOptions } from "node:tls";
import type { Client } from "memjs";
import { FerryError } from "../errors.js";
import { LegacyUnreachable } from "../ports/legacy-store.js";
import type { LegacyWitness } from "../ports/witness.js";
import { LATE, within } from "./deadline.js";
import { openTlsTunnel, type TlsTunnel } from "./tls-tunnel.js";

export interface MemcachedWitnessOptions {
  /** memcached://host:port[,host:port] */
  readonly url: string;
  readonly prefix: string;
  /** Where the application's client is not one that chooses a server as memjs does, every server is asked. */
  readonly distribution: "modulo" | "ketama";
  /** Options of Node's tls.connect; null, or absent, for plain connections. */
  readonly tls?: ConnectionOptions | null;
  /** Milliseconds. */
  readonly timeout: number;
  /** Whether empty items are sessions as well, which they are where memcached's own clients are served. */
  readonly empties?: boolean;
}

/** So many of its own timeouts a client has, which tries twice. */
const PATIENCE = 3;
/** The flags of what a drain stores for ten seconds where there is nothing: 0xfe441e55, as memjs gives them. */
const PLACEHOLDER = Buffer.from("fe441e55", "hex");

/**
 * Asks for a session through memjs, an optional peer: another protocol (the binary one), another parser, another choice
 * of server than ours. Rejects with GUARD_REFUSED when memjs is not installed.
 */
export async function openMemcachedWitness(options: MemcachedWitnessOptions): Promise<LegacyWitness> {
  const memjs = await import("memjs").catch((cause: unknown) => {
    throw new FerryError("GUARD_REFUSED", "The check reads a sample through memjs, which is not installed.", {
      cause,
      remedy: "Install it beside sessionferry: npm install memjs",
    });
  });
  const servers = options.url.replace(/^memcached:\/\//, "").replace(/\/$/, "");
  const open = (list: string) =>
    memjs.Client.create(list, { timeout: options.timeout / 1000, retries: 1, logger: { log() {} } });
  const clients: Client[] = options.distribution === "modulo" ? [open(servers)] : servers.split(",").map(open);
  const tunnels: TlsTunnel[] = [];
  if (options.tls) {
    for (const server of clients.flatMap((client) => client.servers)) {
      const tunnel = await openTlsTunnel({ ...options.tls, host: server.host, port: Number(server.port) });
      tunnels.push(tunnel);
      // It is given to Node's net.connect as it stands, for which a path is as good as a port.
      server.port = tunnel.path;
    }
  }
  return {
    async get(sid) {
      const asked = Promise.all(clients.map((client) => client.get(options.prefix + sid)));
      // A client that loses its connection without a word never answers.
      const answers = await within(asked, PATIENCE * options.timeout);
      if (answers === LATE) throw new LegacyUnreachable("memjs did not answer.");
      // An empty item is no session to the stores of Node that use these clients.
      const counts = (flags: Buffer | null) => options.empties === true && flags?.equals(PLACEHOLDER) === false;
      return answers.find(({ value, flags }) => value !== null && (value.length > 0 || counts(flags)))?.value ?? null;
    },
    async close() {
      for (const client of clients) client.close();
      await Promise.all(tunnels.map((tunnel) => tunnel.close()));
    },
  };
}
