/** What the driver is given of Redis' replies: all of them, however they were cut on their way, and no other. */
import { once } from "node:events";
import { createServer } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { guardedOptions, guardRedis } from "../../src/control/redis-guard.js";
import { Replies } from "../../src/control/redis-replies.js";

/** Every kind, and the shortest of each. */
const REPLIES = [
  "+OK\r\n",
  ":5\r\n",
  "$0\r\n\r\n",
  "$-1\r\n",
  "*0\r\n",
  "*2\r\n:1\r\n$1\r\nx\r\n",
  "$3\r\nabc\r\n",
  "-ERR no\r\n",
];

describe("replies in pieces", () => {
  /** Nothing comes from here: the replies are put into the stream, cut where a test wants them cut. */
  const server = createServer((socket) => socket.on("error", () => {}).resume());
  const drivers: Redis[] = [];

  const connected = async () => {
    const { port } = server.address() as { port: number };
    const options = { port, host: "127.0.0.1", lazyConnect: true, enableReadyCheck: false, disableClientInfo: true };
    const redis = new Redis(guardedOptions({ ...options, protocol: 2, retryStrategy: () => null }));
    drivers.push(redis);
    guardRedis(redis);
    redis.on("error", () => {});
    await redis.connect();
    return redis;
  };
  const give = async ({ stream }: Redis, whole: Buffer, cut: number) => {
    for (const piece of [whole.subarray(0, cut), whole.subarray(cut)]) {
      stream.emit("data", piece);
      await turn();
    }
  };

  beforeAll(async () => {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  });
  afterAll(() => {
    for (const redis of drivers) redis.disconnect();
    server.close();
  });

  // A reply that came in two pieces, of which the first ended between CR and LF, was taken for one too many.
  test.each(REPLIES.flatMap((one) => REPLIES.map((other) => [one, other] as const)))(
    "%j and %j",
    async (one, other) => {
      const redis = await connected();
      const whole = Buffer.from(one + other);
      for (let cut = 1; cut < whole.length; cut++) {
        const answers = Promise.allSettled([redis.call("GET", "a"), redis.call("GET", "b")]);
        await give(redis, whole, cut);
        const [first, second] = await answers;
        expect(first.status).toBe(one.startsWith("-") ? "rejected" : "fulfilled");
        expect(second.status).toBe(other.startsWith("-") ? "rejected" : "fulfilled");
        expect(redis.status).toBe("ready");
      }
    },
  );

  test("a reply that nobody asked for ends the connection, wherever it is cut", async () => {
    for (const unasked of REPLIES) {
      const whole = Buffer.from(`$3\r\nabc\r\n${unasked}`);
      for (let cut = 1; cut <= whole.length; cut++) {
        const redis = await connected();
        const answer = redis.call("GET", "a").catch(() => {});
        await give(redis, whole, cut);
        await answer;
        await expect.poll(() => redis.status, { message: `${unasked.trim()} cut at ${cut}` }).toBe("end");
      }
    }
  });

  test("every byte is given on once, in order, and a whole reply at once", () => {
    const reply = fc.constantFrom(...REPLIES);
    const streams = fc.tuple(
      fc.array(reply, { minLength: 1, maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }),
    );
    fc.assert(
      fc.property(streams, ([given, lengths]) => {
        const whole = Buffer.from(given.join(""));
        const replies = new Replies();
        const read: Buffer[] = [];
        for (let at = 0, i = 0; at < whole.length; i++) {
          const length = lengths[i % lengths.length]!;
          read.push(replies.push(whole.subarray(at, at + length), given.length));
          at += length;
        }
        expect(Buffer.concat(read)).toEqual(whole);
      }),
    );
  });
});
