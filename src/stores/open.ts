import type { Config } from "../core/config.js";
import type { ControlStore } from "../ports/control-store.js";

/** Opens the control store of a configuration; it connects with the first call. Only the driver in use is loaded. */
export async function openControlOf(config: Config, node: string): Promise<ControlStore> {
  const { openControl } = await import("../control/open.js");
  const { migration, control, redis } = config;
  return openControl(control.url, { migration, node, tls: redis.tls });
}
