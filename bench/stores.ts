import connectMemcached from "connect-memcached";
import connectMemjs from "connect-memjs";
import connectPgSimple from "connect-pg-simple";
import { RedisStore } from "connect-redis";
import session from "express-session";
import Memcached from "memcached";
import memjs from "memjs";
import pg from "pg";
import { createClient } from "redis";
import { expressStore } from "../src/doors/express.js";
import { createFerry } from "../src/index.js";
import type { StoreSpec } from "./messages.js";
import type { Payload } from "./payload.js";
import { openTextClient } from "./text-client.js";

type Done = (error?: unknown) => void;

/** The part of an express-session store that is measured. */
export interface MeasuredStore {
  get(sid: string, done: (error: unknown, found?: unknown) => void): void;
  set(sid: string, session: Payload, done: Done): void;
  /** Absent from connect-memjs. */
  touch?(sid: string, session: Payload, done: Done): void;
}

export interface Opened {
  readonly store: MeasuredStore;
  /** When this process took new routes, milliseconds since the epoch; only of ours. */
  readonly routes: number[];
  close(): Promise<void>;
}

/** Each as its own documentation says, with equally many connections to the old store. */
export async function openStore(spec: StoreSpec): Promise<Opened> {
  const routes: number[] = [];
  switch (spec.kind) {
    case "ferry": {
      const event = (what: { readonly type: string }) => {
        if (what.type === "routes") routes.push(Date.now());
      };
      const ferry = await createFerry({ config: spec.config, log: false, observer: { event } });
      return { store: expressStore(ferry), routes, close: () => ferry.close() };
    }
    case "connect-pg-simple": {
      const pool = new pg.Pool({ connectionString: spec.url, max: spec.connections });
      const Store = connectPgSimple(session);
      const store = new Store({ pool, tableName: spec.table, pruneSessionInterval: false });
      return { store: store as unknown as MeasuredStore, routes, close: () => pool.end() };
    }
    case "connect-memcached": {
      const client = new Memcached(spec.address, { poolSize: spec.connections });
      const store = new (connectMemcached(session))({ client, prefix: spec.prefix });
      return { store: store as unknown as MeasuredStore, routes, close: async () => client.end() };
    }
    case "memcached-text":
      return openTextClient(spec.port, spec.prefix, spec.connections);
    case "connect-memjs": {
      const client = memjs.Client.create(spec.address, { timeout: 5, conntimeout: 5 });
      const store = new (connectMemjs(session))({ client, prefix: spec.prefix });
      return { store: store as unknown as MeasuredStore, routes, close: async () => client.close() };
    }
    case "connect-redis": {
      const client = createClient({ url: spec.url });
      client.on("error", () => {});
      await client.connect();
      const store = new RedisStore({ client, prefix: spec.prefix });
      return { store: store as unknown as MeasuredStore, routes, close: () => client.close() };
    }
  }
}
