import type { RedisOptions } from "ioredis";
import { clusterOptionsOf, isCluster, redisOptionsOf } from "../../control/redis-url.js";
import { FerryError } from "../../errors.js";
import type { Fence } from "../../ports/fence.js";
import type { RedisRecords } from "../../ports/redis-records.js";
import type { RedisRights } from "../../ports/survey.js";
import { askNodes, Cluster, type ClusterOptions, type ServerAddress } from "./cluster.js";
import { askForNodes, Connection, type ConnectionOptions } from "./connection.js";
import { KeyNames } from "./key-names.js";
import { RedisScripts, type Replication } from "./records.js";
import { OneServer, type Shards } from "./shards.js";

export interface RedisRecordsOptions {
  /**
   * `redis://`, `rediss://`, `redis-sentinel://host:port[,host:port]/name` or `redis-cluster://host:port[,host:port]`, with
   * user, password and, but for a Cluster, database.
   */
  readonly url: string;
  /** Options of `tls.connect`; any makes the connection a TLS one. */
  readonly tls?: Readonly<Record<string, unknown>>;
  /** Of the sessions' own keys. */
  readonly prefix: string;
  readonly migration: string;
  readonly node: string;
  readonly fence: Fence;
  /**
   * Where memcached's clients are served: flags and tokens are kept. `flags` are those that need no key of their own,
   * since most items have them. The same for every node of a migration, jobs included.
   */
  readonly items?: {
    readonly flags: number;
    /** Of a pool whose client's rule is not known: how many servers it has, so that sids are located. */
    readonly servers?: number;
  };
  /** How many replicas must have a write before it is answered; 0 for none. */
  readonly wait?: Replication;
  /** Milliseconds. */
  readonly deadlines?: {
    /** For a call without limits of its own; 5 s. */
    readonly call?: number;
    /** For a batch, a page of a listing, or another step of administration; 10 s. */
    readonly batch?: number;
    /** For connecting; 2 s. */
    readonly connect?: number;
    /** So long without any answer while one is due, and the connection is given up; 3 s. */
    readonly stall?: number;
    /** How long opening waits for the first connection before it goes on without; 1 s. */
    readonly open?: number;
  };
}

/**
 * Opens R. Resolves with or without a connection, since the site must start while Redis is away: it goes on being
 * tried in the background.
 *
 * @throws FerryError `CONFIG_INVALID`; `AUTHENTICATION_FAILED` or `VERSION_UNSUPPORTED` where the server said so
 *   within the time that opening waits.
 */
export async function openRedisRecords(options: RedisRecordsOptions): Promise<RedisRecords> {
  const { call = 5_000, batch = 10_000, open = 1_000 } = options.deadlines ?? {};
  const cluster = isCluster(options.url);
  const items = options.items !== undefined;
  const names = new KeyNames(options.prefix, options.migration, items, options.items?.servers, cluster);
  const limits = { call: { deadline: call, hold: true }, batch: { deadline: batch, hold: true } };
  const wait = options.wait ?? { open: 0, destroy: 0 };
  const shards = openShards(options);
  const records = new RedisScripts(names, shards, limits, wait, options.items?.flags ?? 0);

  const failure = await Promise.race([shards.first, after(open)]);
  if (failure instanceof FerryError) {
    await records.end();
    throw failure;
  }
  return records;
}

/** For the doctor: what our user may do in R, and who else has sealed it. Its connections are closed again. */
export async function surveyRedis(options: RedisRecordsOptions): Promise<RedisRights> {
  const { rightsIn } = await import("./rights.js");
  const { migration, prefix, wait } = options;
  const waits = wait !== undefined && Math.max(wait.open, wait.destroy) > 0;
  return rightsIn({ connections: await everyMaster(options), migration, prefix, waits });
}

function openShards(options: RedisRecordsOptions): Shards {
  if (isCluster(options.url)) return new Cluster(clusterOf(options));
  const server = serverOf(options);
  return new OneServer(() => Connection.open(server));
}

async function everyMaster(options: RedisRecordsOptions): Promise<ConnectionOptions[]> {
  if (!isCluster(options.url)) return [serverOf(options)];
  const cluster = clusterOf(options);
  const masters = (await askNodes(cluster)).filter(({ isMaster, hasFailed }) => isMaster && !hasFailed);
  return masters.map(cluster.at);
}

function serverOf(options: RedisRecordsOptions): ConnectionOptions {
  return connectionOf(options, redisOptionsOf(options.url, options.tls, "redis.url"));
}

function clusterOf(options: RedisRecordsOptions): ClusterOptions & { at(server: ServerAddress): ConnectionOptions } {
  const { servers, common } = clusterOptionsOf(options.url, options.tls, "redis.url");
  const at = ({ host, port }: ServerAddress) => connectionOf(options, { ...common, host, port });
  return {
    seeds: servers,
    byName: common.tls !== undefined,
    connect: (server) => Connection.open(at(server)),
    ask: (server) => askForNodes(at(server)),
    at,
  };
}

function connectionOf(options: RedisRecordsOptions, server: RedisOptions): ConnectionOptions {
  const { connect = 2_000, stall = 3_000 } = options.deadlines ?? {};
  const { node, fence } = options;
  return {
    server,
    shown: shownServer(server),
    node,
    fence,
    connectTimeout: connect,
    stallTimeout: stall,
    items: options.items !== undefined,
    servers: options.items?.servers ?? 0,
    cluster: isCluster(options.url),
  };
}

function shownServer(server: RedisOptions): string {
  const hosts = server.sentinels ?? [server];
  const shown = hosts.map(({ host, port }) => `${host}:${port}`).join(",");
  return server.name ? `${shown}/${server.name}` : shown;
}

function after(milliseconds: number): Promise<null> {
  return new Promise((resolve) => {
    setTimeout(() => resolve(null), milliseconds).unref();
  });
}
