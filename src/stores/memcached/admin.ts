import type { ConnectionOptions } from "node:tls";
import type { Fence } from "../../ports/fence.js";
import { MemcachedLink } from "./link.js";
import { type Reply, stats, VERSION } from "./protocol.js";
import { parseServers } from "./server.js";

export interface MemcachedAdminOptions {
  /** memcached://host:port[,host:port]; the first one is asked. */
  readonly url: string;
  readonly tls?: ConnectionOptions | null | undefined;
  /** Milliseconds that a call takes at most. */
  readonly deadline: number;
  readonly fence: Fence;
}

const HARMLESS = new Set(["", "settings", "items", "slabs", "conns"]);
/** What is not asked: it changes something, lists keys, or makes the server go over all its items. */
const WITHHELD = /^(reset|detail|cachedump|sizes)\b/;

/** What monitoring clients ask of memcached itself. Opens its one connection with the first question. */
export function openMemcachedAdmin({ url, tls, ...options }: MemcachedAdminOptions) {
  const link = new MemcachedLink(parseServers(url, tls)[0]!, { ...options, connections: 1 });
  const lineOf = ({ code, words }: Reply) => `${[code, ...words].join(" ")}\r\n`;
  return {
    async version(): Promise<string> {
      const [reply] = await link.read([VERSION]);
      return reply!.words.join(" ");
    },
    /** The lines of its answer, with the last one; an empty answer for what is withheld. */
    async stats(which: string): Promise<string> {
      if (WITHHELD.test(which)) return which === "reset" ? "RESET\r\n" : "END\r\n";
      if (!HARMLESS.has(which)) return "ERROR\r\n";
      return (await link.read([stats(which)])).map(lineOf).join("");
    },
    async close(): Promise<void> {
      link.close();
    },
  };
}
