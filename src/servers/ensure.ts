import { spawnSync } from "node:child_process";
import { dockerAnswers, IMAGES } from "./docker.js";
import { findMemcached, findPostgres, findRedis } from "./find.js";
import { install } from "./install.js";
import { missing } from "./missing.js";
import type { ServerName } from "./server.js";

export interface AvailableServer {
  readonly name: ServerName;
  /** As it tells it itself ("7.0.15"), or the tag of its image. */
  readonly version: string;
  /** The path of its program, or "docker". */
  readonly from: string;
}

export interface EnsureOptions {
  /** Whether missing servers may be installed with apt-get. */
  readonly install: boolean;
  /** Takes one line at a time: what is about to be installed, what was found. */
  log(line: string): void;
}

const FIND: Readonly<Record<ServerName, () => Promise<string | null>>> = {
  redis: async () => findRedis(),
  memcached: async () => findMemcached(),
  postgres: async () => (await findPostgres())?.postgres ?? null,
};
const NAMES = Object.keys(FIND) as readonly ServerName[];

/**
 * Sees to it that Redis, memcached and PostgreSQL can be started here: on this machine, else from Docker, else by
 * installing them.
 * @throws FerryError SERVER_MISSING, which names what to install.
 */
export async function ensureServers(options: EnsureOptions): Promise<readonly AvailableServer[]> {
  let away = await namesAway();
  const docker = away.length > 0 && (await dockerAnswers());
  if (away.length > 0 && !docker && options.install) {
    await install(away, options.log);
    away = await namesAway();
  }
  if (away.length > 0 && !docker) throw missing(away);
  const found = await Promise.all(NAMES.map(look));
  for (const { name, version, from } of found) options.log(`${name} ${version} (${from})`);
  return found;
}

async function namesAway(): Promise<ServerName[]> {
  const found = await Promise.all(NAMES.map((name) => FIND[name]()));
  return NAMES.filter((_, index) => found[index] === null);
}

async function look(name: ServerName): Promise<AvailableServer> {
  const from = await FIND[name]();
  if (from === null) return { name, version: IMAGES[name].image.replace(/^.*:/, ""), from: "docker" };
  const said = spawnSync(from, ["--version"], { encoding: "utf8" }).stdout ?? "";
  return { name, version: /\d+(\.\d+)+/.exec(said)?.[0] ?? "of unknown version", from };
}
