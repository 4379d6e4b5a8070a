import { setTimeout as delay } from "node:timers/promises";
import { LegacyUnreachable } from "../../ports/legacy-store.js";
import { LATE, within } from "../deadline.js";
import { type Connection, incarnationOf, openSocket, processOf } from "./connection.js";
import { endpointsIn, isHidden } from "./endpoints.js";
import { encode, MOST_LINES, type Reply, ReplyParser, statistic, stats, statsOf } from "./protocol.js";
import type { Server } from "./server.js";

/**
 * When can a command that was sent and not answered no longer take effect? memcached runs what it finds in a
 * connection's buffer and then notices that the connection ended. So it is over once the server does not list our end
 * any more (the connection was listed before anything was sent over it), or runs as another process.
 *
 * A minute after the connection ended must do where the list says nothing: because the server sees another address than
 * ours, or because our port is somebody else's connection by now. That is longer than a packet lives, and counts only
 * while the server answers: one that hangs has not read yet what it was sent.
 */
const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 2_000;
const PACKETS_LIVE = 60_000;

/** What a server says of itself and of its connections at this moment. */
export interface Look {
  readonly incarnation: string;
  /** Seconds since the epoch, by the server's clock. */
  readonly time: number;
  readonly endpoints: ReadonlySet<string>;
  /** How many items it holds. */
  readonly items: number;
}

/** Asks over a connection of its own, which carries nothing else. Rejects with LegacyUnreachable. */
export async function look(server: Server, deadline: number): Promise<Look> {
  const socket = await openSocket(server, deadline);
  const parser = new ReplyParser();
  const replies: Reply[] = [];
  const whole = new Promise<void>((resolve, reject) => {
    let ends = 0;
    socket.on("data", (chunk: Buffer) => {
      try {
        for (const reply of parser.push(chunk)) {
          if (replies.push(reply) > MOST_LINES) throw new Error("it does not come to an end");
          if (reply.code === "END" && ++ends === 2) resolve();
        }
      } catch (error) {
        reject(error);
      }
    });
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("closed")));
  });
  for (const piece of encode([stats(), stats("conns")])) socket.write(piece);
  try {
    if ((await within(whole, deadline)) === LATE) throw new Error("no answer in time");
  } catch (error) {
    throw new LegacyUnreachable(`memcached at ${server.address} says nothing of itself: ${(error as Error).message}.`);
  } finally {
    socket.destroy();
  }
  const found = statsOf(replies);
  return {
    incarnation: incarnationOf(found),
    time: statistic(found, "time"),
    endpoints: endpointsIn(replies),
    items: statistic(found, "curr_items"),
  };
}

/** One for all connections of a store to one server. */
export class Settler {
  readonly #waiting = new Map<Connection, { promise: Promise<void>; resolve: () => void; since: number }>();
  #running = false;
  /** Since when every look was answered. */
  #answeredSince = Number.POSITIVE_INFINITY;
  readonly #closed = new AbortController();

  constructor(
    private readonly server: Server,
    private readonly patience: number,
    private readonly packetsLive = PACKETS_LIVE,
  ) {}

  /** Resolves when nothing that was sent over this destroyed connection can take effect any more. */
  settled(connection: Connection): Promise<void> {
    const known = this.#waiting.get(connection);
    if (known !== undefined) return known.promise;
    let resolve = () => {};
    const promise = new Promise<void>((done) => {
      resolve = done;
    });
    this.#waiting.set(connection, { promise, resolve, since: performance.now() });
    void this.#run();
    return promise;
  }

  close(): void {
    this.#closed.abort();
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    const { signal } = this.#closed;
    for (
      let pause = FIRST_PAUSE;
      this.#waiting.size > 0 && !signal.aborted;
      pause = Math.min(pause * 2, LONGEST_PAUSE)
    ) {
      const asked = performance.now();
      const seen = await look(this.server, this.patience).catch(() => null);
      this.#answeredSince = seen === null ? Number.POSITIVE_INFINITY : Math.min(this.#answeredSince, asked);
      if (seen !== null) for (const connection of this.#waiting.keys()) this.#judge(connection, seen);
      if (this.#waiting.size > 0) await delay(pause, undefined, { signal }).catch(() => {});
    }
    this.#running = false;
    this.#answeredSince = Number.POSITIVE_INFINITY;
  }

  #judge(connection: Connection, seen: Look): void {
    const waiting = this.#waiting.get(connection)!;
    const anotherProcess = processOf(seen.incarnation) !== processOf(connection.facts.incarnation);
    const unlisted = !isHidden(connection.endpoint) && !seen.endpoints.has(connection.endpoint);
    const answered = performance.now() - Math.max(waiting.since, this.#answeredSince);
    if (!anotherProcess && !unlisted && answered <= this.packetsLive) return;
    this.#waiting.delete(connection);
    waiting.resolve();
  }
}
