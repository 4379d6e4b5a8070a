import { setTimeout as delay } from "node:timers/promises";
import { located, restOf } from "../../src/core/place.js";
import { startRedis } from "../../src/servers/index.js";
import { redisRecordsContract } from "../contract/redis-records.js";
import { openRecords, plainClient } from "./redis-support.js";

for (const { name, servers } of [
  { name: "Redis", servers: 0 },
  { name: "Redis, for a pool", servers: 3 },
]) {
  redisRecordsContract(name, async () => {
    const server = await startRedis();
    const plain = plainClient(server.url);
    const options = servers === 0 ? {} : { items: { flags: 0, servers } };
    const records = await openRecords(server.url, options);
    const other = await openRecords(server.url, options);
    const side = (sid: string) => `sf:shop:s:sess:${restOf(sid)}`;
    const connected = async () => {
      await plain.ping();
      for (const each of [records, other]) await each.facts();
    };
    return {
      records,
      other,
      sid: (sid) => (servers === 0 ? sid : located(1, sid)),
      async expireLease(sid) {
        await plain.pexpire(side(sid), 1);
        await delay(5);
      },
      leaseLifetime: (sid) => plain.pttl(side(sid)),
      async loseMark(sid) {
        await plain.del(side(sid));
      },
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
}
