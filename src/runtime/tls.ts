import { readFileSync } from "node:fs";
import type { Config } from "../core/config.js";
import { FerryError } from "../errors.js";

/** Where the text is no PEM it is the path of a file with it. */
const PEM = ["cert", "key", "ca", "crl"];

/**
 * Options of Node's TLS as a section of the configuration has them, files read; null for an empty one, which is no TLS.
 *
 * @throws FerryError CONFIG_INVALID where a file cannot be read
 */
export function tlsOptions(section: string, tls: Readonly<Record<string, unknown>>): Record<string, unknown> | null {
  if (Object.keys(tls).length === 0) return null;
  const read = (name: string, value: unknown): unknown => {
    if (!PEM.includes(name) || typeof value !== "string" || value.includes("-----BEGIN")) return value;
    try {
      return readFileSync(value, "utf8");
    } catch (error) {
      const { code = "error" } = error as NodeJS.ErrnoException;
      throw new FerryError("CONFIG_INVALID", `${section}.${name}: the file cannot be read (${code}).`);
    }
  };
  return Object.fromEntries(Object.entries(tls).map(([name, value]) => [name, read(name, value)]));
}

/**
 * Options for a Redis at this URL. Those of the configuration belong to the Redis of the migration; a Redis elsewhere has
 * its own in its URL's scheme.
 */
export function redisTls({ redis }: Pick<Config, "redis">, url = redis.url): Record<string, unknown> {
  return (url === redis.url && tlsOptions("redis.tls", redis.tls)) || {};
}
