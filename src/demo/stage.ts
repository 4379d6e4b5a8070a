import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ensureServers } from "../servers/ensure.js";
import { type RunningServer, startMemcached, startPostgres, startRedis } from "../servers/index.js";
import { processFolder } from "../servers/watchdog.js";
import { LEGACY, type LegacyName } from "./legacy.js";

export const MIGRATION = "demo-shop";

export interface StageOptions {
  readonly legacy: LegacyName;
  /** Whether missing servers may be installed. */
  readonly install: boolean;
  /** Servers that run already are used instead of our own; they must be empty, and the demo cannot kill them. */
  readonly redisUrl?: string | undefined;
  readonly legacyUrl?: string | undefined;
  readonly controlUrl?: string | undefined;
}

/** The servers of a demo, and a folder with the configuration, as a team has it in its repository. */
export interface Stage {
  readonly folder: string;
  readonly redisUrl: string;
  readonly legacyUrl: string;
  /** Null where it is somebody else's, which we do not kill. */
  readonly redis: RunningServer | null;
  readonly legacy: RunningServer | null;
  close(): Promise<void>;
}

export async function setStage(options: StageOptions, log: (line: string) => void): Promise<Stage> {
  await ensureServers({ install: options.install, log });
  const own: RunningServer[] = [];
  const start = async (starting: Promise<RunningServer>) => {
    const server = await starting;
    own.push(server);
    return server;
  };
  // In the folder that goes with this process, however it ends.
  const folder = await mkdtemp(join(processFolder(), "sessionferry-demo-"));
  const close = async () => {
    await Promise.all(own.map((server) => server.stop()));
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const redis = options.redisUrl === undefined ? await start(startRedis()) : null;
    // A time zone far from UTC: `expire` of connect-pg-simple has none of its own, which is a trap for every copier.
    const postgres = { settings: { timezone: "America/New_York" } };
    const legacy =
      options.legacyUrl === undefined
        ? await start(options.legacy === "postgres" ? startPostgres(postgres) : startMemcached())
        : null;
    // A memcached site has no database to steer from; a Redis of its own, so that the other one may die.
    const control = options.legacy === "postgres" ? undefined : (options.controlUrl ?? (await start(startRedis())).url);
    const redisUrl = options.redisUrl ?? redis!.url;
    const legacyUrl = options.legacyUrl ?? legacy!.url;
    await writeFile(join(folder, "sessionferry.yaml"), configuration(options.legacy, legacyUrl, redisUrl, control));
    return { folder, redisUrl, legacyUrl, redis, legacy, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What the team has in its repository. */
function configuration(legacy: LegacyName, legacyUrl: string, redisUrl: string, controlUrl?: string): string {
  const quoted = JSON.stringify;
  return `migration: ${MIGRATION}
legacy: { preset: ${LEGACY[legacy].preset}, url: ${quoted(legacyUrl)} }
redis: { preset: connect-redis, url: ${quoted(redisUrl)} }
${controlUrl === undefined ? "" : `control: { url: ${quoted(controlUrl)} }\n`}ramps: { dual-write: [10, 100], read-through: [10, 100], redis-first: [50, 100], full-redis: [100] }
# Three application processes, both stores, all users and every command share this one machine, perhaps with others: a
# Redis that answers late is not away.
timeouts: { redis: 1s }
gates:
  # For the same reason a demo is no place to judge latencies. A site at home keeps the 5 ms of the default.
  maxP95: 2s
  # A month at home; nobody would watch a demo that long.
  minStay: { full-redis: 0s }
`;
}
