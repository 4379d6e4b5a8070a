import { Redis, type RedisOptions } from "ioredis";
import { guardedOptions, guardRedis } from "../../control/redis-guard.js";
import { FerryError } from "../../errors.js";
import { connectionName, type Fence } from "../../ports/fence.js";
import { RedisUnreachable } from "../../ports/redis-records.js";
import { type Script, type ScriptName, type Scripts, scriptsFor } from "../../scripts/index.js";
import { connectionFailure, isReplyError, ScriptUnknown, translate } from "./failures.js";
import { isAtLeast, parseInfo } from "./info.js";

export interface ConnectionOptions {
  /** Where and as whom: what the URL says. */
  readonly server: RedisOptions;
  /** The server without secrets, for messages. */
  readonly shown: string;
  readonly node: string;
  readonly fence: Fence;
  /** Milliseconds for making the connection, the fence apart. */
  readonly connectTimeout: number;
  /** A connection on which a command waits so long for any answer at all is taken for broken. */
  readonly stallTimeout: number;
  /** Whether the scripts keep flags and tokens. */
  readonly items: boolean;
  /** Servers of a pool; 0 for none. */
  readonly servers: number;
  /** Whether the server has to be a master of a Redis Cluster, or else must not be of one. */
  readonly cluster: boolean;
}

export type Argument = string | Buffer | number;

/** What is said over a connection in the course of one call. */
export interface Conversation {
  /** The server's run id: another one after every restart and on every other server. */
  readonly run: string;
  readonly version: string;
  /** Whether the server tells the time of expiry itself. */
  readonly exactExpiry: boolean;
  /** Sends one command. Texts come back as Buffers. */
  send(command: string, ...args: Argument[]): Promise<unknown>;
  /**
   * Runs a script: one round trip, or two where R has forgotten it.
   *
   * @param check throws where the script must not be sent any more.
   */
  script(name: ScriptName, keys: readonly string[], args: readonly Argument[], check: () => void): Promise<unknown>;
  /** The same for a slot that is on its way to this server: each command says that it knows. */
  asking(): Conversation;
}

/**
 * One connection from its beginning to its end. The driver's own ways of mending a connection (queueing, reconnecting,
 * sending again) are switched off: a write that is sent twice breaks the protocol, and a re-made connection must be
 * fenced before it is used. Whatever goes wrong, this connection ends and the link makes another.
 */
export class Connection implements Conversation {
  /** Resolves when the connection has ended; never rejects. */
  readonly closed: Promise<void>;
  #corked = false;

  private constructor(
    private readonly redis: Redis,
    readonly run: string,
    /** The server's number for this connection; none is given twice in one run. */
    readonly id: string,
    readonly version: string,
    private readonly scripts: Scripts,
  ) {
    this.closed = new Promise((resolve) => {
      if (redis.status === "end") resolve();
      else redis.once("end", () => resolve());
    });
  }

  /**
   * Connects, names the connection so that an eviction can end it, and asks the fence (rule 11); only then is R spoken
   * to. Rejects, with nothing left open, with a `FerryError` where no waiting helps.
   */
  static async open(options: ConnectionOptions): Promise<Connection> {
    const { redis, told } = await connect(options);
    try {
      await options.fence({ store: "redis", endpoint: null });
    } catch (cause) {
      redis.disconnect();
      throw new Error("The fence refused a new connection to Redis.", { cause });
    }
    try {
      return await Connection.#identify(redis, options);
    } catch (error) {
      redis.disconnect();
      throw told(error);
    }
  }

  static async #identify(redis: Redis, { shown, items, servers, cluster }: ConnectionOptions): Promise<Connection> {
    const [told, id] = await Promise.all([redis.info(), redis.client("ID")]);
    const info = parseInfo(String(told));
    const run = info.get("run_id");
    const version = info.get("redis_version");
    if (!run || !version) throw new Error("it does not tell its run id and version (INFO)");
    if (!isAtLeast(version, 6, 2)) {
      throw new FerryError("VERSION_UNSUPPORTED", `Redis at ${shown} is ${version}; 6.2 or later is needed.`);
    }
    if ((info.get("cluster_enabled") === "1") !== cluster) throw otherLayout(shown, cluster);
    if (info.get("loading") === "1") throw new Error("it is still loading its data");
    if (info.get("role") === "slave") throw new Error("it is a replica");
    const scripts = scriptsFor(isAtLeast(version, 7, 0), items, servers, cluster);
    // A server that refuses this still learns each script when it is first called.
    await Promise.allSettled(Object.values(scripts).map(({ text }) => redis.script("LOAD", text)));
    return new Connection(redis, run, String(id), version, scripts);
  }

  get exactExpiry(): boolean {
    return isAtLeast(this.version, 7, 0);
  }

  send(command: string, ...args: Argument[]): Promise<unknown> {
    if (this.redis.status !== "ready") {
      return Promise.reject(new RedisUnreachable("The connection to Redis is broken.", false));
    }
    this.#gather();
    return this.redis.callBuffer(command, ...args).catch((error) => {
      throw translate(error, args);
    });
  }

  script(name: ScriptName, keys: readonly string[], args: readonly Argument[], check: () => void): Promise<unknown> {
    return runScript(this, this.scripts[name], keys, args, check);
  }

  asking(): Conversation {
    const { run, version, exactExpiry, scripts } = this;
    const asking: Conversation = {
      run,
      version,
      exactExpiry,
      send: (command, ...args) => {
        this.send("ASKING").catch(() => {});
        return this.send(command, ...args);
      },
      script: (name, keys, args, check) => runScript(asking, scripts[name], keys, args, check),
      asking: () => asking,
    };
    return asking;
  }

  close(): void {
    this.redis.disconnect();
  }

  /**
   * Ends, at the server, connections that are over for us. It may not know that yet, and what they sent may still be on
   * its way: an open that arrives after its node has withdrawn it would leave an intent that nobody closes (rule 6).
   */
  async outlive(predecessors: readonly Connection[]): Promise<void> {
    const there = predecessors.filter(({ run }) => run === this.run);
    await Promise.all(
      there.map(({ id }) =>
        this.send("CLIENT", "KILL", "ID", id).catch((error) => {
          // It has ended by itself, or our user may not do that (the doctor asks for the right).
          if (error instanceof RedisUnreachable) throw error;
        }),
      ),
    );
  }

  /**
   * Everything that is sent in one turn of the event loop leaves in one piece: a system call for each command is what
   * costs most, on both sides.
   */
  #gather(): void {
    if (this.#corked) return;
    const { stream } = this.redis;
    this.#corked = true;
    stream.cork();
    process.nextTick(() => {
      this.#corked = false;
      stream.uncork();
    });
  }
}

async function runScript(
  conversation: Conversation,
  { sha, text }: Script,
  keys: readonly string[],
  args: readonly Argument[],
  check: () => void,
): Promise<unknown> {
  try {
    return await conversation.send("EVALSHA", sha, keys.length, ...keys, ...args);
  } catch (error) {
    if (!(error instanceof ScriptUnknown)) throw error;
    check();
    return conversation.send("EVAL", text, keys.length, ...keys, ...args);
  }
}

type Address = Omit<ConnectionOptions, "fence" | "items" | "servers" | "cluster">;

/** A connection that has its name, so that an eviction can end it, and on which nothing else was said yet. */
async function connect(options: Address): Promise<{ redis: Redis; told: (error: unknown) => Error }> {
  const settings: RedisOptions = {
    ...options.server,
    protocol: 2,
    lazyConnect: true,
    enableReadyCheck: false,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    sentinelRetryStrategy: () => null,
    connectTimeout: options.connectTimeout,
    socketTimeout: options.stallTimeout,
    // A server that hangs does not close its side: do not wait for it.
    disconnectTimeout: 100,
    disableClientInfo: true,
  };
  const redis = new Redis(guardedOptions(settings));
  guardRedis(redis);
  let failure: unknown;
  redis.on("error", (error) => {
    failure ??= error;
  });
  // What the driver tells of the connection says more than what it tells of a command.
  const told = (error: unknown) => connectionFailure(failure ?? error, options.shown);
  try {
    await redis.connect();
    // The driver goes on after a SELECT that failed: it must not work on another database.
    if (failure !== undefined) throw failure;
    await redis.client("SETNAME", connectionName(options.node));
    return { redis, told };
  } catch (error) {
    redis.disconnect();
    throw told(error);
  }
}

/** Asks a server of a Redis Cluster, replicas too, for its view of it. That is no word of the protocol: no fence is asked. */
export async function askForNodes(options: Address): Promise<string> {
  const { redis, told } = await connect(options);
  try {
    return String(await redis.call("CLUSTER", "NODES"));
  } catch (error) {
    if (isReplyError(error) && error.message.includes("cluster support disabled"))
      throw otherLayout(options.shown, true);
    throw told(error);
  } finally {
    redis.disconnect();
  }
}

function otherLayout(shown: string, cluster: boolean): FerryError {
  return cluster
    ? new FerryError("CONFIG_INVALID", `Redis at ${shown} is no part of a Redis Cluster.`, {
        remedy: "Name it with redis:// in `redis.url`, or a Sentinel group with redis-sentinel://.",
      })
    : new FerryError("CONFIG_INVALID", `Redis at ${shown} is part of a Redis Cluster.`, {
        remedy: "Name the Cluster with redis-cluster://host:port,host:port in `redis.url`.",
      });
}
