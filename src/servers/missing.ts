import { FerryError } from "../errors.js";
import type { ServerName } from "./server.js";

/** The packages of Debian and Ubuntu. */
export const PACKAGES: Readonly<Record<ServerName, string>> = {
  redis: "redis-server",
  memcached: "memcached",
  postgres: "postgresql",
};

/** The error for servers that are neither installed nor to be had from Docker. */
export function missing(names: readonly ServerName[]): FerryError {
  const packages = names.map((name) => PACKAGES[name]);
  const list = [packages.slice(0, -1).join(", "), packages.at(-1)].filter(Boolean).join(" and ");
  const are = packages.length === 1 ? "is" : "are";
  return new FerryError("SERVER_MISSING", `${list} ${are} not on this machine, and no Docker engine answers.`, {
    remedy: `Install ${list} (Debian or Ubuntu: apt-get install ${packages.join(" ")}, or run with --install), or start Docker.`,
  });
}
