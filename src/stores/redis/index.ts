import type { RedisOptions } from "ioredis";
import { redisOptionsOf } from "../../control/redis-url.js";
import { FerryError } from "../../errors.js";
import type { Fence } from "../../ports/fence.js";
import type { RedisRecords } from "../../ports/redis-records.js";
import type { RedisRights } from "../../ports/survey.js";
import { Connection, type ConnectionOptions } from "./connection.js";
import { KeyNames } from "./key-names.js";
import { Lanes } from "./lanes.js";
import { Link } from "./link.js";
import { RedisScripts, type Replication } from "./records.js";

export interface RedisRecordsOptions {
  /** `redis://`, `rediss://` or `redis-sentinel://host:port[,host:port]/name`, with user, password and database. */
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
  const names = new KeyNames(options.prefix, options.migration, options.items !== undefined, options.items?.servers);
  const connection = connectionOf(options);
  const openLink = () => new Link(() => Connection.open(connection));
  const link = openLink();
  const limits = { call: { deadline: call, hold: true }, batch: { deadline: batch, hold: true } };
  const wait = options.wait ?? { open: 0, destroy: 0 };
  const records = new RedisScripts(names, link, limits, new Lanes(openLink), wait, options.items?.flags ?? 0);

  const failure = await Promise.race([link.first, after(open)]);
  if (failure instanceof FerryError) {
    await records.end();
    throw failure;
  }
  return records;
}

/** For the doctor: what our user may do in R, and who else has sealed it. Opens one connection and closes it. */
export async function surveyRedis(options: RedisRecordsOptions): Promise<RedisRights> {
  const { rightsIn } = await import("./rights.js");
  const { migration, prefix, wait } = options;
  const waits = wait !== undefined && Math.max(wait.open, wait.destroy) > 0;
  return rightsIn({ connection: connectionOf(options), migration, prefix, waits });
}

function connectionOf(options: RedisRecordsOptions): ConnectionOptions {
  const { connect = 2_000, stall = 3_000 } = options.deadlines ?? {};
  const server = serverOf(options);
  const { node, fence } = options;
  const items = options.items !== undefined;
  const servers = options.items?.servers ?? 0;
  return {
    server,
    shown: shownServer(server),
    node,
    fence,
    connectTimeout: connect,
    stallTimeout: stall,
    items,
    servers,
  };
}

function serverOf({ url, tls }: RedisRecordsOptions): RedisOptions {
  if (/^redis-cluster:/i.test(url)) {
    throw new FerryError("CONFIG_INVALID", "redis.url names a Redis Cluster, which this version cannot use yet.", {
      remedy: "Name a standalone Redis (redis:// or rediss://) or a Sentinel group (redis-sentinel://) in `redis.url`.",
    });
  }
  return redisOptionsOf(url, tls, "redis.url");
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
