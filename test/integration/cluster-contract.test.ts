import { setTimeout as delay } from "node:timers/promises";
import { located } from "../../src/core/place.js";
import { KeyNames } from "../../src/stores/redis/key-names.js";
import { redisRecordsContract } from "../contract/redis-records.js";
import { openRecords } from "../stores/redis-support.js";
import { RedisCluster } from "../support/redis-cluster.js";

for (const { name, servers } of [
  { name: "a Redis Cluster", servers: 0 },
  { name: "a Redis Cluster, for a pool", servers: 3 },
]) {
  redisRecordsContract(name, async () => {
    const cluster = await RedisCluster.start();
    const plain = cluster.plain();
    const options = servers === 0 ? {} : { items: { flags: 0, servers } };
    const records = await openRecords(cluster.url, options);
    const other = await openRecords(cluster.url, options);
    const names = new KeyNames("sess:", "shop", servers > 0, servers, true);
    const side = (sid: string) => names.sideOf(names.data(sid));
    return {
      records,
      other,
      sid: (sid) => (servers === 0 ? sid : located(1, sid)),
      async expireLease(sid) {
        await plain.pexpire(side(sid), 1);
        await delay(5);
      },
      async loseMark(sid) {
        await plain.del(side(sid));
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
}
