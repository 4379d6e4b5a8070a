/**
 * The script that people write: the keys from a metadump, then each session by its client, SET NX PX with the expiry
 * that the dump told. `node from-memcached.js HOST:PORT KEYPREFIX REDIS PREFIX`
 */
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { Redis } from "ioredis";
import memjs from "memjs";
import pLimit from "p-limit";

const UNDER_WAY = 100;
const CHUNK = 1_000;

interface Item {
  readonly key: string;
  readonly expires: number;
}

async function* dumped(host: string, port: number): AsyncIterable<Item> {
  const socket = connect({ host, port });
  socket.write("lru_crawler metadump all\r\n");
  for await (const line of createInterface({ input: socket })) {
    if (line === "END") break;
    const [, key, expires] = /^key=(\S+) exp=(-?\d+)/.exec(line)!;
    yield { key: decodeURIComponent(key!), expires: Number(expires) };
  }
  socket.destroy();
}

async function main([address, keyPrefix, redisUrl, prefix]: string[]): Promise<void> {
  const [host, port] = address!.split(":");
  const client = memjs.Client.create(address!, { timeout: 5, conntimeout: 5 });
  const redis = new Redis(redisUrl!);
  const limit = pLimit(UNDER_WAY);
  let copied = 0;
  const copy = async ({ key, expires }: Item) => {
    const { value } = await client.get(key);
    const left = expires * 1000 - Date.now();
    if (value !== null && left > 0) {
      await redis.set(`${prefix}${key.slice(keyPrefix!.length)}`, value as Buffer, "PX", left, "NX");
    }
    copied++;
  };
  let chunk: Promise<void>[] = [];
  for await (const item of dumped(host!, Number(port))) {
    if (!item.key.startsWith(keyPrefix!)) continue;
    chunk.push(limit(() => copy(item)));
    if (chunk.length < CHUNK) continue;
    await Promise.all(chunk);
    chunk = [];
  }
  await Promise.all(chunk);
  console.log(copied);
  redis.disconnect();
  client.close();
}

void main(process.argv.slice(2));
