import { ask } from "./legacy.js";
import { loadPeer, type PlainStore } from "./peers.js";

/** What a plain client finds for one session. */
export interface Found {
  /** As connect-redis gives it; null when there is no such session. */
  readonly session: unknown;
  /** The key's own expiry, milliseconds since the epoch: -1 for a key that never expires, -2 for none. */
  readonly expiresAt: number;
}

export interface PlainRedis {
  find(sid: string): Promise<Found>;
  /** Every key that is not a session. */
  otherKeys(): Promise<string[]>;
  /** How many sessions there are. */
  count(): Promise<number>;
  close(): Promise<void>;
}

interface NodeRedis {
  connect(): Promise<unknown>;
  on(event: "error", listener: (error: unknown) => void): void;
  pExpireTime(key: string): Promise<number>;
  scanIterator(options: { COUNT: number }): AsyncIterable<string[]>;
  close(): Promise<void>;
}

const PREFIX = "sess:";

/** connect-redis on node-redis with their default options, as the application will use them one day without us. */
export async function openPlainRedis(url: string): Promise<PlainRedis> {
  const { createClient } = await loadPeer<{ createClient(options: { url: string }): NodeRedis }>("redis", "redis");
  const { RedisStore } = await loadPeer<{ RedisStore: new (options: unknown) => PlainStore }>("connect-redis", "redis");
  const client = createClient({ url });
  // Commands reject by themselves; without a listener the process would end.
  client.on("error", () => {});
  await client.connect();
  const store = new RedisStore({ client });
  const keys = async () => {
    const all = new Set<string>();
    for await (const page of client.scanIterator({ COUNT: 1000 })) for (const key of page) all.add(key);
    return [...all];
  };
  return {
    async find(sid) {
      const [session, expiresAt] = await Promise.all([ask(store, sid), client.pExpireTime(PREFIX + sid)]);
      return { session, expiresAt };
    },
    otherKeys: async () => (await keys()).filter((key) => !key.startsWith(PREFIX)),
    count: async () => (await keys()).filter((key) => key.startsWith(PREFIX)).length,
    close: () => client.close(),
  };
}
