import { setTimeout as delay } from "node:timers/promises";
import type { Fence } from "../../ports/fence.js";
import { LegacyRefused, LegacyUnreachable } from "../../ports/legacy-store.js";
import { openSocket } from "./connection.js";
import { decodeDumpedKey } from "./keys.js";
import { said } from "./protocol.js";
import type { Server } from "./server.js";
import { look } from "./settle.js";

/**
 * The keys of a server, by `lru_crawler metadump hash`: the one listing that items in heavy use do not fall out of.
 *
 * While a reader of a dump stalls, memcached may hold a lock that stops its workers. So the dump has a connection to
 * itself, whose bytes are taken as fast as they come and never wait for whoever wants the keys; only the keys stay in
 * memory. A dump that stops coming is cut off, and so is one that lists far more than the server holds. Only one can run
 * at a time: a server that says BUSY is asked again.
 */
const COMMAND = "lru_crawler metadump hash\r\n";
const STALLED_AFTER = 10_000;
const BUSY_FOR = 120_000;
const ASK_AGAIN = 500;
/** A key takes up to three bytes for each of its 250; the rest of a line is short. */
const LONGEST_LINE = 2_000;
/** Items that may come while a dump runs, for each that was there when it began, and besides. */
const GROWTH = { factor: 3, besides: 100_000 };

export interface DumpOptions {
  readonly deadline: number;
  readonly fence: Fence;
  readonly signal?: AbortSignal;
}

/** Calls `take` for every key that is text and whose item has not expired by the server's own clock. */
export async function dumpKeys(server: Server, options: DumpOptions, take: (key: string) => void): Promise<void> {
  for (const ends = Date.now() + BUSY_FOR; ; ) {
    const outcome = await attempt(server, options, take);
    if (outcome === "done") return;
    if (Date.now() > ends) throw new LegacyUnreachable(`memcached at ${server.address} is busy with another dump.`);
    await delay(ASK_AGAIN, undefined, { signal: options.signal });
  }
}

async function attempt(server: Server, options: DumpOptions, take: (key: string) => void): Promise<"done" | "busy"> {
  const { deadline, fence, signal } = options;
  signal?.throwIfAborted();
  const { time, items } = await look(server, deadline);
  const socket = await openSocket(server, deadline);
  try {
    // It only reads, and is gone when it has: nobody need wait for its end when this node is evicted.
    await fence({ store: "legacy", endpoint: null });
    if (socket.destroyed)
      throw new LegacyUnreachable(`memcached at ${server.address} ended the connection for a dump.`);
    return await new Promise<"done" | "busy">((resolve, reject) => {
      const broken = (why: string) =>
        reject(new LegacyUnreachable(`memcached at ${server.address} broke its dump off: ${why}.`));
      const stop = () => reject(signal?.reason);
      signal?.addEventListener("abort", stop, { once: true });
      socket.setTimeout(STALLED_AFTER, () => broken("nothing came any more"));
      socket.on("error", (error) => broken(error.message));
      socket.on("close", () => {
        signal?.removeEventListener("abort", stop);
        broken("the connection ended");
      });
      let rest = "";
      let left = items * GROWTH.factor + GROWTH.besides;
      socket.on("data", (chunk: Buffer) => {
        const lines = (rest + chunk.toString("latin1")).split("\n");
        rest = lines.pop()!;
        left -= lines.length;
        if (rest.length > LONGEST_LINE || left < 0) return broken("it has no end");
        for (const line of lines) {
          if (line.startsWith("key=")) {
            const key = liveKey(line, time);
            if (key !== null) take(key);
          } else {
            const [code = "", ...words] = line.trim().split(" ");
            if (code === "END") resolve("done");
            else if (code === "BUSY" || (code === "ERROR" && words[0] === "locked")) resolve("busy");
            else if (code !== "OK") reject(refusal(code, words));
          }
        }
      });
      socket.write(COMMAND);
    });
  } finally {
    socket.destroy();
  }
}

/** A line cut off in front begins with a piece of a key. */
function refusal(code: string, words: readonly string[]): LegacyRefused | LegacyUnreachable {
  if (!/^(CLIENT_|SERVER_)?ERROR$/.test(code)) return new LegacyUnreachable("memcached's dump cannot be read.");
  return new LegacyRefused(`memcached refused to list its keys: ${said({ code, words })}.`, code);
}

/** `key=a%20b exp=1700000000 la=... cas=4 fetch=yes cls=1 size=64`, with the date of death or -1. */
function liveKey(line: string, seconds: number): string | null {
  const ends = line.indexOf(" ");
  const at = line.indexOf(" exp=", ends);
  const exp = at === -1 ? Number.NaN : Number.parseInt(line.slice(at + " exp=".length), 10);
  if (exp !== -1 && exp <= seconds) return null;
  return decodeDumpedKey(line.slice("key=".length, ends === -1 ? undefined : ends));
}
