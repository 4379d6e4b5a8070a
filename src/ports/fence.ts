import type { StoreName } from "./observer.js";

/**
 * Rule 11: asked on every new or re-made connection to L or R, once the server knows the connection (it is named, so
 * that an eviction can end it) and before the first command of the protocol goes over it. It renews the node's
 * registration; a rejection means that the connection must be destroyed unused.
 */
export type Fence = (connection: {
  readonly store: StoreName;
  /** The local `address:port` where the store tells connections apart by it (memcached), else null. */
  readonly endpoint: string | null;
  /** Resolves when the connection has ended; absent where the endpoint is null. */
  readonly closed?: Promise<unknown>;
}) => Promise<void>;

/** For tools that only look, and for tests of a store alone. */
export const NO_FENCE: Fence = async () => {};

/** What a node's connections are called, in PostgreSQL's application_name and Redis' CLIENT SETNAME. */
export function connectionName(node: string): string {
  return `sessionferry:${node}`;
}
