/** The plain clients and session stores that come without types, as far as the tests use them. */

declare module "connect-pg-simple" {
  import type session from "express-session";
  import type pg from "pg";

  interface Options {
    pool?: pg.Pool;
    conString?: string;
    tableName?: string;
    schemaName?: string;
    pruneSessionInterval?: false | number;
  }
  export default function connectPgSimple(
    express: typeof session,
  ): new (
    options?: Options,
  ) => session.Store & { close(): Promise<void> };
}

declare module "connect-memcached" {
  import type session from "express-session";
  import type Memcached from "memcached";

  interface Options {
    client?: Memcached;
    hosts?: string | string[];
    prefix?: string;
  }
  export default function connectMemcached(express: typeof session): new (options?: Options) => session.Store;
}

declare module "connect-memjs" {
  import type session from "express-session";

  interface Options {
    client?: unknown;
    servers?: string[];
    prefix?: string;
  }
  export default function connectMemjs(express: typeof session): new (options?: Options) => session.Store;
}

declare module "memcached" {
  export default class Memcached {
    constructor(servers: string | string[], options?: Record<string, unknown>);
    set(key: string, value: unknown, lifetime: number, done: (error?: Error) => void): void;
    del(key: string, done: (error?: Error) => void): void;
    readonly HashRing: { get(key: string): string };
    end(): void;
  }
}
