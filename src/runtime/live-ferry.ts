import type { Config } from "../core/config.js";
import type { Session, Sid } from "../core/session.js";
import { FerryError } from "../errors.js";
import type { Ferry } from "../ferry/ferry.js";
import { type FleetFacts, Metrics } from "../observe/index.js";
import type { NodeRole } from "../ports/control-store.js";
import type { Items } from "../ports/items.js";
import type { Observer } from "../ports/observer.js";
import type { GetOptions, ListOptions, SessionDefaults, Sessions } from "../ports/sessions.js";
import { openAlone } from "./alone.js";
import { evicted, FerryNode, type NodeOptions } from "./node.js";
import { rejoin } from "./rejoin.js";
import { sessionDefaults } from "./session-defaults.js";

/** These say that there is nobody to steer; after `complete` that is how it should be. */
const STEERLESS = new Set(["CONTROL_UNREACHABLE", "CONTROL_REFUSED", "NOT_SET_UP", "AUTHENTICATION_FAILED"]);

/**
 * What an application holds: sessions over the fleet's stores. When this process was taken for dead (frozen, say, for
 * minutes) its node is gone for good, so it joins again as a new one by itself; until then its requests fail.
 */
export class LiveFerry implements Sessions {
  readonly defaults: SessionDefaults;
  #current: { ferry: Ferry; close(): Promise<void> };
  readonly #closing = new AbortController();
  #rejoining: Promise<unknown> = Promise.resolve();
  #joined = true;

  private constructor(
    readonly config: Config,
    readonly observer: Observer,
    readonly role: NodeRole,
    private readonly counted: Metrics,
    current: { ferry: Ferry; close(): Promise<void> },
  ) {
    this.#current = current;
    this.defaults = sessionDefaults(config);
  }

  static async open(config: Config, observer: Observer, role: NodeRole = "app"): Promise<LiveFerry> {
    let live: LiveFerry | null = null;
    const metrics = new Metrics();
    const onEvicted = () => {
      if (live !== null) live.#rejoin();
    };
    const current = await openCurrent(config, { role, observer, metrics, onEvicted });
    live = new LiveFerry(config, observer, role, metrics, current);
    return live;
  }

  /** The node that this process is at the moment; null after `complete`, when there is nobody to steer it. */
  get node(): FerryNode | null {
    return this.#current instanceof FerryNode ? this.#current : null;
  }

  /** False between an eviction and the next joining: requests fail then. */
  get joined(): boolean {
    return this.#joined;
  }

  /** memcached's verbs, of whichever node this process is when each is called. */
  readonly items: Items = {
    read: (sids, wishes) => this.#items.read(sids, wishes),
    perform: (sid, verb, wishes) => this.#items.perform(sid, verb, wishes),
    flush: () => this.#items.flush(),
  };

  get #items(): Items {
    const { items } = this.#current.ferry;
    if (items === null) throw new FerryError("USAGE", "The legacy store is no memcached: it has none of its verbs.");
    return items;
  }

  get(sid: Sid, options?: GetOptions): Promise<Session | null> {
    return this.#current.ferry.get(sid, options);
  }
  set(sid: Sid, session: Session): Promise<void> {
    return this.#current.ferry.set(sid, session);
  }
  touch(sid: Sid, expiresAt: number): Promise<boolean> {
    return this.#current.ferry.touch(sid, expiresAt);
  }
  destroy(sid: Sid): Promise<void> {
    return this.#current.ferry.destroy(sid);
  }
  list(options: ListOptions): AsyncIterable<Sid[]> {
    return this.#current.ferry.list(options);
  }

  /** What this process has counted, as Prometheus text (`text/plain; version=0.0.4`), and what it was told besides. */
  metrics(facts: FleetFacts = {}): string {
    return this.counted.render(facts);
  }

  /** Finishes what is in flight, leaves the fleet, and closes every connection. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    await Promise.all([this.#current.close(), this.#rejoining]);
  }

  #rejoin(): void {
    const old = this.#current;
    this.#joined = false;
    old.ferry.refuse(evicted());
    const notBelow = old instanceof FerryNode ? old.ctx.routing.record.revision : 0;
    const abandoned = old instanceof FerryNode ? old.abandon() : null;
    const { observer, role, counted: metrics } = this;
    const onEvicted = () => this.#rejoin();
    const join = async () => {
      this.#current = await openCurrent(this.config, { role, observer, metrics, notBelow, onEvicted });
      this.#joined = true;
      return this.#current;
    };
    this.#rejoining = Promise.all([abandoned, rejoin(join, observer, this.#closing.signal)]);
  }
}

async function openCurrent(config: Config, options: NodeOptions): Promise<{ ferry: Ferry; close(): Promise<void> }> {
  try {
    return await FerryNode.open(config, options);
  } catch (error) {
    if (error instanceof FerryError && error.code === "NODE_EVICTED") return openCurrent(config, options);
    const steerless = error instanceof FerryError && STEERLESS.has(error.code);
    const alone = steerless ? await openAlone(config, options.observer).catch(() => null) : null;
    if (alone === null) throw error;
    return alone;
  }
}
