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

/** What can be asked of a machine, and done to it; the tests put another one in its place. */
export interface Machine {
  find(name: ServerName): Promise<string | null>;
  hasDocker(): Promise<boolean>;
  install(names: readonly ServerName[], log: (line: string) => void): Promise<boolean>;
}

const NAMES: readonly ServerName[] = ["redis", "memcached", "postgres"];

const thisMachine: Machine = {
  async find(name) {
    if (name === "redis") return findRedis();
    if (name === "memcached") return findMemcached();
    return (await findPostgres())?.postgres ?? null;
  },
  hasDocker: dockerAnswers,
  install,
};

/**
 * Sees to it that Redis, memcached and PostgreSQL can be started here: on this machine, else from Docker, else by
 * installing them.
 * @throws FerryError SERVER_MISSING, which names what to install.
 */
export async function ensureServers(
  options: EnsureOptions,
  machine: Machine = thisMachine,
): Promise<readonly AvailableServer[]> {
  let places = await lookFor(machine);
  if (away(places).length > 0 && !(await machine.hasDocker())) {
    if (options.install && (await machine.install(away(places), options.log))) places = await lookFor(machine);
    if (away(places).length > 0) throw missing(away(places));
  }
  const found = NAMES.map((name) => describe(name, places.get(name) ?? null));
  for (const { name, version, from } of found) options.log(`${name} ${version} (${from})`);
  return found;
}

type Places = ReadonlyMap<ServerName, string | null>;

async function lookFor(machine: Machine): Promise<Places> {
  return new Map(await Promise.all(NAMES.map(async (name) => [name, await machine.find(name)] as const)));
}

function away(places: Places): ServerName[] {
  return NAMES.filter((name) => places.get(name) === null);
}

function describe(name: ServerName, program: string | null): AvailableServer {
  if (program === null) return { name, version: IMAGES[name].image.replace(/^.*:/, ""), from: "docker" };
  const said = spawnSync(program, ["--version"], { encoding: "utf8" }).stdout ?? "";
  return { name, version: /\d+(\.\d+)+/.exec(said)?.[0] ?? "of unknown version", from: program };
}
