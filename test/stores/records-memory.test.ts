import type { Clock } from "../../src/ports/clock.js";
import { LEASE_LIFETIME } from "../../src/stores/memory-redis.js";
import { MemoryRedisRecords } from "../../src/stores/records-memory.js";
import { redisRecordsContract } from "../contract/redis-records.js";

/** The real time, and as much more as a test wants. */
class ShiftedClock implements Clock {
  shift = 0;
  now(): number {
    return Date.now() + this.shift;
  }
  elapsed(): number {
    return performance.now();
  }
  async sleep(): Promise<void> {}
}

redisRecordsContract("memory", async () => {
  const clock = new ShiftedClock();
  const records = new MemoryRedisRecords({ clock, migration: "shop" });
  return {
    records,
    other: records.another(),
    async expireLease() {
      clock.shift += LEASE_LIFETIME + 1;
    },
    async leaseLifetime(sid) {
      const before = clock.shift;
      const { lease } = records.snapshot(sid);
      for (let life = 0; ; life += 500) {
        clock.shift = before + life;
        if (records.snapshot(sid).lease === lease) continue;
        clock.shift = before;
        return life;
      }
    },
    async loseMark(sid) {
      records.loseMark(sid);
    },
    async restart() {
      records.restart();
    },
    async emptyOut() {
      records.emptyOut();
    },
    async close() {},
  };
});
