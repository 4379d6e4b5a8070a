import { setTimeout as delay } from "node:timers/promises";
import { isMemcached } from "../config/urls.js";
import type { Config } from "../core/config.js";
import { FerryError } from "../errors.js";
import type { ControlStore, NodeRole } from "../ports/control-store.js";
import { poolOf } from "./listener-map.js";

const KIND = "pool";
const ID = "servers";
const LOCK = "pool-servers";
const LOCK_TTL = 5_000;

interface PoolMap {
  readonly servers: readonly string[];
}

/**
 * R and the dirty index name the servers of a pool by their numbers, so every process must count them alike for as long
 * as R holds anything: the map of numbers to addresses stands in the control store, and who comes with another one is
 * refused. It may change on the ground alone, in `legacy`, by the first process of a fleet, for then R holds nothing that
 * anybody will read.
 *
 * @throws FerryError CONFIG_INVALID, USAGE
 */
export async function keepPoolMap(
  config: Config,
  control: ControlStore,
  node: { readonly id: string; readonly role: NodeRole },
): Promise<void> {
  if (!isMemcached(config.legacy.url)) return;
  const servers = poolOf(config);
  if (servers !== null && node.role === "app") {
    throw new FerryError(
      "USAGE",
      "Where only the client knows the servers' rule, sessions are served by the proxy alone.",
      {
        remedy:
          "Name the client's own rule in `legacy.distribution`, or run `sessionferry proxy` with a listener for each server.",
      },
    );
  }
  const isKept = async () => {
    const kept = await control.getDocument<PoolMap>(KIND, ID);
    return { kept, same: told(kept?.servers ?? null) === told(servers) };
  };
  if ((await isKept()).same) return;
  for (;;) {
    if (await control.lock(LOCK, node.id, LOCK_TTL)) break;
    await delay(50);
  }
  try {
    const { kept, same } = await isKept();
    if (same) return;
    const { position, pending } = await control.read();
    const onGround = position.phase === "legacy" && pending === null;
    if (onGround && node.role === "job") return;
    if (!onGround || (await others(control, node.id)) > 0) throw changed(kept?.servers ?? null, servers);
    if (servers === null) await control.deleteDocument(KIND, ID);
    else await control.putDocument(KIND, ID, { servers } satisfies PoolMap);
  } finally {
    await control.unlock(LOCK, node.id);
  }
}

async function others(control: ControlStore, id: string): Promise<number> {
  const nodes = await control.nodes();
  return nodes.filter((node) => node.id !== id && node.state === "live" && node.role !== "job").length;
}

function told(servers: readonly string[] | null): string {
  return servers === null ? "no pool of a client's own rule" : servers.join(", ");
}

function changed(kept: readonly string[] | null, servers: readonly string[] | null): FerryError {
  return new FerryError(
    "CONFIG_INVALID",
    `The migration stands on ${told(kept)}; this configuration names ${told(servers)}.`,
    {
      remedy:
        "Name the same servers. They may change in the phase legacy alone: go back to it, stop every proxy, and start them with the new list.",
    },
  );
}
