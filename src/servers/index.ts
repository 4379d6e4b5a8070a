/** Throw-away servers for the tests and the demo: found or brought, on free loopback ports, gone when we are gone. */
export { type AvailableClient, CLIENT_NAMES, type ClientName, ensureClients, findClient } from "./clients.js";
export { type AvailableServer, type EnsureOptions, ensureServers } from "./ensure.js";
export { type MemcachedOptions, startMemcached } from "./memcached.js";
export { type PostgresOptions, startPostgres } from "./postgres.js";
export { type RedisOptions, startRedis } from "./redis.js";
export type { RunningServer, ServerName } from "./server.js";
