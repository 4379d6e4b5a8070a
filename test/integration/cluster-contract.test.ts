import { setTimeout as delay } from "node:timers/promises";
import { KeyNames } from "../../src/stores/redis/key-names.js";
import { redisRecordsContract } from "../contract/redis-records.js";
import { openRecords } from "../stores/redis-support.js";
import { RedisCluster } from "../support/redis-cluster.js";

redisRecordsContract("a Redis Cluster", async () => {
  const cluster = await RedisCluster.start();
  const plain = cluster.plain();
  const records = await openRecords(cluster.url);
  const other = await openRecords(cluster.url);
  const names = new KeyNames("sess:", "shop", false, 0, true);
  const side = (sid: string) => names.sideOf(names.data(sid));
  return {
    records,
    other,
    async expireLease(sid) {
      await plain.pexpire(side(sid), 1);
      await delay(5);
    },
    leaseLifetime: (sid) => plain.pttl(side(sid)),
    async restart() {
      for (const { client, server } of cluster.masters) {
        await client.save();
        await server.restart();
      }
      await cluster.settled();
      for (const each of [records, other]) await each.facts();
    },
    emptyOut: () => cluster.flush(),
    async renew(generation) {
      await cluster.flush();
      await records.arm(generation, "active");
    },
    async close() {
      await Promise.all([records.end(), other.end()]);
      plain.disconnect();
      await cluster.stop();
    },
  };
});
