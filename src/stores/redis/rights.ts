import { FerryError } from "../../errors.js";
import { NO_FENCE } from "../../ports/fence.js";
import { RedisRefused, RedisUnreachable } from "../../ports/redis-records.js";
import type { RedisRights } from "../../ports/survey.js";
import { type Argument, Connection, type ConnectionOptions } from "./connection.js";
import { Moved } from "./failures.js";
import { decodeSeal } from "./seal.js";

export interface RightsQuestion {
  /** To each server, which may differ in what it lets us do. */
  readonly connections: readonly ConnectionOptions[];
  readonly migration: string;
  /** Of the sessions' own keys. */
  readonly prefix: string;
  /** Whether WAIT will be used. */
  readonly waits: boolean;
}

/**
 * What our user may do in R, asked by trying every command on keys that do not exist, in a form that changes nothing,
 * and which other migrations have sealed it.
 */
export async function rightsIn({ connections, ...question }: RightsQuestion): Promise<RedisRights> {
  const told = await Promise.all(connections.map((connection) => rightsAt(connection, question)));
  const strangers = new Map(told.flatMap(({ strangers }) => strangers).map((each) => [each.migration, each]));
  return {
    user: told[0]?.user ?? null,
    missing: [...new Set(told.flatMap(({ missing }) => missing))],
    strangers: [...strangers.values()],
  };
}

async function rightsAt(
  connection: ConnectionOptions,
  { migration, prefix, waits }: Omit<RightsQuestion, "connections">,
): Promise<RedisRights> {
  const redis = await Connection.open({ ...connection, fence: NO_FENCE }).catch((error: unknown) => {
    if (error instanceof FerryError || error instanceof RedisRefused) throw error;
    throw new RedisUnreachable("Redis cannot be reached.", false, { cause: error });
  });
  try {
    const own = `sf:${migration}:doctor`;
    const session = `${prefix}sessionferry-doctor`;
    const attempts: readonly (readonly [rule: string, command: string, ...args: Argument[]])[] = [
      ["+info", "INFO", "server"],
      ["+time", "TIME"],
      ["+scan", "SCAN", "0", "COUNT", "1"],
      [`+get ~sf:${migration}:*`, "GET", own],
      ["+mget", "MGET", own],
      ["+exists", "EXISTS", own],
      ["+type", "TYPE", own],
      ["+set", "SET", own, "", "XX", "PX", "1"],
      ["+del", "DEL", own],
      ["+unlink", "UNLINK", own],
      ["+pttl", "PTTL", own],
      ["+persist", "PERSIST", own],
      ["+pexpireat", "PEXPIREAT", own, "1"],
      ["+zadd", "ZADD", own, "XX", "0", "-"],
      ["+zrem", "ZREM", own, "-"],
      ["+zrange", "ZRANGE", own, "0", "0"],
      ["+zcard", "ZCARD", own],
      ["+zscan", "ZSCAN", own, "0"],
      ["+eval", "EVAL", "return 1", "0"],
      ["+script|load", "SCRIPT", "LOAD", "return 1"],
      ["+client|list", "CLIENT", "LIST"],
      ["+client|kill", "CLIENT", "KILL", "ID", String(Number.MAX_SAFE_INTEGER)],
      ...(connection.cluster ? ([["+cluster|nodes", "CLUSTER", "NODES"]] as const) : []),
      ...(connection.cluster ? ([["+cluster|info", "CLUSTER", "INFO"]] as const) : []),
      ...(connection.cluster ? ([["+asking", "ASKING"]] as const) : []),
      ...(waits ? ([["+wait", "WAIT", "0", "1"]] as const) : []),
      [`~${prefix}*`, "EXISTS", session],
      [`~${prefix}*`, "DEL", session],
    ];
    const missing = new Set<string>();
    for (const [rule, command, ...args] of attempts) {
      if (!(await isPermitted(redis.send(command, ...args)))) missing.add(rule);
    }
    const named = connection.server.username ?? null;
    const user = await redis.send("ACL", "WHOAMI").then(String, () => named);
    const mayLook = !missing.has("+scan") && !missing.has(`+get ~sf:${migration}:*`);
    return { user, missing: [...missing], strangers: mayLook ? await otherSeals(redis, migration) : [] };
  } finally {
    redis.close();
  }
}

async function isPermitted(answer: Promise<unknown>): Promise<boolean> {
  try {
    await answer;
    return true;
  } catch (error) {
    // The key is another server's; the question of rights comes before that.
    if (error instanceof Moved) return true;
    // Whatever else is refused (an unknown client to kill, a replica too few) is no question of rights.
    if (error instanceof RedisRefused) return !error.message.includes("NOPERM");
    throw error;
  }
}

/** Seals of other migrations: of each its name and the prefix of its sessions. */
async function otherSeals(redis: Connection, migration: string): Promise<RedisRights["strangers"]> {
  const found = new Map<string, RedisRights["strangers"][number]>();
  let cursor = "0";
  do {
    const answer = await redis.send("SCAN", cursor, "MATCH", "sf:*:seal", "COUNT", "1000");
    const [next, keys] = answer as [Buffer, Buffer[]];
    cursor = next.toString();
    for (const key of keys) {
      // In a Redis Cluster each slot has one.
      const whose = key.toString().split(":")[1] ?? "";
      if (whose === migration || found.has(whose)) continue;
      const text = await redis.send("GET", key).catch(() => null);
      const seal = text === null ? null : decodeSeal(String(text));
      if (seal !== null && seal.migration !== migration) {
        found.set(whose, { migration: seal.migration, prefix: seal.prefix, state: seal.state });
      }
    }
  } while (cursor !== "0");
  return [...found.values()];
}
