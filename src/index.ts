import { loadConfig } from "./config.js";
import { EventLog, fanOut, Log } from "./observe/index.js";
import { type Observer, SILENT } from "./ports/observer.js";
import { LiveFerry } from "./runtime/live-ferry.js";

export type { Config } from "./core/config.js";
export { NEVER, type Session, type Sid } from "./core/session.js";
export { CATALOGUE, type ErrorCode, EXIT, FerryError } from "./errors.js";
export type { FerryEvent, Observer, Point } from "./ports/observer.js";
export type { Sessions } from "./ports/sessions.js";
export { LiveFerry } from "./runtime/live-ferry.js";

export interface FerryOptions {
  /** A path, or the content of a configuration file as an object; else the nearest sessionferry.yaml upward. */
  readonly config?: string | object;
  /** Sees what happens, for metrics and traces. Never given a session id. */
  readonly observer?: Observer;
  /** Warnings and state changes as lines on stderr; true unless told otherwise. */
  readonly log?: boolean;
}

/**
 * Joins the migration's fleet and opens its stores. Resolves in legacy and dual-write though Redis is down.
 *
 * @throws FerryError CONFIG_NOT_FOUND, CONFIG_INVALID, NOT_SET_UP, CONTROL_UNREACHABLE, AUTHENTICATION_FAILED
 */
export async function createFerry(options: FerryOptions = {}): Promise<LiveFerry> {
  const config = loadConfig({ config: options.config });
  const log = options.log === false ? SILENT : new EventLog(new Log());
  const observer = options.observer === undefined ? log : fanOut(log, options.observer);
  return LiveFerry.open(config, observer);
}
