import { MAX_AGE } from "./app.js";
import type { Latency } from "./latency.js";
import { CutOff, type HttpAnswer, type HttpRequest, type Target } from "./target.js";
import { Account, type CartAnswer, type Truth } from "./truth.js";

export interface TrafficOptions {
  /** Requests a second in all, at most. */
  readonly rate: number;
  /** People who use the site at the same time. */
  readonly users: number;
}

/** The traffic ends, and no process is left to send to. */
class NobodyThere extends Error {}

/** After a request was cut off its user waits this long: what the dead process had sent may still be carried out. */
const SETTLE = 2_000;
/** Items in a cart before its user goes away. */
const FULL_CART = 30;

/** Users of the shop who log in, fill carts, look at pages, log out, and remember everything. */
export class Traffic {
  #running = true;
  #nextSlot = 0;
  #count = 0;
  /** Whether several requests of one session may be under way at once. */
  parallel = true;
  /** Whether users log out at all. */
  logouts = true;
  readonly #users: Promise<void>[] = [];

  /** @param targets those of the application processes that take requests now */
  constructor(
    readonly truth: Truth,
    readonly latency: Latency,
    readonly targets: () => readonly Target[],
    readonly options: TrafficOptions,
  ) {}

  start(): void {
    for (let i = 0; i < this.options.users; i++) {
      const user = this.#live(`user-${i}`).catch((error: unknown) => {
        this.truth.fault("failed", `the traffic itself broke: ${(error as Error).message}`);
      });
      this.#users.push(user);
    }
  }

  /** Ends when every request under way has ended. */
  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#users);
  }

  get requests(): number {
    return this.#count;
  }

  async #live(user: string): Promise<void> {
    let account: Account | null = null;
    const left: Account[] = [];
    let items = 0;
    while (this.#running) {
      try {
        if (account !== null && this.#putAway(account)) {
          // Away without a logout, or logged out: the old cookie stays in the drawer and is tried now and then.
          left.push(account);
          if (left.length > 12) left.shift();
          account = null;
        }
        if (account === null) {
          account = await this.#login(user, null);
          continue;
        }
        if (account.state === "ending") {
          await this.#logout(account);
          continue;
        }
        const dice = Math.random();
        if (dice < 0.34) await this.#changeCart(account, `${user}/${items++}`);
        else if (dice < 0.56) await this.#look(account, "/page");
        else if (dice < 0.76) await this.#look(account, "/cart");
        else if (dice < 0.9) await this.#burst(account, `${user}/${items++}`);
        else if (dice < 0.93 && left.length > 0) await this.#look(oneOf(left), "/cart");
        else if (this.logouts && dice < 0.97) await this.#leave(account);
        else if (this.logouts && dice < 0.98) {
          const next: Account | null = await this.#login(user, account);
          if (next !== account) left.push(account);
          account = next;
        }
      } catch (error) {
        if (error instanceof NobodyThere) return;
        if (!(error instanceof CutOff)) throw error;
        await pause(SETTLE);
      }
    }
  }

  #putAway(account: Account): boolean {
    if (account.state === "ending") return false;
    return account.state === "ended" || account.acknowledged.length >= FULL_CART || Math.random() < 0.01;
  }

  async #login(user: string, old: Account | null): Promise<Account | null> {
    const request: HttpRequest = { method: "POST", path: "/login", body: { user } };
    const target = await this.#turn();
    if (old !== null) old.state = "ending";
    const began = Date.now();
    const answer = await this.#send(target, old === null ? request : { ...request, cookie: old.cookie });
    if (answer === null) return old;
    if (answer.status !== 200 || answer.cookie === null || answer.expiresAt === null) {
      this.truth.fault("failed", `POST /login: status ${answer.status}${answer.cookie === null ? ", no cookie" : ""}`);
      return old;
    }
    if (old !== null) {
      old.state = "ended";
      old.endedAt = Date.now();
    }
    const account = new Account(user, answer.cookie);
    account.renewed(began, Date.now(), answer.expiresAt);
    this.truth.accounts.push(account);
    return account;
  }

  async #changeCart(account: Account, item: string): Promise<void> {
    const target = await this.#turn();
    account.adding(item);
    const request: HttpRequest = { method: "POST", path: "/cart", cookie: account.cookie, body: { item } };
    const answer = await this.#sendFor(target, account, request);
    if (answer === null) return;
    if (answer.status === 200) this.#object("stale", request, account.added(item, answer.body as CartAnswer));
    else if (answer.status === 401) this.#object("lost", request, "a session that should live is gone");
    else this.truth.fault("failed", `POST /cart: status ${answer.status}`);
  }

  /** A page view or a look into the cart; also with cookies of sessions that were logged out. */
  async #look(account: Account, path: "/page" | "/cart"): Promise<void> {
    const target = await this.#turn();
    const before = account.reading();
    const request: HttpRequest = { method: "GET", path, cookie: account.cookie };
    const answer = await this.#sendFor(target, account, request);
    if (answer === null) return;
    this.truth.judged++;
    if (answer.status === 401) {
      if (account.state === "alive") this.#object("lost", request, "a session that should live is gone");
    } else if (answer.status !== 200) {
      this.truth.fault("failed", `GET ${path}: status ${answer.status}`);
    } else if (before.state === "ended") {
      this.#object("resurrected", request, "a session that was logged out answers again");
    } else {
      this.#object("stale", request, account.read(before, answer.body as CartAnswer));
    }
  }

  /** A page with several parts: one session, many requests at once, a cart change among them. */
  async #burst(account: Account, item: string): Promise<void> {
    if (!this.parallel) return await this.#changeCart(account, item);
    await allOf([
      this.#look(account, "/page"),
      this.#changeCart(account, item),
      this.#look(account, "/cart"),
      this.#look(account, "/page"),
    ]);
  }

  /** A logout, with page views of the same session still under way: none of them may bring it back. */
  async #leave(account: Account): Promise<void> {
    if (!this.parallel) return await this.#logout(account);
    await allOf([this.#look(account, "/page"), this.#logout(account), this.#look(account, "/cart")]);
    await this.#look(account, "/cart");
  }

  async #logout(account: Account): Promise<void> {
    const target = await this.#turn();
    account.state = "ending";
    const answer = await this.#send(target, { method: "POST", path: "/logout", cookie: account.cookie });
    if (answer === null) return;
    if (answer.status !== 200) return this.truth.fault("failed", `POST /logout: status ${answer.status}`);
    account.state = "ended";
    account.endedAt = Date.now();
  }

  #object(kind: "stale" | "lost" | "resurrected", request: HttpRequest, detail: string | null): void {
    if (detail !== null) this.truth.fault(kind, `${request.method} ${request.path}: ${detail}`);
  }

  /** Sends a request that renews its session, and notes the new expiry. */
  async #sendFor(target: Target, account: Account, request: HttpRequest): Promise<HttpAnswer | null> {
    const began = Date.now();
    try {
      const answer = await this.#send(target, request);
      if (answer?.status === 200 && answer.expiresAt !== null) {
        account.renewed(began, Date.now(), answer.expiresAt);
      }
      return answer;
    } catch (error) {
      // Renewed or not: then the expiry lies between the last known one and the last that this request can have set.
      if (error instanceof CutOff) {
        const known = account.expiry();
        const ended = Date.now();
        account.renewed(began, ended, Math.min(known.earliest, began + MAX_AGE), ended + MAX_AGE);
      }
      throw error;
    }
  }

  /**
   * Null when the request failed, which is noted as a fault; rejects with `CutOff` when its process was killed.
   */
  async #send(target: Target, request: HttpRequest): Promise<HttpAnswer | null> {
    const route = `${request.method} ${request.path}`;
    const began = Date.now();
    try {
      const answer = await target.send(request);
      this.#count++;
      this.latency.add(route, began, Date.now());
      return answer;
    } catch (error) {
      if (error instanceof CutOff) {
        this.truth.cutOff++;
        if (request.path === "/login") this.truth.cutOffLogins++;
        throw error;
      }
      this.truth.fault("failed", `${route} to ${target.name}: ${(error as Error).message}`);
      return null;
    }
  }

  /**
   * Waits for the turn of the next request, and gives one of the open processes at random. What the request is judged
   * by must be noted after this wait, at the very moment it is sent. No backlog builds up while the site is slow.
   */
  async #turn(): Promise<Target> {
    const gap = 1000 / this.options.rate;
    const now = performance.now();
    this.#nextSlot = Math.max(now, this.#nextSlot + gap);
    // Some jitter, or all users would march in step.
    await pause(this.#nextSlot - now + Math.random() * gap);
    for (;;) {
      const open = this.targets().filter((target) => target.open);
      if (open.length > 0) return oneOf(open);
      if (!this.#running) throw new NobodyThere();
      await pause(20);
    }
  }
}

/** Waits for all of them, then rejects with the first rejection. */
async function allOf(works: Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(works);
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

function oneOf<T>(all: readonly T[]): T {
  return all[Math.floor(Math.random() * all.length)]!;
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
