import type { Door } from "./options.js";

/** The memcached whose dialect the door speaks; clients choose their commands by the version. */
export const SPOKEN = "1.6.18";

/** memcached's other tables, which we have nothing to put in. */
const KNOWN: ReadonlySet<string> = new Set(["settings", "items", "slabs", "sizes", "conns"]);

/** What `stats` tells where there is no memcached to ask: of the door itself, by memcached's names. */
export function ownStats(door: Pick<Door, "connections" | "counters">, which: string, startedAt: number): string {
  if (which === "reset") return "RESET\r\n";
  if (which !== "") return KNOWN.has(which) ? "END\r\n" : "ERROR\r\n";
  const { counters, connections } = door;
  const now = Date.now();
  const rows: Record<string, number | string> = {
    pid: process.pid,
    uptime: Math.floor((now - startedAt) / 1000),
    time: Math.floor(now / 1000),
    version: SPOKEN,
    pointer_size: 64,
    curr_connections: connections,
    total_connections: counters.connectionsOpened,
    rejected_connections: counters.connectionsRefused,
    bytes_read: counters.bytesRead,
    bytes_written: counters.bytesWritten,
  };
  const lines = Object.entries(rows).map(([name, value]) => `STAT ${name} ${value}\r\n`);
  return `${lines.join("")}END\r\n`;
}
