import type { RedisFacts } from "../../ports/redis-records.js";
import type { Connection } from "./connection.js";
import { type Info, numberIn, parseInfo } from "./info.js";
import { millisecondsOf } from "./replies.js";

/** What R tells of itself. Managed services close CONFIG, so INFO is asked wherever it knows. */
export async function factsOf(connection: Connection): Promise<RedisFacts> {
  const [text, time, snapshots] = await Promise.all([
    connection.send("INFO"),
    connection.send("TIME"),
    connection.send("CONFIG", "GET", "save").catch(() => null),
  ]);
  const info = parseInfo(String(text));
  return {
    version: connection.version,
    runId: connection.run,
    evictionPolicy: info.get("maxmemory_policy") ?? null,
    usedMemory: numberIn(info, "used_memory") ?? 0,
    maxMemory: numberIn(info, "maxmemory"),
    persistence: { aof: flagIn(info, "aof_enabled"), rdb: savesSnapshots(snapshots) },
    replicas: numberIn(info, "connected_slaves") ?? 0,
    evictedKeys: numberIn(info, "evicted_keys") ?? 0,
    now: millisecondsOf(time),
  };
}

function flagIn(info: Info, field: string): boolean | null {
  const number = numberIn(info, field);
  return number === null ? null : number !== 0;
}

/** Of the answer of CONFIG GET save: the name, then the points in time, of which there may be none. */
function savesSnapshots(answer: unknown): boolean | null {
  const setting = (answer as Buffer[] | null)?.[1];
  return setting === undefined ? null : setting.length > 0;
}
