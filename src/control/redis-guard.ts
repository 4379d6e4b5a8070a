import type { Socket } from "node:net";
import type { Redis } from "ioredis";
import { guard } from "./guard.js";
import { Replies } from "./redis-replies.js";

/** Lets the driver read nothing but replies to what it has asked. To be called before it connects. */
export function guardRedis(redis: Redis): void {
  redis.on("connect", () => {
    const { commandQueue } = redis as unknown as { readonly commandQueue: { readonly length: number } };
    const replies = new Replies();
    guard(redis.stream as Socket, "Redis", (chunk) => {
      replies.push(chunk, commandQueue.length);
      return chunk;
    });
  });
}
