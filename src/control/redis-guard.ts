import type { Socket } from "node:net";
import { type Redis, type RedisOptions, SentinelConnector } from "ioredis";
import { guard } from "./guard.js";
import { Replies } from "./redis-replies.js";

/** Lets the driver read nothing but replies to what it has asked. To be called before it connects. */
export function guardRedis(redis: Redis): void {
  redis.on("connect", () => {
    const { commandQueue } = redis as unknown as { readonly commandQueue: { readonly length: number } };
    const replies = new Replies();
    guard(redis.stream as Socket, "Redis", (chunk) => replies.push(chunk, commandQueue.length));
  });
}

/** The driver's own connections to sentinels, which nobody else gets to see. */
type Connecting = (...where: unknown[]) => Redis;

/** Asks a Sentinel group for its master as the driver does, over connections that are guarded, too. */
class GuardedSentinels extends SentinelConnector {
  constructor(options: ConstructorParameters<typeof SentinelConnector>[0]) {
    super(options);
    const own = this as unknown as { connectToSentinel: Connecting };
    const connect = own.connectToSentinel.bind(this);
    own.connectToSentinel = (...where) => {
      const redis = connect(...where);
      guardRedis(redis);
      return redis;
    };
  }
}

/** The options of a driver that is to be guarded: with sentinels, these are as little trusted as the server. */
export function guardedOptions(options: RedisOptions): RedisOptions {
  if (options.sentinels === undefined) return options;
  const Connector = GuardedSentinels as unknown as NonNullable<RedisOptions["Connector"]>;
  // A sentinel that takes the question and is silent is as good as none.
  return { ...options, Connector, sentinelCommandTimeout: options.connectTimeout };
}
