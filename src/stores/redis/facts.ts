import type { RedisFacts } from "../../ports/redis-records.js";
import type { Conversation } from "./connection.js";
import { type Info, numberIn, parseInfo } from "./info.js";
import { millisecondsOf } from "./replies.js";

/** What R tells of itself. Managed services close CONFIG, so INFO is asked wherever it knows. */
export async function factsOf(connection: Conversation): Promise<RedisFacts> {
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

/**
 * Of several servers as of one: what is worst of any of them, and of their memory as if all were as full as the fullest.
 */
export function combined(servers: readonly RedisFacts[]): RedisFacts {
  const [first] = servers;
  if (first === undefined) throw new RangeError("there is no server");
  if (servers.length === 1) return first;
  const all = <T>(pick: (facts: RedisFacts) => T) => servers.map(pick);
  const fullest = servers.reduce((one, other) => (fullness(other) > fullness(one) ? other : one));
  return {
    version: all(({ version }) => version).sort(byVersion)[0]!,
    runId: all(({ runId }) => runId)
      .sort()
      .join(","),
    evictionPolicy: all(({ evictionPolicy }) => evictionPolicy).sort(unsafeFirst)[0]!,
    usedMemory: fullest.usedMemory * servers.length,
    maxMemory: fullest.maxMemory === null ? null : fullest.maxMemory * servers.length,
    persistence: {
      aof: everyOf(all(({ persistence }) => persistence.aof)),
      rdb: everyOf(all(({ persistence }) => persistence.rdb)),
    },
    replicas: Math.min(...all(({ replicas }) => replicas)),
    evictedKeys: all(({ evictedKeys }) => evictedKeys).reduce((sum, keys) => sum + keys, 0),
    now: first.now,
  };
}

function fullness({ usedMemory, maxMemory }: RedisFacts): number {
  return maxMemory ? usedMemory / maxMemory : 0;
}

function unsafeFirst(one: string | null, other: string | null): number {
  return Number(one === "noeviction") - Number(other === "noeviction");
}

/** Null where one does not tell and none says no. */
function everyOf(told: readonly (boolean | null)[]): boolean | null {
  if (told.includes(false)) return false;
  return told.includes(null) ? null : true;
}

function byVersion(one: string, other: string): number {
  return one.localeCompare(other, "en", { numeric: true });
}
