import { createHash } from "node:crypto";
import type { Server } from "./server.js";

/**
 * Which of several servers holds a key: the rule of the application's own client, since the items are where that client
 * put them. Servers must be named in the order and the spelling in which the application names them.
 */
export type Distribution = (key: string) => Server;

/** memjs: the absolute value of Java's string hash, modulo the number of servers. */
export function modulo(servers: readonly Server[]): Distribution {
  return (key) => {
    let hash = 0;
    for (let i = 0; i < key.length; i++) hash = (31 * hash + key.charCodeAt(i)) | 0;
    return servers[Math.abs(hash) % servers.length]!;
  };
}

const POINTS_PER_DIGEST = 4;
const DIGESTS_PER_SERVER = 40;
const DEFAULT_PORT = 11_211;

/**
 * The npm client memcached: a ring of 160 points a server, taken from md5 digests of the server's name and a number;
 * a key belongs to the first point at or after its own hash. A server on the default port goes by its host alone.
 */
export function ketama(servers: readonly Server[]): Distribution {
  // That client computes the count from the servers' weights, in this order and in floating point.
  const digests = Math.floor((1 / servers.length) * DIGESTS_PER_SERVER * servers.length);
  const ring = servers
    .flatMap((server) => {
      const name = server.port === DEFAULT_PORT ? server.host : server.address;
      return Array.from({ length: digests }, (_, n) => md5(`${name}-${n}`)).flatMap((digest) =>
        Array.from({ length: POINTS_PER_DIGEST }, (_, j) => ({ point: digest.readUInt32LE(4 * j), server })),
      );
    })
    .sort((a, b) => a.point - b.point);
  return (key) => {
    const hash = md5(key).readUInt32LE(0);
    let low = 0;
    for (let high = ring.length; low < high; ) {
      const middle = (low + high) >>> 1;
      if (ring[middle]!.point < hash) low = middle + 1;
      else high = middle;
    }
    return ring[low % ring.length]!.server;
  };
}

function md5(text: string): Buffer {
  return createHash("md5").update(text).digest();
}
