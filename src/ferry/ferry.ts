import type { Placement, Routes } from "../core/phase.js";
import { isLive, type Session, type Sid } from "../core/session.js";
import { isSynthetic } from "../core/synthetic.js";
import { someBucket } from "../core/transition.js";
import { FerryError } from "../errors.js";
import type { Copier, CopyOutcome } from "../ports/copier.js";
import type { Items } from "../ports/items.js";
import type { VerbName } from "../ports/observer.js";
import type { GetOptions, ListOptions, SessionDefaults, Sessions } from "../ports/sessions.js";
import type { FerryContext } from "./context.js";
import { copy } from "./copy.js";
import { Deadlines } from "./deadlines.js";
import { cleanIn, drain } from "./drain.js";
import { asFerryError } from "./failures.js";
import { forgets, giveBackMany, missingInLegacy } from "./give-back.js";
import { FerryItems, type LegacyItems } from "./items.js";
import { read } from "./read.js";
import { touch } from "./touch.js";
import { write } from "./write.js";

/** One node's verbs over both stores: what doors call, and what jobs copy and drain with. */
export class Ferry implements Sessions, Copier {
  #refusal: FerryError | null = null;
  readonly #deadlines: Deadlines;
  /** memcached's verbs over both stores; null where L has none. */
  readonly items: Items | null;

  constructor(
    readonly ctx: FerryContext,
    readonly defaults?: SessionDefaults,
    /** L with memcached's verbs, where doors for its clients are to be opened. */
    legacyItems: LegacyItems | null = null,
  ) {
    this.#deadlines = new Deadlines(ctx.clock, ctx.limits.request);
    this.items =
      legacyItems === null ? null : new FerryItems(ctx, legacyItems, (verb, perform) => this.#request(verb, perform));
  }

  get(sid: Sid, options?: GetOptions): Promise<Session | null> {
    return this.#request("get", () => read(this.ctx, wellFormed(sid), options?.expiry));
  }

  set(sid: Sid, session: Session): Promise<void> {
    // A session that is over already would be a write in one store and a delete in the other.
    const value = isLive(session, this.ctx.clock.now()) ? session : null;
    return this.#request("set", () => write(this.ctx, wellFormed(sid), value));
  }

  touch(sid: Sid, expiresAt: number): Promise<boolean> {
    return this.#request("touch", () => touch(this.ctx, wellFormed(sid), expiresAt));
  }

  destroy(sid: Sid): Promise<void> {
    return this.#request("destroy", () => write(this.ctx, wellFormed(sid), null));
  }

  async *list({ everywhere = false, ...options }: ListOptions): AsyncIterable<Sid[]> {
    const { legacy, records, routing } = this.ctx;
    if (everywhere) {
      const kept = async function* (pages: AsyncIterable<Sid[]>, is: (routes: Routes) => boolean) {
        if (!someBucket(routing.record, routing.phases, is)) return;
        for await (const page of pages) {
          yield page.filter((sid) => is(routing.placement(sid).routes) && !isSynthetic(sid));
        }
      };
      const both = [
        kept(legacy.list(options), ({ write }) => write !== "alone"),
        kept(records.listRecords(options), ({ write }) => write !== "legacy"),
      ];
      // What one of them cannot tell is no reason to keep silent about the other's.
      const failures: unknown[] = [];
      for (const pages of both) {
        try {
          yield* pages;
        } catch (error) {
          failures.push(error);
        }
      }
      if (failures.length > 0) throw failures[0];
      return;
    }
    // Where both are read, each may hold what the other lacks: what a miss would find in L, and what L is still to get.
    const readsLegacy = ({ read }: Routes) => read !== "R";
    const isRedisAhead = ({ write }: Routes) => write === "R" || write === "alone";
    const where = (is: (routes: Routes) => boolean) => (sid: Sid) => is(this.placement(sid).routes);
    if (someBucket(routing.record, routing.phases, readsLegacy)) {
      const inLegacy = where(readsLegacy);
      for await (const page of legacy.list(options)) yield page.filter((sid) => inLegacy(sid) && !isSynthetic(sid));
    }
    const isInRedis = (routes: Routes) => isRedisAhead(routes) || forgets(this.ctx, routes);
    if (!someBucket(routing.record, routing.phases, isInRedis)) return;
    const inRedis = where(isRedisAhead);
    for await (const page of records.listRecords(options)) {
      const real = page.filter((sid) => !isSynthetic(sid));
      // What L alone would be asked for, and has lost, R still answers.
      const lost = await missingInLegacy(
        this.ctx,
        real.filter((sid) => !inRedis(sid)),
      );
      yield [...real.filter(inRedis), ...lost];
    }
  }

  copy(sids: readonly Sid[], options?: { force?: boolean }): Promise<CopyOutcome[]> {
    return copy(this.ctx, sids, options);
  }

  /** An operation, so that no barrier is passed in the midst of it: where L is the authority its value is not R's to give. */
  async push(sids: readonly Sid[]): Promise<Sid[]> {
    const { routing, records, ids } = this.ctx;
    const end = routing.enter();
    try {
      const pushed = sids.filter((sid) => this.placement(sid).routes.write === "R");
      if (pushed.length > 0) await records.push(pushed.map((sid) => ({ sid, dirty: ids.next() })));
      return pushed;
    } finally {
      end();
    }
  }

  async drain(sids: readonly Sid[]): Promise<number> {
    return cleanIn(await drain(this.ctx, sids));
  }

  /** Before L alone is read: brings back what it has forgotten. The sids that must be tried again. */
  giveBack(sids: readonly Sid[]): Promise<Sid[]> {
    return giveBackMany(this.ctx, sids);
  }

  placement(sid: Sid): Placement {
    return this.ctx.routing.placement(sid);
  }

  /** From now on every verb rejects with this error: the node was evicted, or is closing. */
  refuse(reason: FerryError): void {
    this.#refusal = reason;
  }

  /** A request that met closed stores was under way when this node was refused: that is what its caller is told. */
  #refused(error: unknown): unknown {
    return error instanceof FerryError && error.code === "CLOSED" && this.#refusal !== null ? this.#refusal : error;
  }

  #request<T>(verb: VerbName, perform: () => Promise<T>): Promise<T> {
    if (this.#refusal !== null) return Promise.reject(this.#refusal);
    return this.#deadlines.within(
      begun(perform),
      (milliseconds, result) => this.ctx.observer.event({ type: "operation", verb, milliseconds, result }),
      (error) => this.#refused(asFerryError(error)),
    );
  }
}

/** What it throws before there is a promise, as a rejection. */
function begun<T>(perform: () => Promise<T>): Promise<T> {
  try {
    return perform();
  } catch (error) {
    return Promise.reject(error);
  }
}

/**
 * Every store writes half a surrogate pair as U+FFFD: such an id would name the session of another one, in a bucket that
 * is not its own.
 */
function wellFormed(sid: Sid): Sid {
  // Of every Node that we run on; the language's library as TypeScript is told of it is older.
  if ((sid as Sid & { isWellFormed(): boolean }).isWellFormed()) return sid;
  throw new FerryError("GUARD_REFUSED", "A session id holds half a surrogate pair: no store can keep it.", {
    remedy: "Make session ids of letters and digits, as the session libraries do.",
  });
}
