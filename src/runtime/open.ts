import { isPostgres } from "../config/urls.js";
import type { Config } from "../core/config.js";
import { isLegacyPresetName, PAIRINGS } from "../core/preset-names.js";
import type { Sid } from "../core/session.js";
import type { FerryError } from "../errors.js";
import type { LegacyItems } from "../ferry/items.js";
import type { ControlStore } from "../ports/control-store.js";
import type { Fence } from "../ports/fence.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { RedisRecords } from "../ports/redis-records.js";
import { legacyPreset, redisPreset } from "../presets/index.js";
import type { MemcachedLegacyStore } from "../stores/memcached/store.js";
import type { RedisRecordsOptions } from "../stores/redis/index.js";
import { poolOf } from "./listener-map.js";
import { redisTls, tlsOptions } from "./tls.js";

/** Who opens a store: the node its connections are named after, and what fences them. */
export interface Opener {
  readonly node: string;
  readonly fence: Fence;
  /** Told of a value that the legacy store refused while it was drained. */
  readonly report?: (error: FerryError, sid: Sid) => void;
  /** Of a pool: R's word on where sessions belong, once R is open. */
  readonly owners?: (sids: readonly Sid[]) => Promise<readonly Sid[]>;
}

/** L by the scheme of its URL; it connects with the first call. Only the driver in use is loaded. */
export async function openLegacy(config: Config, { node, fence, report, owners }: Opener): Promise<LegacyStore> {
  const { url, table, prefix, distribution, connections, preparedStatements } = config.legacy;
  const common = {
    url,
    preset: legacyPreset(config.legacy.preset),
    fence,
    connections,
    deadline: config.timeouts.legacy,
    ...(report && { report }),
  };
  if (isPostgres(url)) {
    const { openPostgresLegacy } = await import("../stores/postgres.js");
    return openPostgresLegacy({ ...common, node, preparedStatements, ...(table !== undefined && { table }) });
  }
  const { openMemcachedLegacy } = await import("../stores/memcached/store.js");
  const tls = tlsOptions("legacy.tls", config.legacy.tls);
  const keys = { ...(prefix !== undefined && { prefix }), ...(distribution !== undefined && { distribution }) };
  return openMemcachedLegacy({ ...common, ...keys, tls, items: servesItems(config), owners });
}

/** memcached's verbs on L, over its own connections; null where L is none. */
export function legacyItemsOf(legacy: LegacyStore): LegacyItems | null {
  return legacy.kind === "memcached" ? (legacy as MemcachedLegacyStore).verbs() : null;
}

/**
 * Whether memcached's own clients are served: then every node, jobs included, keeps what only they know of a session.
 */
export function servesItems({ legacy, proxy }: Config): boolean {
  if (isPostgres(legacy.url)) return false;
  if (poolOf({ legacy }) !== null) return true;
  const comesAsClient = isLegacyPresetName(legacy.preset) && PAIRINGS[legacy.preset].door === "proxy";
  return comesAsClient || proxy.listeners.length > 0;
}

/** Milliseconds; see `RedisRecordsOptions`. */
export type RedisPatience = NonNullable<RedisRecordsOptions["deadlines"]>;

/** R; resolves with or without a connection. @throws FerryError AUTHENTICATION_FAILED, VERSION_UNSUPPORTED */
export async function openRecords(
  config: Config,
  opener: Pick<Opener, "node" | "fence">,
  patience: RedisPatience = {},
): Promise<RedisRecords> {
  const { openRedisRecords } = await import("../stores/redis/index.js");
  return openRedisRecords(recordsOptions(config, opener, patience));
}

export function recordsOptions(
  config: Config,
  { node, fence }: Pick<Opener, "node" | "fence">,
  deadlines: RedisPatience = {},
): RedisRecordsOptions {
  const { url, wait } = config.redis;
  const tls = redisTls(config);
  const servers = poolOf(config)?.length ?? 0;
  const items = servesItems(config) && { items: { flags: legacyPreset(config.legacy.preset).flags, servers } };
  return { url, tls, wait, prefix: redisPrefix(config), migration: config.migration, node, fence, deadlines, ...items };
}

/** What stands before a session id in Redis. */
export function redisPrefix({ redis }: Config): string {
  return redis.prefix ?? redisPreset(redis.preset).prefix;
}

/** The control store; it connects with the first call. Only the driver in use is loaded. */
export async function openControlOf(config: Config, node: string): Promise<ControlStore> {
  const { openControl } = await import("../control/open.js");
  const { migration, control } = config;
  return openControl(control.url, { migration, node, tls: redisTls(config, control.url) });
}
