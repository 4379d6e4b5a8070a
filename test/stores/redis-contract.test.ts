import { setTimeout as delay } from "node:timers/promises";
import { startRedis } from "../../src/servers/index.js";
import { redisRecordsContract } from "../contract/redis-records.js";
import { openRecords, plainClient } from "./redis-support.js";

redisRecordsContract("Redis", async () => {
  const server = await startRedis();
  const plain = plainClient(server.url);
  const records = await openRecords(server.url);
  const other = await openRecords(server.url);
  const side = (sid: string) => `sf:shop:s:sess:${sid}`;
  const connected = async () => {
    await plain.ping();
    for (const each of [records, other]) await each.facts();
  };
  return {
    records,
    other,
    async expireLease(sid) {
      await plain.pexpire(side(sid), 1);
      await delay(5);
    },
    leaseLifetime: (sid) => plain.pttl(side(sid)),
    async restart() {
      await plain.save();
      await server.restart();
      await connected();
    },
    async emptyOut() {
      await plain.flushall();
    },
    async close() {
      await Promise.all([records.end(), other.end()]);
      plain.disconnect();
      await server.stop();
    },
  };
});
