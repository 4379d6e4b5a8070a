import { EventEmitter } from "node:events";
import { createRequire } from "node:module";
import type { Session } from "../core/session.js";
import { FerryError } from "../errors.js";
import type { Sessions } from "../ports/sessions.js";

/**
 * The library door: a store for express-session 1.17 and later, and for @fastify/session.
 *
 * express-session asks more of a store than get, set and destroy: `regenerate`, `load` and `createSession` come from
 * its own base class. We do not extend that class, because it would have to be imported when this module loads:
 * applications on @fastify/session have no express-session, and a door must stay light. The first two methods are
 * three lines each. The third must build express-session's own `Session` and `Cookie`, so it borrows the original,
 * which is looked up at its first call: only express-session ever makes that call, and by then it is certainly there.
 *
 * The store never emits "disconnect": express-session then serves requests without any session, which logs people out.
 * An outage reaches the application as the error of the request instead. Mind express-session's `unset: "destroy"`: it
 * takes a session that could not be read for one that was unset, and destroys it while the error page is sent.
 */
export interface ExpressStoreOptions {
  /** Lifetime in seconds of a session whose cookie has no expiry. Default: the preset's, else 86,400 (one day). */
  readonly ttl?: number;
  /**
   * Milliseconds: a touch that would move the expiry later by less than this is skipped. Default: the configuration's
   * `touchEvery`, else 0, which skips none.
   */
  readonly touchEvery?: number;
  /** memcached's flags for what is written. Default: the legacy preset's, else 0. */
  readonly flags?: number;
  /**
   * The express-session module of the application (`import session from "express-session"`), for installations where
   * this package cannot find it: bundles, and monorepos that keep two copies.
   */
  readonly session?: { readonly Store: { readonly prototype: unknown } };
}

type Callback<T = void> = (error: unknown, result?: T) => void;

// The parameters of the public methods are as wide as express-session's own: its types are an optional package, so
// they must not appear in our declarations. `npm run typecheck` proves that the class is a `session.Store`.
// biome-ignore lint/suspicious/noExplicitAny: the application's own session type, unknown here
type AnySession = any;
// biome-ignore lint/suspicious/noExplicitAny: an http.IncomingMessage with the properties of express-session
type AnyRequest = any;
// biome-ignore lint/suspicious/noExplicitAny: applications write `(error: Error) => ...`
type AnyError = any;

const DAY_SECONDS = 86_400;
const WITH_EXPIRY = { expiry: true };
const WITHOUT_EXPIRY = { expiry: false };
const LIST_PAGE = 500;
/** Sessions that `all` and `clear` have under way at once. */
const BULK = 32;

/** A store over this ferry. Several stores may share one ferry. */
export function expressStore(ferry: Sessions, options: ExpressStoreOptions = {}): ExpressStore {
  return new ExpressStore(ferry, options);
}

export class ExpressStore extends EventEmitter {
  readonly #ferry: Sessions;
  readonly #lifetime: number;
  readonly #touchEvery: number;
  readonly #flags: number;
  #module: ExpressStoreOptions["session"];
  /**
   * The expiry that a session had when it was read, for `touchEvery`. Keyed by the object, which lives as long as its
   * request: nothing to bound, no session id kept, and always the stores' present truth, also with many processes.
   */
  readonly #expiries = new WeakMap<object, number>();

  /** Replaced by the middleware that this store is given to. */
  generate: (request: AnyRequest) => void = () => {
    throw new FerryError("USAGE", "the store was not given to express-session", {
      remedy: "Pass it as `store` in the options of express-session.",
    });
  };

  constructor(ferry: Sessions, options: ExpressStoreOptions = {}) {
    super();
    this.#ferry = ferry;
    const ttl = positive("ttl", options.ttl, 1);
    this.#lifetime = ttl === undefined ? (ferry.defaults?.lifetime ?? DAY_SECONDS * 1000) : ttl * 1000;
    this.#touchEvery = positive("touchEvery", options.touchEvery, 0) ?? ferry.defaults?.touchEvery ?? 0;
    this.#flags = positive("flags", options.flags, 0) ?? ferry.defaults?.flags ?? 0;
    this.#module = options.session;
  }

  /** Gives a fresh object, or null; an error with code VALUE_INVALID where the stored bytes are no JSON object. */
  get(sid: string, callback: (error: AnyError, session?: AnySession) => void): void {
    answer(this.#fetch(sid), callback, (stored) => this.#dataOf(stored));
  }

  /** Stores the session as it is at this moment. One whose cookie has expired is destroyed instead. */
  set(sid: string, session: AnySession, callback?: (error?: AnyError) => void): void {
    const expiresAt = this.#expiryOf(session);
    let value: Buffer;
    try {
      // At once, not later: the application may go on changing the object.
      value = Buffer.from(JSON.stringify(session));
    } catch (error) {
      answer(Promise.reject(error), callback);
      return;
    }
    answer(
      expiresAt <= Date.now()
        ? this.#ferry.destroy(sid)
        : this.#ferry.set(sid, { value, flags: this.#flags, expiresAt }),
      callback,
    );
  }

  /**
   * Moves the expiry alone. The `cookie.expires` inside the stored value stays as the last `set` left it, as with
   * connect-pg-simple and connect-redis; express-session reckons it anew from `originalMaxAge` at every request.
   */
  touch(sid: string, session: AnySession, callback?: (error?: AnyError) => void): void {
    const expiresAt = this.#expiryOf(session);
    if (expiresAt <= Date.now()) {
      answer(this.#ferry.destroy(sid), callback);
      return;
    }
    const known = this.#expiries.get(session as object);
    const skip = known !== undefined && expiresAt >= known && expiresAt - known < this.#touchEvery;
    answer<unknown>(
      skip ? Promise.resolve() : this.#ferry.touch(sid, expiresAt),
      callback && ((error) => callback(error)),
    );
  }

  /** Once the callback comes without an error the session is gone from the store that answers. */
  destroy(sid: string, callback?: (error?: AnyError) => void): void {
    answer(this.#ferry.destroy(sid), callback);
  }

  /** Every live session, as an array of objects with their `id`: they are all in memory at once. */
  all(callback: (error: AnyError, sessions?: AnySession) => void): void {
    const collect = async (): Promise<AnySession[]> => {
      const found = new Map<string, AnySession>();
      await this.#forEach(async (sid) => {
        const session = await this.#read(sid);
        if (session !== null) found.set(sid, Object.assign(session, { id: sid }));
      });
      return [...found.values()];
    };
    answer(collect(), callback);
  }

  /** The ids of every live session, each once. */
  ids(callback: (error: AnyError, ids?: string[]) => void): void {
    answer(
      this.#ids().then((ids) => [...ids]),
      callback,
    );
  }

  /** Each counts once, so that all ids are in memory at once. */
  length(callback: (error: AnyError, length?: number) => void): void {
    answer(
      this.#ids().then(({ size }) => size),
      callback,
    );
  }

  /**
   * Destroys every session that is live when the listing reaches it, in either store: everybody is logged out, and nobody
   * comes back by a step.
   */
  clear(callback?: (error?: AnyError) => void): void {
    answer(
      this.#forEach((sid) => this.#ferry.destroy(sid), true),
      callback,
    );
  }

  /** As the base class of express-session has it: destroys the session and gives the request a new one. */
  regenerate(request: AnyRequest, callback: (error?: AnyError) => unknown): void {
    this.destroy(request.sessionID, (error) => {
      this.generate(request);
      callback(error);
    });
  }

  /** As the base class of express-session has it: a `Session` outside of a request, or undefined. */
  load(sid: string, callback: (error: AnyError, session?: AnySession) => unknown): void {
    this.get(sid, (error, data) => {
      if (error) return callback(error);
      if (!data) return callback(undefined);
      let session: AnySession;
      try {
        session = this.createSession({ sessionID: sid, sessionStore: this }, data);
      } catch (failure) {
        return callback(failure);
      }
      callback(undefined, session);
    });
  }

  /** Makes express-session's `Session` of what `get` gave. */
  createSession(request: AnyRequest, data: AnySession): AnySession {
    const known = this.#expiries.get(data as object);
    const original = this.#expressSession().Store.prototype as Pick<ExpressStore, "createSession">;
    const session = original.createSession.call(this, request, data);
    if (known !== undefined) this.#expiries.set(session as object, known);
    return session;
  }

  async #read(sid: string): Promise<AnySession> {
    return this.#dataOf(await this.#fetch(sid));
  }

  #fetch(sid: string): Promise<Session | null> {
    return this.#ferry.get(sid, this.#touchEvery > 0 ? WITH_EXPIRY : WITHOUT_EXPIRY);
  }

  #dataOf(stored: Session | null): AnySession {
    if (stored === null) return null;
    let data: unknown;
    try {
      data = JSON.parse(stored.value.toString("utf8"));
    } catch {
      // The parser's own error quotes the value, so it must not travel on.
    }
    if (typeof data !== "object" || data === null) {
      throw new FerryError(
        "VALUE_INVALID",
        "a stored session is not a JSON object, so this store cannot have written it",
        {
          remedy: "Look for another writer to the store; the session itself was left as it is.",
        },
      );
    }
    if (this.#touchEvery > 0) this.#expiries.set(data, stored.expiresAt);
    return data;
  }

  /**
   * The absolute expiry as connect-pg-simple and connect-redis reckon it: the cookie's, in whole seconds rounded up,
   * else the default lifetime from now.
   */
  #expiryOf(session: AnySession): number {
    const expires = session?.cookie?.expires;
    const at = expires ? new Date(expires).getTime() : Number.NaN;
    return Math.ceil((Number.isNaN(at) ? Date.now() + this.#lifetime : at) / 1000) * 1000;
  }

  async #ids(): Promise<ReadonlySet<string>> {
    const ids = new Set<string>();
    for await (const page of this.#ferry.list({ pageSize: LIST_PAGE })) for (const sid of page) ids.add(sid);
    return ids;
  }

  async #forEach(work: (sid: string) => Promise<unknown>, everywhere = false): Promise<void> {
    for await (const page of this.#ferry.list({ pageSize: LIST_PAGE, everywhere })) {
      for (let at = 0; at < page.length; at += BULK) await Promise.all(page.slice(at, at + BULK).map(work));
    }
  }

  #expressSession(): NonNullable<ExpressStoreOptions["session"]> {
    if (this.#module === undefined) {
      try {
        this.#module = createRequire(import.meta.url)("express-session") as NonNullable<ExpressStoreOptions["session"]>;
      } catch (cause) {
        throw new FerryError("USAGE", "express-session cannot be found from where sessionferry is installed", {
          remedy: 'Pass it: expressStore(ferry, { session }) with session from "express-session".',
          cause,
        });
      }
    }
    return this.#module;
  }
}

/**
 * Calls the callback exactly once, and outside of the promise: if it throws, that is the application's uncaught
 * exception, as with every store, and neither a second call with an error nor an unhandled rejection.
 */
function answer<T, A = T>(
  work: Promise<T>,
  callback: Callback<A> | undefined,
  /** What the caller is given of it; what this throws is the caller's error. */
  shape: (found: T) => A = (found) => found as unknown as A,
): void {
  if (callback === undefined) {
    // Nobody asked for the outcome; express-session's own `save()` without a callback drops it too.
    work.catch(() => {});
    return;
  }
  const fail = (error: unknown) => process.nextTick(callback, error);
  work.then((found) => {
    let result: A;
    try {
      result = shape(found);
    } catch (error) {
      fail(error);
      return;
    }
    process.nextTick(callback, null, result);
  }, fail);
}

function positive(name: string, value: number | undefined, least: number): number | undefined {
  if (value !== undefined && !(Number.isFinite(value) && value >= least)) {
    throw new FerryError("USAGE", `expressStore: ${name} must be a number of at least ${least}`);
  }
  return value;
}
