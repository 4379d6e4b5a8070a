import type { Relay, RelayConnection } from "../../ports/relay.js";

/** Connections that are kept for clients to come. */
const MOST_IDLE = 64;

/** A connection to memcached, with whoever uses it at the moment. */
export interface Upstream {
  readonly connection: RelayConnection;
  user: { data(chunk: Buffer): void; drain(): void; close(): void } | null;
}

/** A door's connections to memcached for its relays: clients come and go faster than a fenced connection is made. */
export class RelayPool {
  readonly #idle: Upstream[] = [];
  readonly #all = new Set<Upstream>();
  #closed = false;

  constructor(readonly relay: Relay) {}

  take(): Upstream | null {
    return this.#idle.pop() ?? null;
  }

  async connect(): Promise<Upstream> {
    const connection = await this.relay.connect();
    const upstream: Upstream = { connection, user: null };
    const { socket } = connection;
    this.#all.add(upstream);
    socket.on("data", (chunk: Buffer) => {
      // Whatever comes unasked is no reply: nothing on this connection can be trusted any more.
      if (upstream.user === null) socket.destroy();
      else upstream.user.data(chunk);
    });
    socket.on("drain", () => upstream.user?.drain());
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#all.delete(upstream);
      const at = this.#idle.indexOf(upstream);
      if (at >= 0) this.#idle.splice(at, 1);
      upstream.user?.close();
    });
    if (this.#closed) socket.destroy();
    return upstream;
  }

  /** All of its commands have been answered. */
  give(upstream: Upstream): void {
    upstream.user = null;
    if (this.#closed || this.#idle.length >= MOST_IDLE) upstream.connection.socket.destroy();
    else if (!upstream.connection.socket.destroyed) this.#idle.push(upstream);
  }

  close(): void {
    this.#closed = true;
    for (const { connection } of this.#all) connection.socket.destroy();
  }
}
