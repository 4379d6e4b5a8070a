import { FerryError } from "../errors.js";
import type { ControlStore } from "../ports/control-store.js";
import type { ControlOptions } from "./options.js";
import { shownUrl } from "./redact.js";

/**
 * Opens the control store that a URL names; it connects with the first call. Only the driver in use is loaded.
 * Rejects with `CONFIG_INVALID` for a URL that names none.
 */
export async function openControl(url: string, options: ControlOptions): Promise<ControlStore> {
  const scheme = /^([a-z-]+):\/\//i.exec(url)?.[1]?.toLowerCase();
  switch (scheme) {
    case "postgres":
    case "postgresql": {
      const { PostgresControlStore } = await import("./postgres.js");
      return new PostgresControlStore(url, options);
    }
    case "redis":
    case "rediss":
    case "redis-sentinel": {
      const { RedisControlStore } = await import("./redis.js");
      return new RedisControlStore(url, options);
    }
    default:
      throw new FerryError("CONFIG_INVALID", `control.url must be a PostgreSQL or Redis URL: ${shownUrl(url)}`, {
        remedy: "Name one of postgres://, redis://, rediss:// or redis-sentinel:// in `control.url`.",
      });
  }
}
