import type { Config } from "../core/config.js";
import type { Session, Sid } from "../core/session.js";
import { FerryError } from "../errors.js";
import type { Ferry } from "../ferry/ferry.js";
import { Metrics } from "../observe/index.js";
import type { Observer } from "../ports/observer.js";
import type { GetOptions, SessionDefaults, Sessions } from "../ports/sessions.js";
import { openAlone } from "./alone.js";
import { systemClock } from "./clock.js";
import { FerryNode, type NodeOptions } from "./node.js";
import { sessionDefaults } from "./session-defaults.js";

/** Milliseconds between attempts of an evicted process to join again. */
const REJOIN = 500;

/** These say that there is nobody to steer; after `complete` that is how it should be. */
const STEERLESS = new Set(["CONTROL_UNREACHABLE", "NOT_SET_UP", "AUTHENTICATION_FAILED"]);

/**
 * What an application holds: sessions over the fleet's stores. When this process was taken for dead (frozen, say, for
 * minutes) its node is gone for good, so it joins again as a new one by itself; until then its requests fail.
 */
export class LiveFerry implements Sessions {
  readonly defaults: SessionDefaults;
  #current: { ferry: Ferry; close(): Promise<void> };
  #closed = false;

  private constructor(
    readonly config: Config,
    readonly observer: Observer,
    private readonly counted: Metrics,
    current: { ferry: Ferry; close(): Promise<void> },
  ) {
    this.#current = current;
    this.defaults = sessionDefaults(config);
  }

  static async open(config: Config, observer: Observer): Promise<LiveFerry> {
    let live: LiveFerry | null = null;
    const metrics = new Metrics();
    const current = await openCurrent(config, { observer, metrics, onEvicted: () => void live?.rejoin() });
    live = new LiveFerry(config, observer, metrics, current);
    return live;
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
  list(options: { pageSize: number; signal?: AbortSignal }): AsyncIterable<Sid[]> {
    return this.#current.ferry.list(options);
  }

  /** What this process has counted, as Prometheus text (`text/plain; version=0.0.4`). */
  metrics(): string {
    return this.counted.render();
  }

  /** Finishes what is in flight, leaves the fleet, and closes every connection. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#current.close();
  }

  private async rejoin(): Promise<void> {
    const old = this.#current;
    old.ferry.refuse(new FerryError("NODE_EVICTED", "This process was taken for dead and fenced off."));
    const notBelow = old instanceof FerryNode ? old.ctx.routing.record.revision : 0;
    if (old instanceof FerryNode) void old.abandon();
    while (!this.#closed) {
      try {
        const { observer, counted: metrics } = this;
        const onEvicted = () => void this.rejoin();
        this.#current = await openCurrent(this.config, { observer, metrics, notBelow, onEvicted });
        return;
      } catch (error) {
        this.observer.event({ type: "background-error", task: "rejoin", error });
        await systemClock.sleep(REJOIN);
      }
    }
  }
}

async function openCurrent(
  config: Config,
  options: Omit<NodeOptions, "role">,
): Promise<{ ferry: Ferry; close(): Promise<void> }> {
  try {
    return await FerryNode.open(config, { ...options, role: "app" });
  } catch (error) {
    const steerless = error instanceof FerryError && STEERLESS.has(error.code);
    const alone = steerless ? await openAlone(config, options.observer).catch(() => null) : null;
    if (alone === null) throw error;
    return alone;
  }
}
