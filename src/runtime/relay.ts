import { Standstill } from "../ferry/standstill.js";
import { LegacyUnreachable } from "../ports/legacy-store.js";
import type { Relay, RelayConnection, Relayed } from "../ports/relay.js";
import type { MemcachedLegacyStore } from "../stores/memcached/store.js";
import type { FerryNode } from "./node.js";

/**
 * The way to memcached as it is, for the node that this process is at the moment. Open while the whole position is
 * legacy, nothing is pending, and this has been so for as long as a drain's placeholder lives: then there is nothing to
 * decide about a session. What is sent counts as an operation under the routes of that moment, so the first barrier of
 * the way up waits for it (rule 8).
 *
 * A connection belongs to the node whose fence let it through (rule 11), and ends with it: none is used for the next
 * node, which does not tell the control store of it.
 */
export class LegacyRelay implements Relay {
  #node: FerryNode | null = null;
  #standstill: Standstill;
  readonly #connections = new Set<RelayConnection>();

  constructor(
    private readonly current: () => FerryNode | null,
    private readonly patience?: number,
    /** Of a pool: the number of the server. */
    private readonly server?: number,
  ) {
    this.#standstill = this.#anew();
  }

  get open(): boolean {
    return this.#openNode() !== null;
  }

  begin(): (() => void) | null {
    return this.#openNode()?.ctx.routing.enter() ?? null;
  }

  count(relayed: Relayed): void {
    this.current()?.ctx.observer.event({ type: "relayed", ...relayed });
  }

  async connect(): Promise<RelayConnection> {
    const node = this.#follow();
    const { legacy } = node ?? {};
    const made = legacy?.kind === "memcached" ? (legacy as MemcachedLegacyStore).relay(this.server) : null;
    if (made === null) throw new LegacyUnreachable("There is no way to one memcached as it is.");
    const connection = await made;
    if (this.#follow() !== node) connection.socket.destroy();
    this.#connections.add(connection);
    connection.socket.once("close", () => this.#connections.delete(connection));
    return connection;
  }

  #openNode(): FerryNode | null {
    const node = this.#follow();
    if (node === null || node.refused) return null;
    return this.#standstill.holds(node.ctx.routing.record) ? node : null;
  }

  #anew(): Standstill {
    return new Standstill(["legacy"], () => performance.now(), this.patience);
  }

  #follow(): FerryNode | null {
    const node = this.current();
    if (node !== this.#node) {
      this.#node = node;
      this.#standstill = this.#anew();
      for (const { socket } of this.#connections) socket.destroy();
    }
    return node;
  }
}
