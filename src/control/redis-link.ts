import { createHash } from "node:crypto";
import { Redis, type RedisOptions } from "ioredis";
import { FerryError } from "../errors.js";
import { ControlUnreachable, NotSetUp } from "../ports/control-store.js";
import { type ControlOptions, connectionNameOf, DEFAULT_DEADLINE } from "./options.js";
import { unreadable } from "./record.js";
import { cleanCause, secretsOf, shownUrl } from "./redact.js";
import { guardedOptions, guardRedis } from "./redis-guard.js";
import { redisOptionsOf } from "./redis-url.js";

export class Script {
  readonly sha: string;
  constructor(readonly lua: string) {
    this.sha = createHash("sha1").update(lua).digest("hex");
  }
}

/**
 * The one connection of a process to a control store in Redis. It is opened by the call that needs it and never reused
 * once anything went wrong on it; nothing is queued while Redis is away, and nothing is ever sent twice, since a join
 * or a compare-and-set that is carried out again gives another answer.
 */
export class RedisLink {
  readonly #options: RedisOptions;
  readonly #deadline: number;
  readonly #shown: string;
  readonly #secrets: readonly string[];
  readonly #user: string;
  #redis: Redis | null = null;
  #opening: Promise<Redis> | null = null;
  #closed = false;

  constructor(url: string, options: ControlOptions) {
    this.#deadline = options.deadline ?? DEFAULT_DEADLINE;
    this.#shown = shownUrl(url);
    this.#secrets = secretsOf(url);
    const server = redisOptionsOf(url, options.tls);
    this.#user = server.username ?? "default";
    this.#options = {
      ...server,
      // What the guard knows; nothing here needs the newer one.
      protocol: 2,
      connectionName: connectionNameOf(options.node),
      connectTimeout: this.#deadline,
      lazyConnect: true,
      // A server that is loading says so by itself. Only Sentinel may name one that has become a replica meanwhile.
      enableReadyCheck: server.sentinels !== undefined,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: () => null,
      sentinelRetryStrategy: () => null,
    };
  }

  /** Runs one script: one round trip, but for the first time that a server sees it. */
  run(script: Script, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    return this.#call(async (redis) => {
      try {
        return await redis.evalsha(script.sha, keys.length, ...keys, ...args);
      } catch (error) {
        if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw error;
        return await redis.eval(script.lua, keys.length, ...keys, ...args);
      }
    });
  }

  now(): Promise<number> {
    return this.#call(async (redis) => {
      const [seconds, micros] = [await redis.time()].flat().map(Number);
      const now = (seconds ?? Number.NaN) * 1000 + Math.floor((micros ?? Number.NaN) / 1000);
      if (!Number.isFinite(now)) throw unreadable("reply");
      return now;
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#drop(this.#redis);
  }

  /** One deadline stands over connecting and asking. */
  async #call<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    if (this.#closed) throw new FerryError("CLOSED", "the control store was closed");
    let redis: Redis | null = null;
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${this.#deadline} ms`)), this.#deadline);
    });
    const answer = this.#open().then((opened) => {
      redis = opened;
      return work(opened);
    });
    try {
      return await Promise.race([answer, timeout]);
    } catch (error) {
      answer.catch(() => {});
      throw this.#translate(error, redis);
    } finally {
      clearTimeout(timer);
    }
  }

  #open(): Promise<Redis> {
    if (this.#redis?.status === "ready") return Promise.resolve(this.#redis);
    this.#opening ??= this.#connect().finally(() => {
      this.#opening = null;
    });
    return this.#opening;
  }

  async #connect(): Promise<Redis> {
    const redis = new Redis(guardedOptions(this.#options));
    this.#redis = redis;
    guardRedis(redis);
    let failure: Error | undefined;
    redis.on("error", (error: Error) => {
      failure ??= error;
    });
    redis.on("end", () => this.#drop(redis));
    const timer = setTimeout(() => this.#drop(redis), this.#deadline);
    try {
      await redis.connect();
      if (this.#closed) throw new Error("the control store was closed meanwhile");
      return redis;
    } catch (error) {
      this.#drop(redis);
      throw failure ?? error;
    } finally {
      clearTimeout(timer);
    }
  }

  #drop(redis: Redis | null): void {
    if (redis === null) return;
    if (this.#redis === redis) this.#redis = null;
    if (redis.status !== "end") redis.disconnect();
  }

  #translate(error: unknown, redis: Redis | null): Error {
    if (error instanceof FerryError || error instanceof NotSetUp) return error;
    const cause = cleanCause(error, this.#secrets);
    const text = cause.message;
    const at = `the control store ${this.#shown}`;
    if (cause.name !== "ReplyError") {
      this.#drop(redis);
      return new ControlUnreachable(`${at} cannot be reached: ${text}`, { sent: redis !== null, cause });
    }
    if (/\b(WRONGPASS|NOAUTH|invalid password|invalid username-password)\b/.test(text)) {
      return new FerryError("AUTHENTICATION_FAILED", `${at} refused the login: ${text}`, { cause });
    }
    if (/\bWRONGTYPE\b|is not an integer|attempt to (compare|perform|index|concatenate)/.test(text)) {
      return unreadable("key");
    }
    if (/\bNOPERM\b/.test(text)) return this.#forbidden(at, cause);
    if (/\b(MOVED|CROSSSLOT)\b/.test(text)) {
      return new FerryError("CONFIG_INVALID", `${at} is a Redis Cluster: ${text}`, {
        cause,
        remedy:
          "Name a standalone Redis or a Sentinel group in `control.url`, or keep the control store in PostgreSQL.",
      });
    }
    if (
      /\b(READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|OOM|MISCONF|NOREPLICAS|BUSY|max number of clients)\b/.test(
        text,
      )
    ) {
      // After a failover the same address may be a replica for good: the next call asks anew who is the master.
      this.#drop(redis);
      return new ControlUnreachable(`${at} takes no changes: ${text}`, { cause });
    }
    // No error that our scripts provoke: another server's, or a broken one.
    this.#drop(redis);
    return new ControlUnreachable(`${at} refused a command: ${text}`, { sent: true, cause });
  }

  #forbidden(at: string, cause: Error): FerryError {
    return new FerryError("GUARD_REFUSED", `${at} lacks rights: ${cause.message}`, {
      cause,
      remedy: `Allow it, then repeat the command: ACL SETUSER ${this.#user} ~{sf:*}:control:* +@read +@write +@scripting +@connection +time`,
    });
  }
}
